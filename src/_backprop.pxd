"""Forward, backward and accumulate on one block of examples, for _backprop.pyx, _epoch.pyx and _calls.pyx.

A network is one int64 matrix, the plan (fastbp/engine/plan.py writes it). Column l is layer l:

    s         units
    g         activation; in the last layer, the output
    theta     start of this layer's incoming Theta in the flat theta
    a, z, delta, rows     starts of these in the workspace, in units per example

A row and a column of scalars follow. Training with dropout adds the rows

    drop      rate, the bits of a double
    fed       start of the next layer's input: a .* mask / (1 - p) if there is a rate, else a

and, among the scalars, the seed of the masks, the step and the first example of its batch.

The workspace of a block of at most B examples is one flat buffer: an array that starts at unit u lies at B u. a, z,
delta and fed are panels (src/kernels/panels.h). rows holds the values of fed row by row, (m, s), for Delta. In a hidden
layer a overwrites z; if g'(z) is kept (src/kernels/names.h), it lies in rows until delta has used it. Each a has a
spare unit before it, for the 1 of [1, a] in the loop over single examples.
Layer l = 0 is the textbook's first: a(1) = X. B is a multiple of a panel.
"""

from cython cimport floating
from libc.string cimport memset

from _blas cimport gemv, gemv_t, ger
from _kernels cimport (
    LOSS_COUNT, ROWS_F32, ROWS_F64, activate, activate_backward, cost_and_delta, dropout, examples_t, f32, f64,
    lanes_of, layer_backward, layer_Delta, layer_forward, load_labels, load_rows, load_weights, narrow_Delta, padded,
    plan_t, to_panels, to_rows,
)


cdef enum:
    UNITS = 8       # units of a layer that go to one member together: a multiple of the rows of a tile
    CACHED = 1 << 18    # most weights of a layer that are read again for each panel
    PANELS = 8          # panels that larger layers compute together, for one read of their weights
    AT_ONCE = 1 << 26   # multiply-adds after which a large layer checks whether to stop
    HALVES = 4      # beside `add` of a Delta: a single panel lies in two halves, see src/kernels/panels.h
    NARROW = 8      # most units of a layer whose Delta is summed from the panels of a; else a is copied to rows


cdef extern from "team.h":
    ctypedef struct team_t:
        int n
        int stop
        int wanted
        int cut
        double cost

    void team_begin(team_t *team, int n) noexcept nogil
    bint team_cuts(team_t *team) noexcept nogil
    void team_meet(team_t *team) noexcept nogil
    void team_want_stop(team_t *team) noexcept nogil
    void team_want_no_stop(team_t *team) noexcept nogil
    Py_ssize_t team_portion(const team_t *team, Py_ssize_t n, Py_ssize_t unit, int t) noexcept nogil


cdef inline bint drops(const plan_t *p, Py_ssize_t l) noexcept nogil:
    """True if this layer has dropout."""
    return p.drop != NULL and p.drop[l] != 0


cdef inline const floating *rows_of_X(
    const plan_t *p, const examples_t *data, Py_ssize_t first, floating *work, Py_ssize_t B, Py_ssize_t *lda
) noexcept nogil:
    """a(1) of the examples from `first` on, as rows lda apart. NULL if they must be copied: because of their dtype, an
    order, weights (a weight of 0 takes an example out), or dropout."""
    cdef int own = ROWS_F32 if floating is float else ROWS_F64
    cdef Py_ssize_t size = <Py_ssize_t>sizeof(floating)
    if data.order == NULL and data.w.data == NULL and data.X.type == own and (
        data.X.stride >= size * p.s[0] and data.X.stride % size == 0
    ) and not drops(p, 0):
        lda[0] = data.X.stride // size
        return <const floating *>(<const char *>data.X.data + first * data.X.stride)
    lda[0] = p.s[0]
    return NULL


