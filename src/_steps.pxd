"""The loops behind the functions of _epoch.pyx: the steps of an epoch, and one step along a given Delta."""

from cython cimport floating
from libc.stdint cimport uint64_t

from _backprop cimport accumulate_block, team_meet, team_t
from _checked cimport core_t
from _kernels cimport enter, examples_t, leave, load_rows, plan_t, seconds, step_t
from _rule cimport finish_step, last_step, penalty_of, rule_t
from _update cimport learn, next_step


cdef inline double batch_weight(const examples_t *data, Py_ssize_t first, Py_ssize_t m) noexcept nogil:
    """m of this batch: its number of examples, or the sum of their weights."""
    cdef double w = 0, total = 0
    cdef Py_ssize_t i
    if data.w.data == NULL:
        return <double>m
    for i in range(first, first + m):
        load_rows(&data.w, data.order, i, 1, 1, &w)
        total += w
    return total


cdef struct epoch_t:            # the arguments of `steps`
    const examples_t *data
    Py_ssize_t m, batch_size, batch, last, done
    const double *rates
    void *Delta
    double *costs
    double *each
    const double *divisors      # of each batch; NULL for its m_b
    double total, weight, budget
    team_t *team
    int member


cdef inline void run_steps(floating *theta, core_t *core, epoch_t *e, rule_t *rule) noexcept nogil:
    cdef plan_t *p = &core.p
    cdef team_t *all = e.team
    cdef step_t step                        # each member has its own count; only member 0 writes
    cdef floating *Delta = <floating *>e.Delta
    cdef Py_ssize_t rows, at, end_at
    cdef bint add
    cdef double m_b, divisor, cost, penalty, end = seconds() + e.budget
    cdef unsigned callers = enter()
    e.done = 0
    last_step(rule, &step)
    while e.batch < e.last:
        at = e.batch * e.batch_size
        end_at = min(at + e.batch_size, e.m)
        m_b = batch_weight(e.data, at, end_at - at)
        if m_b == 0:        # all weights are 0: no step
            e.batch += 1
            continue
        p.step, p.first = <uint64_t>step.t, at
        cost, add = 0, False
        while at < end_at:
            rows = min(core.B, end_at - at)
            cost += accumulate_block(
                p, <const floating *>theta, e.data, at, rows, <floating *>core.work, core.B, add, Delta, e.costs, all,
                e.member
            )
            at += rows
            add = True
            if at < end_at:
                if e.member == 0:
                    all.stop = all.wanted
                team_meet(all)
                if all.stop:
                    break
        if p.panels > 1:    # the block may be incomplete: all members must know before one changes theta
            team_meet(all)
            if all.cut:
                break
        if at < end_at:     # leave inside a step: theta is that of the last finished step
            break
        next_step(&step, e.rates, e.done, theta)
        divisor = m_b if e.divisors == NULL else e.divisors[e.batch]
        learn(p, &rule.told, &step, m_b, divisor, Delta, theta, all, e.member)
        if e.member == 0:
            finish_step(rule, &step)
            all.stop = all.wanted or seconds() > end
        team_meet(all)
        penalty = penalty_of(rule)
        if e.each != NULL and e.member == 0:
            e.each[2 * e.batch] = cost / m_b
            e.each[2 * e.batch + 1] = penalty
        e.total += cost + m_b * penalty
        e.weight += m_b
        e.batch += 1
        e.done += 1
        if all.stop:
            break
    leave(callers)


cdef struct steps_t:            # a call of `steps`, for all members
    const core_t *core
    const epoch_t *e
    rule_t *rule
    double total, weight        # OUT: the sums of member 0
    Py_ssize_t batch, done


cdef inline void part_of_steps(void *given, int member) noexcept nogil:
    cdef steps_t *call = <steps_t *>given
    cdef core_t core = call.core[0]     # the plan holds the step of the masks, so each member has its own copy
    cdef epoch_t e = call.e[0]
    e.member = member
    if core.format == b"f":
        run_steps(<float *>core.theta, &core, &e, call.rule)
    else:
        run_steps(<double *>core.theta, &core, &e, call.rule)
    if member == 0:
        call.total, call.weight, call.batch, call.done = e.total, e.weight, e.batch, e.done


cdef struct step_along_t:       # a call of `step`, for all members
    const core_t *core
    void *Delta
    double m_b, divisor
    rule_t *rule
    const double *rate
    team_t *team


cdef inline void take_step(
    floating *theta, floating *Delta, const plan_t *p, double m_b, double divisor, rule_t *rule, const double *rate,
    team_t *team, int member
) noexcept nogil:
    cdef step_t now
    cdef unsigned callers = enter()
    last_step(rule, &now)
    next_step(&now, rate, 0, theta)
    learn(p, &rule.told, &now, m_b, divisor, Delta, theta, team, member)
    leave(callers)
    team_meet(team)             # all have read the rule's state after the last step
    if member == 0:
        finish_step(rule, &now)


cdef inline void part_of_step(void *given, int member) noexcept nogil:
    cdef const step_along_t *call = <const step_along_t *>given
    if call.core.format == b"f":
        take_step(<float *>call.core.theta, <float *>call.Delta, &call.core.p, call.m_b, call.divisor, call.rule,
                  call.rate, call.team, member)
    else:
        take_step(<double *>call.core.theta, <double *>call.Delta, &call.core.p, call.m_b, call.divisor, call.rule,
                  call.rate, call.team, member)


cdef inline double step_of_few(
    plan_t *p, floating *theta, const examples_t *data, Py_ssize_t m, floating *work, Py_ssize_t B, floating *Delta,
    double *costs, rule_t *rule, const double *rate, team_t *alone
) noexcept nogil:
    """One step on m examples by the calling thread, block by block as in `run_steps`  ->  their J before it. Delta is
    divided by m."""
    cdef double cost = 0, m_b = batch_weight(data, 0, m)
    cdef Py_ssize_t at = 0, rows
    cdef step_t now
    cdef unsigned callers = enter()
    last_step(rule, &now)
    p.step, p.first = <uint64_t>now.t, 0
    while at < m:
        rows = min(B, m - at)
        cost += accumulate_block(p, <const floating *>theta, data, at, rows, work, B, at > 0, Delta, costs, alone, 0)
        at += rows
    next_step(&now, rate, 0, theta)
    learn(p, &rule.told, &now, m_b, <double>m, Delta, theta, alone, 0)
    leave(callers)
    finish_step(rule, &now)
    return cost / m_b + penalty_of(rule)
