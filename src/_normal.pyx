"""Normal equations: B'B and g over the examples, where B'B = J_z' H+ J_z and g = dF/dtheta, all in float64; and the
steps that follow from them. See fastbp/engine/normal.py.

B has K rows for each example: B = S J_z, where J_z is the derivative of z(L) with respect to theta and S'S = H+:

    SQUARED     half squared error      S = sqrt(w) dh/dz: B is the Jacobian of h, and g = B'r, r = sqrt(w) (h - y)
    ELEMENTWISE sigmoid + cross-entropy, exp + poisson      S = diag(sqrt(w h'(z)))
    SOFTMAX     softmax + cross-entropy     S = diag(sqrt(w h)) - sqrt(w h) h'
    HUBER       S = diag(sqrt(w)) where |e| <= huber_delta, else 0

A block is filled output by output: m rows, whose product is then added. B is never stored as a whole.
"""

import fastbp._kernels  # no-cython-lint  (its capsule is bound below)

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport fabs, sqrt
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from _backprop cimport cost_of, load_targets, team_cuts, team_t
from _blas cimport add_gemv_t, add_syrk, potrf, potrs
from _checked cimport MOST, READ, WRITE, arrays_t, begin, block, core_t, give_back, room, some, values
from _crew cimport crew_free, crew_of, crew_t, crew_take, do_job, hold_crew
from _kernels cimport LOSS_COUNT, bind_kernels, enter, examples_t, f64, leave, output_backward, padded, plan_t
from _memory cimport lend_ready
from _outside cimport forward_block
from _ranges cimport TOGETHER, add_range, run_ranges, sum_t, take_places
from _rows cimport go_back, outer, rows_of_a
from _sources cimport fit, ready, sources_t

from fastbp._backprop import Crew, Examples

bind_kernels()
lend_ready()

cdef enum:
    COSTS, NORMAL, ROWS     # what is computed

cdef enum:
    SQUARED, ELEMENTWISE, SOFTMAX, HUBER    # the rows of S


cdef struct normal_t:           # the further arguments of `add`
    int form                # SQUARED .. HUBER
    int what                # COSTS .. ROWS
    Py_ssize_t n            # free parameters
    const int64_t *free     # their places in theta, in order; NULL: all
    Py_ssize_t ld           # n_parameters + 1
    double *spare           # a workspace for each seat
    double *rows            # (B, ld) for each seat, or (m K, ld)
    double *A               # +=  B'B (n, n) of range 0, the half at and right of the diagonal
    double *others          # :=  those of the other ranges
    double *sums            # (ranges, 1 + n), +=  the costs and g of each range


cdef void residuals(const plan_t *p, Py_ssize_t m, const double *work, Py_ssize_t B, double *r) noexcept nogil:
    """r (K, m) := (h - y) sqrt(w)"""
    cdef Py_ssize_t last = p.L - 1, K = p.s[last], VL = f64().lanes, at = 0, width, k, e
    cdef const double *h = work + B * p.a[last]
    cdef const double *y = work + B * p.y
    cdef const double *w = work + B * p.w
    while at < m:
        width = 2 * VL if m - at > VL else VL
        for k in range(K):
            for e in range(min(width, m - at)):
                r[k * m + at + e] = (h[at * K + k * width + e] - y[at * K + k * width + e]) * sqrt(w[at + e])
        at += width