cdef inline void load(
    const plan_t *p, const examples_t *data, Py_ssize_t first, Py_ssize_t m, floating *work, Py_ssize_t B,
    Py_ssize_t at, floating *panels
) noexcept nogil:
    """Load a(1) of the m examples from `first` on into panels. If they must be copied, also write them by rows into the
    block, from its example `at` on."""
    cdef Py_ssize_t ld = 0, s = p.s[0]
    cdef const floating *rows = rows_of_X(p, data, first, work, B, &ld)
    cdef floating *into = work + B * p.rows[0] + at * s
    cdef Py_ssize_t i
    cdef double w = 1
    if rows == NULL:
        load_rows(&data.X, data.order, first, m, s, into)
        rows = into
    if data.w.data != NULL:     # an example of weight 0 counts as absent, however large its numbers
        for i in range(m):
            load_rows(&data.w, data.order, first + i, 1, 1, &w)
            if w == 0:
                memset(into + i * s, 0, s * sizeof(floating))
    to_panels(m, s, rows, ld, panels)


cdef inline void load_targets(
    const plan_t *p, const examples_t *data, Py_ssize_t first, Py_ssize_t m, floating *work, Py_ssize_t B,
    Py_ssize_t at
) noexcept nogil:
    """Load targets and weights of the m examples from `first` on; labels become low and high values of the output. An
    own loss reads its targets in place."""
    cdef Py_ssize_t last = p.L - 1, K = p.s[last]
    cdef floating *y = work + B * p.y + at * K
    cdef floating *rows = work + B * p.rows[last] + at * K
    if p.loss >= LOSS_COUNT:
        pass
    elif data.labels != NULL:
        load_labels(data, first, m, K, <floating>p.low, <floating>1, y)
    else:
        load_rows(&data.Y, data.order, first, m, K, rows)
        to_panels(m, K, <const floating *>rows, K, y)
    load_weights(&data.w, data.order, first, m, work + B * p.w + at)


