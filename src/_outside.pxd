"""The forward pass of a block, and the backward pass from a given delta(L): for losses outside this core.

Between the two, the workspace of the block holds everything that the second needs: a, g'(z) and fed of the hidden
layers, z(L), and a(1) as rows unless it is read in place. A backward pass overwrites g'(z), so each needs its own
forward pass.
"""

from cython cimport floating

from _backprop cimport backward, drops, forward, learn_block, load, next_units, team_t
from _checked cimport MOST, READ, begin, block, core_t, room
from _kernels cimport dropout, examples_t, layer_backward, output_backward, plan_t, to_panels, to_rows
from _ranges cimport sum_t, take_places, whole_blocks
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
    floating *work,     # IN   the result of forward_block;  OUT  delta(L) .. delta(2)
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


cdef struct pass_t:             # the further arguments of passes through ranges
    Py_ssize_t base             # the example that row 0 of z, G, dX and block 0 of kept workspaces belong to
    bint kept                   # each block has its own workspace, B * units apart; otherwise each seat has one
    bint of_h                   # G is dJ/dh
    void *z
    const void *G
    void *dX


cdef inline int begin_pass(
    core_t *core, pass_t *how, sum_t *call, sources_t *sources, plan, theta, cuts, places, work, Py_ssize_t B
) except -1:
    """Take the arguments that forward and backward share; how.kept is set."""
    cdef Py_ssize_t size, blocks
    begin(core, plan, theta, "theta", READ)
    take_places(&core.held, call, cuts, places)
    how.base, blocks = call.cuts[0], call.seats
    ready(sources, how.base, call.cuts[call.ranges])
    fit(sources, &core.p, False)
    size = block(core, B)
    call.core, call.sources, call.how, call.run = core, sources, how, B
    if how.kept:
        blocks = whole_blocks(call)
    if size > MOST // max(blocks, 1):
        raise ValueError(f"no room for {blocks} blocks")
    core.work = room(&core.held, work, "work", core.format, size * max(blocks, 1))
    return 0


cdef inline floating *block_of(
    floating *_, const sum_t *call, const pass_t *how, Py_ssize_t seat, Py_ssize_t first
) noexcept nogil:
    """The workspace of the block that begins at this example."""
    return <floating *>call.core.work + (first - how.base if how.kept else seat * call.core.B) * call.core.p.units


cdef inline void z_of(
    floating *z, const sum_t *call, const pass_t *how, Py_ssize_t seat, Py_ssize_t first, Py_ssize_t m
) noexcept nogil:
    """z (m, K) := z(L)"""
    cdef const core_t *core = call.core
    cdef Py_ssize_t last = core.p.L - 1, K = core.p.s[last]
    cdef floating *work = block_of(z, call, how, seat, first)
    forward_block(&core.p, <const floating *>core.theta, &call.sources.data, first, m, work, core.B, how.kept,
                  &call.crew.team)
    if not call.crew.team.cut:
        to_rows(m, K, <const floating *>(work + core.B * core.p.z[last]), z + (first - how.base) * K, K)


cdef inline void forward_part(
    const sum_t *call, Py_ssize_t seat, Py_ssize_t k, Py_ssize_t first, Py_ssize_t m, void *into, int member
) noexcept nogil:
    cdef const pass_t *how = <const pass_t *>call.how
    if call.core.format == b"f":
        z_of(<float *>how.z, call, how, seat, first, m)
    else:
        z_of(<double *>how.z, call, how, seat, first, m)


cdef inline void D_of(
    floating *Delta, const sum_t *call, const pass_t *how, Py_ssize_t seat, Py_ssize_t first, Py_ssize_t m
) noexcept nogil:
    """Delta += the sum over the examples; dX := dJ/dX of the examples."""
    cdef const core_t *core = call.core
    cdef const plan_t *p = &core.p
    cdef Py_ssize_t row = first - how.base
    cdef floating *work = block_of(Delta, call, how, seat, first)
    if not how.kept:
        forward_block(p, <const floating *>core.theta, &call.sources.data, first, m, work, core.B, True,
                      &call.crew.team)
    backward_block(p, <const floating *>core.theta, &call.sources.data, first, m,
                   <const floating *>how.G + row * p.s[p.L - 1], how.of_h, work, core.B, Delta,
                   NULL if how.dX == NULL else <floating *>how.dX + row * p.s[0], &call.crew.team)


cdef inline void backward_part(
    const sum_t *call, Py_ssize_t seat, Py_ssize_t k, Py_ssize_t first, Py_ssize_t m, void *into, int member
) noexcept nogil:
    cdef const pass_t *how = <const pass_t *>call.how
    if call.core.format == b"f":
        D_of(<float *>into, call, how, seat, first, m)
    else:
        D_of(<double *>into, call, how, seat, first, m)
