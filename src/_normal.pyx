"""Normal equations: B'B and g over the examples, where B'B = J_z' H+ J_z and g = dF/dtheta, all in float64; and the
steps that follow from them. See fastbp/engine/normal.py.

B has K rows for each example. Row k is the derivative of z(L) by theta, seen through row k of S with S'S = H+:

    SQUARED     half squared error      S = sqrt(w) dh/dz: B is the Jacobian of h, and g = B'r, r = sqrt(w) (h - y)
    ELEMENTWISE sigmoid + cross-entropy, exp + poisson      S = diag(sqrt(w h'(z)))
    SOFTMAX     softmax + cross-entropy     S = diag(sqrt(w h)) - sqrt(w h) h'
    HUBER       S = diag(sqrt(w)) where |e| <= huber_delta, else 0

A block is filled output by output: m rows, then their product is added. B as a whole never exists.
"""

import fastbp._kernels  # no-cython-lint  (its capsule is bound below)

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport fabs, sqrt
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from _backprop cimport cost_of, load_targets, team_t
from _blas cimport add_gemv_t, add_syrk, potrf, potrs
from _checked cimport MOST, READ, WRITE, arrays_t, begin, core_t, give_back, room, some, take_work, values
from _kernels cimport (
    bind_kernels, enter, examples_t, f64, leave, output_backward, padded, plan_t, seconds,
)
from _memory cimport lend_ready
from _outside cimport forward_block
from _rows cimport go_back, outer, rows_of_a
from _sources cimport fit, ready, sources_t

from fastbp._backprop import Examples, Team

bind_kernels()
lend_ready()

cdef enum:
    COSTS, NORMAL, ROWS     # what is made

cdef enum:
    SQUARED, ELEMENTWISE, SOFTMAX, HUBER    # the rows of S


cdef struct sums_t:
    int form                # SQUARED .. HUBER
    Py_ssize_t n            # free parameters
    const int64_t *free     # their places in theta, in order; NULL: all
    double *rows            # (m, ld), or (m K, ld)
    Py_ssize_t ld           # n_parameters + 1
    double *A               # +=  B'B (n, n), the half at and right of the diagonal
    double *cost            # +=
    double *g               # +=  (n,)


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
    const plan_t *p, const double *theta, Py_ssize_t m, double *work, Py_ssize_t B, double *spare, const sums_t *to,
    double *rows, team_t *team
) noexcept nogil:
    """rows (m, n) := the derivative by the free parameters that delta(L) leads to, ld apart"""
    cdef Py_ssize_t i, j
    cdef double *row
    go_back(p, theta, m, work, B, team)
    outer(p, m, work, B, spare, to.ld, rows)
    if to.free == NULL:
        return
    for i in range(m):
        row = rows + i * to.ld
        for j in range(to.n):
            row[j] = row[to.free[j]]


cdef void add_block(
    const plan_t *p, const double *theta, Py_ssize_t m, double *work, Py_ssize_t B, double *spare, const sums_t *to,
    int what, team_t *team
) noexcept nogil:
    """The sums over a block that has gone forward; NORMAL and ROWS."""
    cdef Py_ssize_t k, i, K = p.s[p.L - 1]
    cdef double *r = spare + B * p.y
    cdef double *rows = to.rows
    rows_of_a(p, m, work, B, spare)
    if to.form == SQUARED:
        residuals(p, m, work, B, r)
    else:
        rows_of_block(p, theta, m, work, B, spare, to, rows, team)
        for i in range(m):
            r[i] = 1
        add_gemv_t(m, to.n, rows, to.ld, r, to.g)
    for k in range(K):
        if what == ROWS:
            rows = to.rows + k * m * to.ld
        seed(p, to.form, m, k, work, B)
        rows_of_block(p, theta, m, work, B, spare, to, rows, team)
        if to.form == SQUARED:
            add_gemv_t(m, to.n, rows, to.ld, r + k * m, to.g)
        if what == NORMAL:
            add_syrk(to.n, m, rows, to.ld, to.A)
            continue
        for i in range(m):
            rows[i * to.ld + to.n] = r[k * m + i] if to.form == SQUARED else 0