cdef inline Py_ssize_t next_units(
    const plan_t *p, Py_ssize_t i, Py_ssize_t j, Py_ssize_t work_of_one, team_t *team
) noexcept nogil:
    """The end, at most j, of the units from i on that are computed before the next check of the team; 0 means stop."""
    if p.panels == 1:
        return j
    return 0 if team_cuts(team) else min(j, i + max(UNITS, AT_ONCE // work_of_one // UNITS * UNITS))


cdef inline void forward(
    const plan_t *p,
    const floating *theta,      # IN
    Py_ssize_t m,               # examples, from example `at` of the block on
    const floating *X,          # IN   a(1), panels
    floating *work,             # OUT  a, g'(z) and fed of the hidden layers, z(L)
    Py_ssize_t B,
    Py_ssize_t at,
    Py_ssize_t e,               # index of the first example in its batch
    bint learns,                # True if `backward` follows
    team_t *team,
) noexcept nogil:
    """Z(l+1) = [1, A(l)] Theta(l)';  A(l+1) = g(Z(l+1)), up to Z(L); not usable if team.cut is set.

    With dropout the next layer takes A(l) .* mask / (1 - p).
    """
    cdef Py_ssize_t l, n, k, i, j
    cdef const floating *A = X
    cdef floating *Z
    for l in range(1, p.L):
        n, k = p.s[l], p.s[l - 1]
        Z = work + B * p.z[l] + at * n
        i = 0
        while i < n:
            j = next_units(p, i, n, m * k, team)
            if j == 0:
                return
            layer_forward(m, n, i, j, k, theta + p.theta[l], A, Z)
            i = j
        A = work + B * p.a[l] + at * n
        if l < p.L - 1:
            activate(<int>p.g[l], padded(m, work) * n, <const floating *>Z, <floating *>A,
                     work + B * p.rows[l] + at * n if learns else NULL)
            if drops(p, l):
                dropout(p, l, e, m, A, work + B * p.fed[l] + at * n)
                A = work + B * p.fed[l] + at * n


cdef inline double cost_of(
    const plan_t *p, const examples_t *data, Py_ssize_t first, Py_ssize_t m, floating *work, Py_ssize_t B,
    Py_ssize_t at
) noexcept nogil:
    """a(L), delta(L) of the m examples from `first` on, example `at` of the block  ->  the sum of their weighted costs.
    For an own loss a(L) stays as it is."""
    cdef Py_ssize_t last = p.L - 1, K = p.s[last]
    cdef const floating *z = work + B * p.z[last] + at * K
    cdef const floating *w = work + B * p.w + at
    cdef floating *spare = work + B * p.y + at * K
    cdef floating *slopes = work + B * p.rows[last] + at * K
    if p.loss >= LOSS_COUNT:
        if floating is float:
            return f32().own_cost(p, data, first, m, z, w, spare, slopes, work + B * p.delta[last] + at * K)
        else:
            return f64().own_cost(p, data, first, m, z, w, spare, slopes, work + B * p.delta[last] + at * K)
    return cost_and_delta(
        <int>p.g[last], p.loss, p.parameter, m, K, z, <const floating *>spare, w,
        work + B * p.a[last] + at * K, work + B * p.delta[last] + at * K,
    )


cdef inline void backward(
    const plan_t *p,
    const floating *theta,      # IN
    Py_ssize_t m,
    floating *work,             # IN   a, g'(z), delta(L);  OUT delta(L-1) .. delta(2), fed as rows
    Py_ssize_t B,
    Py_ssize_t at,
    Py_ssize_t e,
    team_t *team,
) noexcept nogil:
    """delta(l) = (delta(l+1) Theta(l))[without bias] .* g'(Z(l)),  l = L-1 .. 2; with dropout .* mask / (1 - p) too."""
    cdef Py_ssize_t l, n, k, i, j
    cdef floating *delta
    cdef floating *rows
    for l in range(p.L - 1, 1, -1):
        n, k = p.s[l], p.s[l - 1]
        delta, rows = work + B * p.delta[l - 1] + at * k, work + B * p.rows[l - 1] + at * k
        i = 0
        while i < k:
            j = next_units(p, i, k, m * n, team)
            if j == 0:
                return
            layer_backward(m, n, i, j, k, theta + p.theta[l], <const floating *>(work + B * p.delta[l] + at * n), delta)
            i = j
        if drops(p, l - 1):
            dropout(p, l - 1, e, m, <const floating *>delta, delta)
        activate_backward(<int>p.g[l - 1], padded(m, work) * k, <const floating *>(work + B * p.a[l - 1] + at * k),
                          <const floating *>rows, delta)
        if n > NARROW:
            to_rows(m, k, <const floating *>(work + B * p.fed[l - 1] + at * k), rows, k)


cdef inline void learn_block(
    const plan_t *p, const examples_t *data, Py_ssize_t first, Py_ssize_t m, floating *work, Py_ssize_t B, int add,
    floating *Delta, team_t *team, int member
) noexcept nogil:
    """This member's rows of  Delta(l) := (or +=) delta(l+1)' [1, A(l)],  over the m examples of the block."""
    cdef Py_ssize_t l, n, k, lda, i, j, end
    cdef const floating *A
    for l in range(p.L - 1, 0, -1):
        n, k = p.s[l], p.s[l - 1]
        A, lda = work + B * p.rows[l - 1], k
        if l == 1:
            A = rows_of_X(p, data, first, work, B, &lda)
            if A == NULL:
                A = work + B * p.rows[0]
        i = team_portion(<const team_t *>team, n, UNITS, member)
        j = team_portion(<const team_t *>team, n, UNITS, member + 1)
        if i < j and l > 1 and n <= NARROW:
            narrow_Delta(m, n, i, j, k, <const floating *>(work + B * p.delta[l]),
                         <const floating *>(work + B * p.fed[l - 1]), add, Delta + p.theta[l])
            continue
        while i < j:
            end = next_units(p, i, j, m * k, team)
            if end == 0:
                return
            layer_Delta(m, n, i, end, k, <const floating *>(work + B * p.delta[l]), A, lda, add, Delta + p.theta[l])
            i = end


cdef inline double accumulate_block(
    const plan_t *p, const floating *theta, const examples_t *data, Py_ssize_t first, Py_ssize_t m,
    floating *work, Py_ssize_t B, bint add, floating *Delta, double *costs, team_t *team, int member
) noexcept nogil:
    """Delta := (or +=) the sum over the examples first .. first + m <= first + B  ->  the sum of their costs.

    The members divide the panels among them, meet, then divide the rows of Delta. Two members divide a single panel:
    its halves are separate panels until the block ends. Each number is computed by a single member, in the same order
    whichever it is. costs has room for one number per panel. Before the next block the members must meet again.
    """
    cdef Py_ssize_t panel = 2 * lanes_of(work), at, end_at, end_chunk, e, i, chunk
    cdef double cost = 0
    cdef bint halves = team.n > 1 and panel // 2 < m <= panel
    cdef floating *X
    panel = panel // 2 if halves else panel
    chunk = panel * p.panels
    at = team_portion(team, m, panel, member)
    end_at = team_portion(team, m, panel, member + 1)
    X = work + B * p.a[0] + at * p.s[0]     # p.panels panels; the next ones overwrite them: not needed after forward
    while at < end_at:
        end_chunk = min(at + chunk, end_at)
        e = first + at - p.first
        load(p, data, first + at, end_chunk - at, work, B, at, X)
        if drops(p, 0):
            dropout(p, 0, e, end_chunk - at, <const floating *>X, X)
            to_rows(end_chunk - at, p.s[0], <const floating *>X, work + B * p.rows[0] + at * p.s[0], p.s[0])
        load_targets(p, data, first + at, end_chunk - at, work, B, at)
        forward(p, theta, end_chunk - at, <const floating *>X, work, B, at, e, Delta != NULL, team)
        i = at
        while i < end_chunk:
            cost = cost_of(p, data, first + i, min(panel, end_chunk - i), work, B, i)
            if halves and i > 0:
                team.cost = cost
            else:
                costs[i // panel] = cost
            i += panel
        if Delta != NULL:
            backward(p, theta, end_chunk - at, work, B, at, e, team)
        at = end_chunk
    team_meet(team)
    cost = team.cost if halves else 0
    for at in range(1 if halves else (m + panel - 1) // panel):
        cost += costs[at]
    if Delta != NULL:
        learn_block(p, data, first, m, work, B, add | HALVES if halves else add, Delta, team, member)
    return cost


cdef inline double accumulate_example(
    const plan_t *p, const floating *theta, const examples_t *data, Py_ssize_t i, floating *work, Py_ssize_t B,
    floating *Delta
) noexcept nogil:
    """The textbook's loop body for example i, by BLAS: forward, delta, Delta += delta [1, a]'  ->  its cost."""
    cdef Py_ssize_t l, n = p.s[0], k, last = p.L - 1
    cdef floating *a = work + B * p.a[0]
    cdef floating *delta
    cdef floating *z = a
    cdef double cost
    load_rows(&data.X, data.order, i, 1, p.s[0], a)
    for l in range(1, p.L):
        n, k, z = p.s[l], p.s[l - 1], work + B * (p.z[l] if l < last else p.rows[l])
        (a - 1)[0] = 1
        gemv(n, k + 1, theta + p.theta[l], k + 1, <const floating *>(a - 1), z)         # z = Theta [1, a]
        if l < last:
            a = work + B * p.a[l]
            activate(<int>p.g[l], n, <const floating *>z, a, work + B * p.rows[l])      # a = g(z)
    to_panels(1, n, <const floating *>z, n, work + B * p.z[last])
    load_targets(p, data, i, 1, work, B, 0)
    cost = cost_of(p, data, i, 1, work, B, 0)
    delta = work + B * p.rows[last]
    to_rows(1, n, <const floating *>(work + B * p.delta[last]), delta, n)
    for l in range(last, 0, -1):
        n, k, a = p.s[l], p.s[l - 1], work + B * p.a[l - 1]
        ger(n, k + 1, <const floating *>delta, <const floating *>(a - 1), Delta + p.theta[l], k + 1)
        if l > 1:                                                                       # delta = Theta' delta .* g'(z)
            gemv_t(n, k, theta + p.theta[l] + 1, k + 1, <const floating *>delta, work + B * p.delta[l - 1])
            delta = work + B * p.delta[l - 1]
            activate_backward(<int>p.g[l - 1], k, <const floating *>a, <const floating *>(work + B * p.rows[l - 1]),
                              delta)
    return cost
