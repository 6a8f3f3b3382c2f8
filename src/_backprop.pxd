"""Forward, backward, accumulate on one block of examples: what _backprop.pyx and _epoch.pyx share.

A network is one int64 matrix, the plan (fastbp/engine/plan.py writes it), column l for layer l:

    s         units
    g         activation, in the last layer the output
    theta     where Theta, leading to this layer, begins in the flat theta
    a, z, delta, rows     where these begin in the workspace, in units per example

then a row and a column of scalars; and for a training with dropout

    drop      rate, a double by its bits
    fed       what the next layer takes: a .* mask / (1 - p) where there is a rate, else a

with the seed of the masks, the step and the first example of its batch among the scalars.

The workspace of a block of at most B examples is one flat buffer: what begins at unit u lies at B u. a, z, delta and
fed are panels (src/kernels/panels.h), rows is what is fed row by row, (m, s), as Delta takes it. In a hidden layer a
is written over z, and g'(z), where it is kept (src/kernels/names.h), lies in rows until delta has taken it. Each a has
a spare unit before it, for the 1 of [1, a] in the loop over single examples.
Layer l = 0 is the textbook's first: a(1) = X. B is a multiple of a panel.
"""

from cython cimport floating
from libc.string cimport memset

from _blas cimport gemv, gemv_t, ger
from _kernels cimport (
    ROWS_F32, ROWS_F64, activate, activate_backward, cost_and_delta, dropout, examples_t, lanes_of,
    layer_backward, layer_Delta, layer_forward, load_labels, load_rows, load_weights, narrow_Delta, padded, plan_t,
    to_panels, to_rows,
)


cdef enum:
    SHARE = 8       # units of a layer that stay with one member: a multiple of the rows of a tile
    CACHED = 1 << 18    # weights of a layer that are read again for each panel; those of larger ones for
    PANELS = 8          # panels at once
    AT_ONCE = 1 << 26   # multiply-adds after which a large layer looks whether it is to stop
    NARROW = 8      # units up to which Delta of a layer is summed from the panels of a; else a is turned into rows


cdef extern from "team.h":
    ctypedef struct team_t:
        int n
        int stop
        int wanted
        int cut

    void team_begin(team_t *team, int n) noexcept nogil
    bint team_cuts(team_t *team) noexcept nogil
    void team_meet(team_t *team) noexcept nogil
    void team_want_stop(team_t *team) noexcept nogil
    void team_abandon(team_t *team) noexcept nogil
    Py_ssize_t team_share(const team_t *team, Py_ssize_t n, Py_ssize_t unit, int t) noexcept nogil


cdef inline bint drops(const plan_t *p, Py_ssize_t l) noexcept nogil:
    """is a part of this layer dropped?"""
    return p.drop != NULL and p.drop[l] != 0


cdef inline const floating *rows_of_X(
    const plan_t *p, const examples_t *data, Py_ssize_t first, floating *work, Py_ssize_t B, Py_ssize_t *lda
) noexcept nogil:
    """a(1) of the examples from `first` on, as rows lda apart: NULL where they cannot stay where they lie, for their
    dtype, their order, a weight of 0 that takes the example out, or dropout"""
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
    """a(1) of the m examples from `first` on: into panels and, if they cannot stay where they lie, by rows into the
    block, from its example `at` on"""
    cdef Py_ssize_t ld = 0, s = p.s[0]
    cdef const floating *rows = rows_of_X(p, data, first, work, B, &ld)
    cdef floating *into = work + B * p.rows[0] + at * s
    cdef Py_ssize_t i
    cdef double w = 1
    if rows == NULL:
        load_rows(&data.X, data.order, first, m, s, into)
        rows = into
    if data.w.data != NULL:     # an example of weight 0 is not there, however large its numbers
        for i in range(m):
            load_rows(&data.w, data.order, first + i, 1, 1, &w)
            if w == 0:
                memset(into + i * s, 0, s * sizeof(floating))
    to_panels(m, s, rows, ld, panels)


cdef inline void load_targets(
    const plan_t *p, const examples_t *data, Py_ssize_t first, Py_ssize_t m, floating *work, Py_ssize_t B,
    Py_ssize_t at
) noexcept nogil:
    """their targets and weights, labels as low and high values of the output"""
    cdef Py_ssize_t last = p.L - 1, K = p.s[last]
    cdef floating *y = work + B * p.y + at * K
    cdef floating *rows = work + B * p.rows[last] + at * K
    if data.labels != NULL:
        load_labels(data, first, m, K, <floating>p.low, <floating>1, y)
    else:
        load_rows(&data.Y, data.order, first, m, K, rows)
        to_panels(m, K, <const floating *>rows, K, y)
    load_weights(&data.w, data.order, first, m, work + B * p.w + at)


