"""First derivatives of each example: of its cost, their norms, and of h. See fastbp/engine/each.py.

A call works through ranges of examples in blocks of B, as `accumulate` of _backprop.pyx does. `spare` is a second
workspace of the same layout, which holds a and delta by rows.
"""

import fastbp._kernels  # no-cython-lint  (its capsule is bound below)

from cpython.pycapsule cimport PyCapsule_GetPointer
from cython cimport floating
from libc.string cimport memset

from _backprop cimport cost_of, load_targets, team_cuts, team_t
from _checked cimport MOST, READ, WRITE, begin, block, core_t, give_back, room, take
from _crew cimport crew_of, crew_t
from _kernels cimport (
    bind_kernels, examples_t, lanes_of, layer_backward, output_backward, padded, plan_t, to_rows,
)
from _memory cimport lend_ready
from _norms cimport norms
from _outside cimport forward_block
from _ranges cimport run_ranges, sum_t, take_places
from _rows cimport go_back, outer, rows_of_a
from _sources cimport fit, ready, sources_t

from fastbp._backprop import Crew, Examples

bind_kernels()
lend_ready()

cdef enum:
    GRADIENTS, NORMS, BY_THETA, BY_X


cdef void unit_slope(const plan_t *p, Py_ssize_t m, Py_ssize_t k, floating *work, Py_ssize_t B) noexcept nogil:
    """delta(L) := dh_k/dz(L)"""
    cdef Py_ssize_t last = p.L - 1, K = p.s[last], VL = lanes_of(work), at = 0, width, e
    cdef floating *delta = work + B * p.delta[last]
    memset(delta, 0, padded(m, work) * K * sizeof(floating))
    while at < m:
        width = 2 * VL if m - at > VL else VL
        for e in range(width):
            delta[at * K + k * width + e] = 1
        at += width
    output_backward(<int>p.g[last], m, K, <const floating *>(work + B * p.z[last]), work + B * p.a[last], delta)


cdef void by_X(
    const plan_t *p, const floating *theta, Py_ssize_t m, floating *work, Py_ssize_t B, floating *spare,
    Py_ssize_t step, floating *out
) noexcept nogil:
    """out := delta(2) Theta(1) [without bias] of each example, rows `step` apart"""
    cdef floating *E = spare + B * p.a[0]
    layer_backward(m, p.s[1], 0, p.s[0], p.s[0], theta + p.theta[1], <const floating *>(work + B * p.delta[1]), E)
    to_rows(m, p.s[0], <const floating *>E, out, step)


cdef struct each_t:             # the further arguments of `each`
    int what
    void *spare
    void *out


cdef void derive(
    floating *out, const sum_t *call, const each_t *how, Py_ssize_t seat, Py_ssize_t first, Py_ssize_t m
) noexcept nogil:
    """The derivatives of the m examples from `first` on."""
    cdef const core_t *core = call.core
    cdef const plan_t *p = &core.p
    cdef const floating *theta = <const floating *>core.theta
    cdef const examples_t *data = &call.sources.data
    cdef team_t *team = &call.crew.team
    cdef int what = how.what
    cdef Py_ssize_t k, B = core.B, K = p.s[p.L - 1], i = first
    cdef floating *work = <floating *>core.work + seat * B * p.units
    cdef floating *spare = <floating *>how.spare + seat * B * p.units
    forward_block(p, theta, data, i, m, work, B, True, team)
    if what == GRADIENTS or what == BY_THETA:
        rows_of_a(p, m, work, B, spare)
    if what <= NORMS:
        load_targets(p, data, i, m, work, B, 0)
        cost_of(p, data, i, m, work, B, 0)
        go_back(p, theta, m, work, B, team)
    if what == GRADIENTS:
        outer(p, m, work, B, spare, p.n, out + i * p.n)
    elif what == NORMS:
        norms(p, m, work, B, <double *>out + i)
    else:
        for k in range(K):
            if team_cuts(team):
                return
            unit_slope(p, m, k, work, B)
            go_back(p, theta, m, work, B, team)
            if what == BY_THETA:
                outer(p, m, work, B, spare, K * p.n, out + (i * K + k) * p.n)
            else:
                by_X(p, theta, m, work, B, spare, K * p.s[0], out + (i * K + k) * p.s[0])


cdef void derive_part(
    const sum_t *call, Py_ssize_t seat, Py_ssize_t k, Py_ssize_t first, Py_ssize_t m, void *into, int member
) noexcept nogil:
    cdef const each_t *how = <const each_t *>call.how
    if call.core.format == b"f":
        derive(<float *>how.out, call, how, seat, first, m)
    else:
        derive(<double *>how.out, call, how, seat, first, m)


def each(
    plan, theta, examples, cuts, places, work, spare, Py_ssize_t B, int what, out, double budget, crew=None, int n=1,
    bint apart=False,
):
    """The derivatives of the examples of all ranges  ->  True when it is complete.

    what : 0: out (any, n) := dcost/dtheta of each; 1: out (any,) float64 := |dcost/dtheta|^2;
    2: out (any K, n) := dh/dtheta, K rows for each; 3: out (any K, s_1) := dh/dX
    cuts, places : as for fastbp._backprop.accumulate. work, spare : a block for every seat
    """
    cdef core_t core
    cdef each_t how
    cdef sum_t call
    cdef sources_t *sources
    cdef Py_ssize_t K, last
    cdef crew_t alone
    if type(examples) is not Examples:
        raise TypeError(f"examples must be fastbp._backprop.Examples; got {type(examples).__name__}")
    sources = <sources_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")
    if not GRADIENTS <= what <= BY_X:
        raise ValueError(f"what must be 0 to {BY_X}; got {what}")
    call.crew = crew_of(crew, Crew, n, apart, &alone)
    core.held.n = 0
    try:
        begin(&core, plan, theta, "theta", READ)
        if core.p.drop != NULL:
            raise ValueError("plan has dropout; derivatives of each example have none")
        take_places(&core.held, &call, cuts, places)
        last = call.cuts[call.ranges]
        core.work = room(&core.held, work, "work", core.format, call.seats * block(&core, B))
        how.spare = room(&core.held, spare, "spare", core.format, call.seats * B * core.p.units)
        ready(sources, call.cuts[0], last)
        fit(sources, &core.p, what <= NORMS, core.format)
        K = core.p.s[core.p.L - 1]
        if last > MOST // K:
            raise ValueError(f"no room for {last} examples")
        if what == NORMS:
            how.out = room(&core.held, out, "out", b"d", last)
        elif what == GRADIENTS:
            how.out = take(&core.held, out, "out", core.format, last, MOST, core.p.n, WRITE)
        else:
            how.out = take(&core.held, out, "out", core.format, last * K, MOST,
                           core.p.n if what == BY_THETA else core.p.s[0], WRITE)
        how.what = what
        call.core, call.sources, call.how, call.run = &core, sources, &how, B
        call.block, call.Delta = derive_part, NULL
        return run_ranges(&call, n, False, apart, budget)
    finally:
        give_back(&core.held)