cdef void seed(const plan_t *p, int form, Py_ssize_t m, Py_ssize_t k, double *work, Py_ssize_t B) noexcept nogil:
    """delta(L) := row k of S of each example"""
    cdef Py_ssize_t last = p.L - 1, K = p.s[last], VL = f64().lanes, at = 0, width, e, j
    cdef double *delta = work + B * p.delta[last]
    cdef const double *w = work + B * p.w
    cdef double *row
    cdef double *h
    cdef double rest, root
    memset(delta, 0, padded(m, work) * K * sizeof(double))
    while at < m:
        width = 2 * VL if m - at > VL else VL
        row, h = delta + at * K, work + B * p.a[last] + at * K
        for e in range(min(width, m - at)):
            if form == SQUARED:
                row[k * width + e] = sqrt(w[at + e])
            elif form == ELEMENTWISE:
                row[k * width + e] = w[at + e]
            elif form == HUBER:
                rest = h[k * width + e] - (work + B * p.y + at * K)[k * width + e]
                row[k * width + e] = sqrt(w[at + e]) if fabs(rest) <= p.parameter else 0
            else:
                root, rest = sqrt(w[at + e] * h[k * width + e]), 0
                for j in range(K):
                    if j != k:
                        row[j * width + e] = -root * h[j * width + e]
                        rest += h[j * width + e]
                row[k * width + e] = root * rest        # 1 - h_k, with all its digits
        at += width
    if form > ELEMENTWISE:
        return
    output_backward(<int>p.g[last], m, K, <const double *>(work + B * p.z[last]), work + B * p.a[last], delta)
    if form == ELEMENTWISE:
        for j in range(padded(m, work) * K):
            delta[j] = sqrt(delta[j])


cdef void rows_of_block(
    const plan_t *p, const double *theta, Py_ssize_t m, double *work, Py_ssize_t B, double *spare, const normal_t *how,
    double *rows, team_t *team
) noexcept nogil:
    """rows (m, n) := the derivatives with respect to the free parameters that follow from delta(L), ld apart"""
    cdef Py_ssize_t i, j
    cdef double *row
    go_back(p, theta, m, work, B, team)
    outer(p, m, work, B, spare, how.ld, rows)
    if how.free == NULL:
        return
    for i in range(m):
        row = rows + i * how.ld
        for j in range(how.n):
            row[j] = row[how.free[j]]


cdef void add_block(
    const plan_t *p, const double *theta, Py_ssize_t m, double *work, Py_ssize_t B, double *spare, const normal_t *how,
    double *rows, double *A, double *g, team_t *team
) noexcept nogil:
    """The sums over a block after its forward pass; NORMAL and ROWS."""
    cdef Py_ssize_t k, i, K = p.s[p.L - 1]
    cdef double *r = spare + B * p.y
    rows_of_a(p, m, work, B, spare)
    if how.form == SQUARED:
        residuals(p, m, work, B, r)
    else:
        rows_of_block(p, theta, m, work, B, spare, how, rows, team)
        for i in range(m):
            r[i] = 1
        add_gemv_t(m, how.n, rows, how.ld, r, g)
    for k in range(K):
        if team_cuts(team):
            return
        if k > 0 and how.what == ROWS:
            rows += m * how.ld
        seed(p, how.form, m, k, work, B)
        rows_of_block(p, theta, m, work, B, spare, how, rows, team)
        if how.form == SQUARED:
            add_gemv_t(m, how.n, rows, how.ld, r + k * m, g)
        if how.what == NORMAL:
            add_syrk(how.n, m, rows, how.ld, A)
            continue
        for i in range(m):
            rows[i * how.ld + how.n] = r[k * m + i] if how.form == SQUARED else 0


cdef double *A_of(const normal_t *how, Py_ssize_t k) noexcept nogil:
    """B'B of range k"""
    return how.A if k == 0 else how.others + (k - 1) * how.n * how.n


