"""The forward pass of a block, and the backward pass from a delta(L) that is given: for losses outside of this core.

Between the two, the workspace of the block holds all that the second needs: a, g'(z) and fed of the hidden layers,
z(L), and a(1) as rows unless it is read where it lies. A backward pass overwrites g'(z): one pass back for one forward.
"""

from cython cimport floating

from _backprop cimport backward, drops, forward, learn_block, load, next_units, team_t
from _checked cimport MOST, READ, begin, block, core_t, room, take_work
from _kernels cimport (
    dropout, enter, examples_t, layer_backward, leave, output_backward, plan_t, seconds, to_panels, to_rows,
)
from _sources cimport fit, ready, sources_t


cdef inline void forward_block(
    const plan_t *p, const floating *theta, const examples_t *data, Py_ssize_t first, Py_ssize_t m,
    floating *work,     # OUT  the workspace of B examples
    Py_ssize_t B, bint learns, team_t *team
) noexcept nogil:
    """a, z up to z(L) of the m examples from `first` on; not usable if team.cut is set."""
    cdef Py_ssize_t s = p.s[0], e = first - p.first
    cdef floating *X = work + B * p.a[0]
    load(p, data, first, m, work, B, 0, X)
    if drops(p, 0):
        dropout(p, 0, e, m, <const floating *>X, X)
        to_rows(m, s, <const floating *>X, work + B * p.rows[0], s)
    forward(p, theta, m, <const floating *>X, work, B, 0, e, learns, team)


cdef inline void backward_block(
    const plan_t *p, const floating *theta, const examples_t *data, Py_ssize_t first, Py_ssize_t m,
    const floating *G,  # IN   (m, K), dJ/dz(L), or dJ/dh
    bint of_h,
    floating *work,     # IN   what forward_block has left;  OUT  delta(L) .. delta(2)
    Py_ssize_t B,
    floating *Delta,    # +=   the sum over the m examples of delta(l+1) [1, a(l)]', unless NULL
    floating *dX,       # OUT  (m, s_1), dJ/dX, unless NULL
    team_t *team
) noexcept nogil:
    """delta(L) = G, or (dh/dz)' G;  then delta(l), Delta and dX = delta(2) Theta(1) [without bias]."""
    cdef Py_ssize_t last = p.L - 1, K = p.s[last], n = p.s[1], k = p.s[0], i = 0, j
    cdef floating *delta = work + B * p.delta[last]
    cdef floating *E = work + B * p.a[0]
    to_panels(m, K, G, K, delta)
    if of_h:
        output_backward(<int>p.g[last], m, K, <const floating *>(work + B * p.z[last]), work + B * p.a[last], delta)
    backward(p, theta, m, work, B, 0, first - p.first, team)
    if Delta != NULL:
        learn_block(p, data, first, m, work, B, True, Delta, team, 0)
    if dX == NULL:
        return
    while i < k:
        j = next_units(p, i, k, m * n, team)
        if j == 0:
            return
        layer_backward(m, n, i, j, k, theta + p.theta[1], <const floating *>(work + B * p.delta[1]), E)
        i = j
    to_rows(m, k, <const floating *>E, dX, k)


cdef struct pass_t:             # the arguments of passes over a range
    Py_ssize_t base             # the example that row 0 of z, G, dX and block 0 of kept workspaces belong to
    bint kept                   # each block has a workspace of its own, B * units apart; else they share one
    bint of_h                   # G is dJ/dh
    const void *G
    void *dX


cdef inline int begin_pass(
    core_t *core, pass_t *how, sources_t *sources, plan, theta, work, Py_ssize_t base, Py_ssize_t first,
    Py_ssize_t last, Py_ssize_t B, bint kept
) except -1:
    """Take what forward and backward have in common."""
    begin(core, plan, theta, "theta", READ)
    if not 0 <= base <= first <= last or (first - base) % max(B, 1):
        raise ValueError(f"examples {first} .. {last} do not begin a block of those from {base} on")
    ready(sources, first, last)
    fit(sources, &core.p, False)
    how.base, how.kept = base, kept
    if not kept:
        return take_work(core, work, B)
    size = block(core, B)
    blocks = (last - base + B - 1) // B
    if size > MOST // max(blocks, 1):
        raise ValueError(f"no room for {blocks} blocks")
    core.work = room(&core.held, work, "work", core.format, size * max(blocks, 1))
    return 0


cdef inline Py_ssize_t forward_range(
    floating *z, const core_t *core, const sources_t *sources, const pass_t *how, Py_ssize_t first, Py_ssize_t last,
    double budget, team_t *team
) noexcept nogil:
    """z (m, K) := z(L), until about `budget` seconds have passed  ->  the first example not done."""
    cdef const plan_t *p = &core.p
    cdef Py_ssize_t m, end_l = p.L - 1, K = p.s[end_l], B = core.B, i = first
    cdef floating *w = <floating *>core.work
    cdef double end = seconds() + budget
    cdef unsigned callers = enter()
    while i < last:
        m = min(B, last - i)
        if how.kept:
            w = <floating *>core.work + (i - how.base) * p.units
        forward_block(p, <const floating *>core.theta, &sources.data, i, m, w, B, how.kept, team)
        if team.cut:
            break
        to_rows(m, K, <const floating *>(w + B * p.z[end_l]), z + (i - how.base) * K, K)
        i += m
        if seconds() > end:
            break
    leave(callers)
    return i


cdef inline Py_ssize_t backward_range(
    floating *Delta, const core_t *core, const sources_t *sources, const pass_t *how, Py_ssize_t first,
    Py_ssize_t last, double budget, team_t *team
) noexcept nogil:
    """Delta += the sum over the examples, dX := theirs, until about `budget` seconds have passed."""
    cdef const plan_t *p = &core.p
    cdef const floating *theta = <const floating *>core.theta
    cdef Py_ssize_t m, at, B = core.B, i = first
    cdef floating *w = <floating *>core.work
    cdef double end = seconds() + budget
    cdef unsigned callers = enter()
    while i < last and team.wanted == 0:
        m, at = min(B, last - i), i - how.base
        if how.kept:
            w = <floating *>core.work + at * p.units
        if not how.kept:
            forward_block(p, theta, &sources.data, i, m, w, B, True, team)
        backward_block(p, theta, &sources.data, i, m, <const floating *>how.G + at * p.s[p.L - 1], how.of_h, w, B,
                       Delta, NULL if how.dX == NULL else <floating *>how.dX + at * p.s[0], team)
        i += m
        if seconds() > end:
            break
    leave(callers)
    return i