cdef Py_ssize_t run(
    core_t *core, const examples_t *data, Py_ssize_t first, Py_ssize_t last, double *spare, const sums_t *to, int what,
    double budget, team_t *team
) noexcept nogil:
    """The sums over the examples, until about `budget` seconds have passed  ->  the first example not done"""
    cdef const plan_t *p = &core.p
    cdef const double *theta = <const double *>core.theta
    cdef double *work = <double *>core.work
    cdef Py_ssize_t m, B = core.B, i = first
    cdef double end = seconds() + budget
    cdef unsigned callers = enter()
    while i < last and team.wanted == 0:
        m = min(B, last - i)
        forward_block(p, theta, data, i, m, work, B, what != COSTS, team)
        load_targets(p, data, i, m, work, B, 0)
        to.cost[0] += cost_of(p, m, work, B, 0)
        if what != COSTS:
            add_block(p, theta, m, work, B, spare, to, what, team)
        i += m
        if seconds() > end:
            break
    leave(callers)
    return i


def add(
    plan, theta, examples, Py_ssize_t first, Py_ssize_t last, work, spare, Py_ssize_t B, free, rows, A, sums, int form,
    int what, double budget, team
):
    """Add the sums over the examples first .. last  ->  the first one not done.

    what : 0: sums[0] += the costs; 1: sums += (costs, g), A += B'B; 2: sums += (costs, g), and rows (at most B
    examples): rows := [B, r], row k m + e of output k and example e
    free : int64, the places of the free parameters, empty: all
    rows : B (n_parameters + 1) values, K times as many for 2
    """
    cdef core_t core
    cdef sums_t to
    cdef sources_t *sources
    cdef team_t *all
    cdef double *second = NULL
    cdef Py_ssize_t i, K
    if type(examples) is not Examples or type(team) is not Team:
        raise TypeError(f"examples and team must be those of fastbp._backprop; got {type(examples).__name__} and "
                        f"{type(team).__name__}")
    sources = <sources_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")
    all = <team_t *>PyCapsule_GetPointer(team.capsule, "fastbp.team")
    if not COSTS <= what <= ROWS or not SQUARED <= form <= HUBER:
        raise ValueError(f"what must be 0 to {ROWS}, form 0 to {HUBER}; got {what} and {form}")
    core.held.n = 0
    try:
        begin(&core, plan, theta, "theta", READ)
        if core.format != b"d":
            raise ValueError("theta must be float64")
        if core.p.drop != NULL:
            raise ValueError("plan has dropout; normal equations have none")
        take_work(&core, work, B)
        ready(sources, first, last)
        fit(sources, &core.p, True)
        K = core.p.s[core.p.L - 1]
        to.form, to.n, to.ld, to.rows, to.A = form, core.p.n, core.p.n + 1, NULL, NULL
        if B > MOST // to.ld // K or to.ld > (<Py_ssize_t>1 << 30):
            raise ValueError(f"no room for {B} rows of {core.p.n} parameters")
        to.free = <const int64_t *>some(&core.held, free, "free", b"q", 1, READ)
        if to.free != NULL:
            to.n = core.held.views[core.held.n - 1].shape[0]
            for i in range(to.n):
                if not (0 if i == 0 else to.free[i - 1] + 1) <= to.free[i] < core.p.n:
                    raise ValueError(f"free[{i}] is {to.free[i]}; the places must grow from 0 up to {core.p.n - 1}")
        if what != COSTS:
            second = <double *>room(&core.held, spare, "spare", b"d", B * core.p.units)
            to.rows = <double *>room(&core.held, rows, "rows", b"d", B * to.ld * (K if what == ROWS else 1))
            if what == NORMAL:
                to.A = <double *>values(&core.held, A, "A", b"d", to.n * to.n, WRITE)
            elif last - first > B:
                raise ValueError(f"rows are made of at most {B} examples; got {last - first}")
        to.cost = <double *>values(&core.held, sums, "sums", b"d", 1 + to.n, WRITE)
        to.g = to.cost + 1
        with nogil:
            first = run(&core, &sources.data, first, last, second, &to, what, budget, all)
        return first
    finally:
        give_back(&core.held)


def solve(A, diagonal, g, factor, x, Py_ssize_t n):
    """x := -(A + diag(diagonal))^-1 g  ->  True; False if that matrix is not positive definite to working precision.

    A : (n n,), the half at and right of the diagonal counts; factor : (n n,), receives the Cholesky factor U there,
    U'U = A + diag(diagonal)
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