cdef void normal_part(
    const sum_t *call, Py_ssize_t seat, Py_ssize_t k, Py_ssize_t first, Py_ssize_t m, void *into, int member
) noexcept nogil:
    """The sums over the m examples from `first` on."""
    cdef const normal_t *how = <const normal_t *>call.how
    cdef const core_t *core = call.core
    cdef const plan_t *p = &core.p
    cdef const examples_t *data = &call.sources.data
    cdef const double *theta = <const double *>core.theta
    cdef team_t *team = &call.crew.team
    cdef Py_ssize_t B = core.B
    cdef double *work = <double *>core.work + seat * B * p.units
    cdef double *sums = how.sums + k * (1 + how.n)
    cdef double *A = NULL
    if how.what == NORMAL:
        A = A_of(how, k)
        if k > 0 and first == call.cuts[k]:
            memset(A, 0, how.n * how.n * sizeof(double))
    forward_block(p, theta, data, first, m, work, B, how.what != COSTS, team)
    if team.cut:
        return
    load_targets(p, data, first, m, work, B, 0)
    sums[0] += cost_of(p, data, first, m, work, B, 0)
    if how.what != COSTS:
        add_block(p, theta, m, work, B, how.spare + seat * B * p.units, how, how.rows + seat * B * how.ld, A, sums + 1,
                  team)


cdef void add_part(void *given, int member) noexcept nogil:
    """A += B'B of the other ranges, in their order; the member adds any values that no other has taken."""
    cdef const sum_t *call = <const sum_t *>given
    cdef const normal_t *how = <const normal_t *>call.how
    cdef Py_ssize_t n = how.n * how.n, i = crew_take(&call.crew.tasks) * <Py_ssize_t>TOGETHER, k
    cdef unsigned callers = enter()
    while i < n:
        for k in range(1, call.ranges):
            add_range(how.A, <const double *>A_of(how, k), i, min(i + TOGETHER, n))
        i = crew_take(&call.crew.tasks) * <Py_ssize_t>TOGETHER
    leave(callers)


cdef int take_free(core_t *core, normal_t *how, free) except -1:
    """The free parameters"""
    cdef Py_ssize_t i
    how.n = core.p.n
    how.free = <const int64_t *>some(&core.held, free, "free", b"q", 1, READ)
    if how.free == NULL:
        return 0
    how.n = core.held.views[core.held.n - 1].shape[0]
    for i in range(how.n):
        if not (0 if i == 0 else how.free[i - 1] + 1) <= how.free[i] < core.p.n:
            raise ValueError(f"free[{i}] is {how.free[i]}; the places must grow from 0 up to {core.p.n - 1}")
    return 0


cdef int take_sums(core_t *core, normal_t *how, const sum_t *call, spare, rows, A, others, sums) except -1:
    """The arrays for the sums"""
    cdef Py_ssize_t K = core.p.s[core.p.L - 1], seats = call.seats, ranges = call.ranges
    how.A, how.others, how.spare, how.rows = NULL, NULL, NULL, NULL
    if core.B > MOST // how.ld // K // seats or how.ld > (<Py_ssize_t>1 << 30) or (
        ranges > MOST // ((how.n + 1) * (how.n + 1))
    ):
        raise ValueError(f"no room for {core.B} rows of {core.p.n} parameters in {seats} seats and {ranges} ranges")
    if how.what != COSTS:
        how.spare = <double *>room(&core.held, spare, "spare", b"d", seats * core.B * core.p.units)
        how.rows = <double *>room(&core.held, rows, "rows", b"d",
                                  seats * core.B * how.ld * (K if how.what == ROWS else 1))
    if how.what == NORMAL:
        how.A = <double *>values(&core.held, A, "A", b"d", how.n * how.n, WRITE)
        how.others = <double *>room(&core.held, others, "others", b"d", (ranges - 1) * how.n * how.n)
    elif how.what == ROWS and (ranges > 1 or call.cuts[1] - call.cuts[0] > core.B):
        raise ValueError(f"rows are made of one range of at most {core.B} examples; got {ranges}, of "
                         f"{call.cuts[ranges] - call.cuts[0]} examples")
    how.sums = <double *>values(&core.held, sums, "sums", b"d", ranges * (1 + how.n), WRITE)
    return 0