cdef inline Py_ssize_t next_units(
    const plan_t *p, Py_ssize_t i, Py_ssize_t j, Py_ssize_t work_of_one, team_t *team
) noexcept nogil:
    """The end of the units from i on, j at most, that are computed without a look at the team; 0: leave it all"""
    if p.panels == 1:
        return j
    return 0 if team_cuts(team) else min(j, i + max(SHARE, AT_ONCE // work_of_one // SHARE * SHARE))


cdef inline void forward(
    const plan_t *p,
    const floating *theta,      # IN
    Py_ssize_t m,               # examples, from `at` on in the block
    const floating *X,          # IN   a(1), panels
    floating *work,             # OUT  a, g'(z) and what is fed of the hidden layers, z(L)
    Py_ssize_t B,
    Py_ssize_t at,
    Py_ssize_t e,               # index of the first of them in its batch
    bint learns,                # is there a way back?
    team_t *team,
) noexcept nogil:
    """Z(l+1) = [1, A(l)] Theta(l)';  A(l+1) = g(Z(l+1)), up to Z(L); nothing of use once the team cuts it

    With dropout it is A(l) .* mask / (1 - p) that is fed to the next layer.
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
    const plan_t *p, Py_ssize_t m, floating *work, Py_ssize_t B, Py_ssize_t at
) noexcept nogil:
    """a(L), delta(L) of m examples, from `at` on in the block  ->  the sum of their weighted costs"""
    cdef Py_ssize_t last = p.L - 1, K = p.s[last]
    return cost_and_delta(
        <int>p.g[last], p.loss, p.parameter, m, K, <const floating *>(work + B * p.z[last] + at * K),
        <const floating *>(work + B * p.y + at * K), <const floating *>(work + B * p.w + at),
        work + B * p.a[last] + at * K, work + B * p.delta[last] + at * K,
    )


cdef inline void backward(
    const plan_t *p,
    const floating *theta,      # IN
    Py_ssize_t m,
    floating *work,             # IN   a, g'(z), delta(L);  OUT delta(L-1) .. delta(2), rows of what was fed
    Py_ssize_t B,
    Py_ssize_t at,
    Py_ssize_t e,
    team_t *team,
) noexcept nogil:
    """delta(l) = (delta(l+1) Theta(l))[without bias] .* g'(Z(l)),  l = L-1 .. 2;  with dropout .* mask / (1 - p) too"""
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
    const plan_t *p, const examples_t *data, Py_ssize_t first, Py_ssize_t m, floating *work, Py_ssize_t B, bint add,
    floating *Delta, team_t *team, int member
) noexcept nogil:
    """This member's rows of  Delta(l) := or += delta(l+1)' [1, A(l)],  over the m examples of the block"""
    cdef Py_ssize_t l, n, k, lda, i, j, end
    cdef const floating *A
    for l in range(p.L - 1, 0, -1):
        n, k = p.s[l], p.s[l - 1]
        A, lda = work + B * p.rows[l - 1], k
        if l == 1:
            A = rows_of_X(p, data, first, work, B, &lda)
            if A == NULL:
                A = work + B * p.rows[0]
        i = team_share(<const team_t *>team, n, SHARE, member)
        j = team_share(<const team_t *>team, n, SHARE, member + 1)
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
    """Delta := or += the sum over the examples first .. first + m <= first + B -> the sum of their costs.

    The members share the panels, meet, then share the rows of Delta: each number is made by one of them, in the
    same order whoever it is. costs has room for one number a panel. Before the next block they must meet again.
    """
    cdef Py_ssize_t panel = 2 * lanes_of(work), chunk = panel * p.panels, at, end_at, end_chunk, e, i
    cdef double cost = 0
    cdef floating *X
    at = team_share(team, m, panel, member)
    end_at = team_share(team, m, panel, member + 1)
    X = work + B * p.a[0] + at * p.s[0]     # one chunk, used again for the next: it is not needed after its forward
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
            costs[i // panel] = cost_of(p, min(panel, end_chunk - i), work, B, i)
            i += panel
        if Delta != NULL:
            backward(p, theta, end_chunk - at, work, B, at, e, team)
        at = end_chunk
    team_meet(team)
    for at in range((m + panel - 1) // panel):
        cost += costs[at]
    if Delta != NULL:
        learn_block(p, data, first, m, work, B, add, Delta, team, member)
    return cost


cdef inline double accumulate_example(
    const plan_t *p, const floating *theta, const examples_t *data, Py_ssize_t i, floating *work, Py_ssize_t B,
    floating *Delta
) noexcept nogil:
    """The textbook's loop body for example i, by BLAS: forward, delta, Delta += delta [1, a]' -> its cost"""
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
    cost = cost_of(p, 1, work, B, 0)
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
