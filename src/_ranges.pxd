"""The loops behind the functions of _backprop.pyx. They go over the examples first .. last in blocks of B until the
time is up or the team is asked to stop. Each returns the first example not done.
"""

from cython cimport floating

from _backprop cimport accumulate_block, accumulate_example, forward, load, team_t
from _checked cimport core_t
from _kernels cimport enter, leave, output_of, plan_t, seconds, to_rows
from _sources cimport sources_t


cdef inline Py_ssize_t predict_range(
    floating *out, const core_t *core, const sources_t *sources, Py_ssize_t first, Py_ssize_t last, double budget,
    team_t *team
) noexcept nogil:
    """out[i] := h(x(i)) for i = first .. last, until about `budget` seconds have passed."""
    cdef const plan_t *p = &core.p
    cdef Py_ssize_t m, end_l = p.L - 1, K = p.s[end_l], B = core.B, i = first
    cdef floating *w = <floating *>core.work
    cdef double end = seconds() + budget
    cdef unsigned callers = enter()
    while i < last:
        m = min(B, last - i)
        load(p, &sources.data, i, m, w, B, 0, w + B * p.a[0])
        forward(p, <const floating *>core.theta, m, <const floating *>(w + B * p.a[0]), w, B, 0, 0, False, team)
        if team.cut:
            break
        output_of(<int>p.g[end_l], m, K, <const floating *>(w + B * p.z[end_l]), w + B * p.a[end_l])
        to_rows(m, K, <const floating *>(w + B * p.a[end_l]), out + i * K, K)
        i += m
        if seconds() > end:
            break
    leave(callers)
    return i


cdef inline Py_ssize_t accumulate_range(
    floating *Delta, const core_t *core, const sources_t *sources, Py_ssize_t first, Py_ssize_t last, double *costs,
    double *each, double *cost, double budget, team_t *team
) noexcept nogil:
    """Delta += the sum over the examples, cost += their costs; each := the costs of each panel unless it is NULL."""
    cdef Py_ssize_t m, k, width = core.panel, B = core.B, i = first
    cdef double end = seconds() + budget
    cdef unsigned callers = enter()
    while i < last and team.wanted == 0:
        m = min(B, last - i)
        cost[0] += accumulate_block(
            &core.p, <const floating *>core.theta, &sources.data, i, m, <floating *>core.work, B, True, Delta, costs,
            team, 0
        )
        if each != NULL:
            for k in range((m + width - 1) // width):
                each[i // width + k] = costs[k]
        i += m
        if seconds() > end:
            break
    leave(callers)
    return i


cdef inline Py_ssize_t accumulate_one_by_one(
    floating *Delta, const core_t *core, const sources_t *sources, Py_ssize_t first, Py_ssize_t last, double *cost,
    double budget
) noexcept nogil:
    """The same sums by the textbook's loop."""
    cdef Py_ssize_t i = first
    cdef double end = seconds() + budget
    cdef unsigned callers = enter()
    while i < last:
        cost[0] += accumulate_example(&core.p, <const floating *>core.theta, &sources.data, i, <floating *>core.work,
                                      core.B, Delta)
        i += 1
        if (i % 16 == 0 or core.p.panels > 1) and seconds() > end:
            break
    leave(callers)
    return i