def add(
    plan, theta, examples, cuts, places, work, spare, Py_ssize_t B, free, rows, A, others, sums, int form, int what,
    double budget, crew=None, int n=1, bint apart=False,
):
    """Add the sums over the examples of all ranges  ->  True when it is complete.

    what : 0: only the costs; 1: costs, g and B'B; 2: costs, g and rows := [B, r] of at most B examples in one range,
    with row k m + e for output k and example e
    cuts, places : as for fastbp._backprop.accumulate. work, spare : a block for every seat
    free : int64, the places of the free parameters, empty: all
    rows : B (n_parameters + 1) values for every seat, K times as many for 2
    A : += B'B of all ranges, (n n,) for n free parameters. others : room for those of ranges 1, 2, ...
    sums : (ranges (1 + n),) += costs and g of each range
    """
    cdef core_t core
    cdef normal_t how
    cdef sum_t call
    cdef sources_t *sources
    cdef crew_t alone
    if type(examples) is not Examples:
        raise TypeError(f"examples must be fastbp._backprop.Examples; got {type(examples).__name__}")
    sources = <sources_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")
    if not COSTS <= what <= ROWS or not SQUARED <= form <= HUBER:
        raise ValueError(f"what must be 0 to {ROWS}, form 0 to {HUBER}; got {what} and {form}")
    call.crew = crew_of(crew, Crew, n, apart, &alone)
    core.held.n = 0
    try:
        begin(&core, plan, theta, "theta", READ)
        if core.format != b"d":
            raise ValueError("theta must be float64")
        if core.p.drop != NULL or core.p.loss >= LOSS_COUNT:
            raise ValueError("plan has dropout, or a loss of its owner's; normal equations have none")
        take_places(&core.held, &call, cuts, places)
        core.work = room(&core.held, work, "work", core.format, call.seats * block(&core, B))
        ready(sources, call.cuts[0], call.cuts[call.ranges])
        fit(sources, &core.p, True, core.format)
        how.form, how.what, how.ld = form, what, core.p.n + 1
        take_free(&core, &how, free)
        take_sums(&core, &how, &call, spare, rows, A, others, sums)
        call.core, call.sources, call.how, call.run = &core, sources, &how, B
        call.block, call.Delta = normal_part, NULL
        if not run_ranges(&call, n, False, apart, budget):
            return False
        if what == NORMAL and call.ranges > 1:
            hold_crew(call.crew)
            try:
                call.crew.tasks = 0
                do_job(call.crew, add_part, &call, n, False, apart)
            finally:
                crew_free(call.crew)
        return True
    finally:
        give_back(&core.held)


def solve(A, diagonal, g, factor, x, Py_ssize_t n):
    """x := -(A + diag(diagonal))^-1 g  ->  True; False if that matrix is not positive definite to working precision.

    A : (n n,), only the half at and right of the diagonal is used; factor : (n n,), receives the Cholesky factor U
    there, U'U = A + diag(diagonal)
    """
    cdef arrays_t held
    cdef const double *a
    cdef const double *d
    cdef const double *b
    cdef double *u
    cdef double *y
    cdef Py_ssize_t i
    cdef bint fine
    held.n = 0
    if not 1 <= n <= (<Py_ssize_t>1 << 30):
        raise ValueError(f"n must be 1 to 2^30; got {n}")
    try:
        a = <const double *>values(&held, A, "A", b"d", n * n, READ)
        d = <const double *>values(&held, diagonal, "diagonal", b"d", n, READ)
        b = <const double *>values(&held, g, "g", b"d", n, READ)
        u = <double *>values(&held, factor, "factor", b"d", n * n, WRITE)
        y = <double *>values(&held, x, "x", b"d", n, WRITE)
        with nogil:
            for i in range(n):
                memcpy(u + i * n + i, a + i * n + i, (n - i) * sizeof(double))
                u[i * n + i] += d[i]
                y[i] = -b[i]
            fine = potrf(n, u)
            if fine:
                potrs(n, u, y)
        return fine
    finally:
        give_back(&held)
