"""The loops over examples in blocks of B, until the time is up or the crew is asked to stop: those of _backprop.pyx,
and those over ranges, which _curvature.pyx, _derivatives.pyx and _each.pyx use as well.
"""

from cython cimport floating
from libc.stdint cimport int64_t
from libc.string cimport memset

from _backprop cimport accumulate_block, accumulate_example, forward, load, team_meet, team_portion, team_t
from _checked cimport MOST, READ, WRITE, arrays_t, core_t, refusal, room, some, take
from _crew cimport crew_free, crew_t, crew_take, do_job, hold_crew, job_t, run_job
from _kernels cimport enter, leave, output_of, plan_t, seconds, to_rows
from _sources cimport sources_t

cdef enum:
    TOGETHER = 4096     # values that one member adds at once
    APART = 16          # the Deltas of ranges begin at multiples of this many values


cdef struct prediction_t:       # a call of `predict`
    const core_t *core
    const sources_t *sources
    Py_ssize_t first, last      # OUT: the first example not done
    void *out
    double budget
    team_t *team


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


cdef inline void predict_part(void *given, int member) noexcept nogil:
    cdef prediction_t *call = <prediction_t *>given
    if call.core.format == b"f":
        call.first = predict_range(<float *>call.out, call.core, call.sources, call.first, call.last, call.budget,
                                   call.team)
    else:
        call.first = predict_range(<double *>call.out, call.core, call.sources, call.first, call.last, call.budget,
                                   call.team)


cdef struct sum_t

# Work for m examples from `first` on, of range k, in the workspace of this seat; into: their Delta, or NULL.
ctypedef void (*block_t)(
    const sum_t *call, Py_ssize_t seat, Py_ssize_t k, Py_ssize_t first, Py_ssize_t m, void *into, int member
) noexcept nogil


cdef struct sum_t:              # a call that goes through ranges of examples, for all members
    const core_t *core          # its workspace has a block for each seat
    const sources_t *sources
    crew_t *crew
    block_t block
    const void *how             # further arguments of `block`
    const int64_t *cuts         # (ranges + 1,)
    Py_ssize_t ranges, seats, run
    int64_t *places             # (seats, 2): the last range of each seat, or -1, and the first example of it not done
    double *sums                # (ranges,), the costs of each
    double *costs               # (seats, panels of a block)
    double *each                # (panels of all examples,), or NULL
    void *Delta                 # of range 0, or NULL
    void *others                # of the other ranges; from `partials` on, of the present run of each seat
    Py_ssize_t stride           # values between two of them
    Py_ssize_t partials
    double end                  # seconds


cdef inline int take_places(arrays_t *held, sum_t *call, cuts, places) except -1:
    """The ranges, and the progress of `accumulate` in them."""
    cdef Py_ssize_t i, k, at
    call.cuts = <const int64_t *>take(held, cuts, "cuts", b"q", 2, MOST, 0, READ)
    call.ranges = held.views[held.n - 1].shape[0] - 1
    for i in range(call.ranges if call.ranges > 1 else 0):
        if call.cuts[i] >= call.cuts[i + 1]:
            raise ValueError(f"cuts must rise; got {call.cuts[i]} before {call.cuts[i + 1]}")
    call.places = <int64_t *>take(held, places, "places", b"q", 1, MOST, 2, WRITE)
    call.seats = held.views[held.n - 1].shape[0]
    for i in range(call.seats):
        k, at = call.places[2 * i], call.places[2 * i + 1]
        if k != -1 and not (0 <= k < call.ranges and call.cuts[k] <= at <= call.cuts[k + 1]):
            raise ValueError(f"places has example {at} of range {k}, where there is none")
    return 0


cdef inline Py_ssize_t whole_blocks(const sum_t *call) except -1:
    """The number of blocks of B of all examples, for workspaces that are kept for each. Raises a ValueError unless
    everything left to do begins with a block."""
    cdef Py_ssize_t i, base = call.cuts[0]
    for i in range(call.ranges):
        between_blocks(call, call.cuts[i])
    for i in range(call.seats):
        if call.places[2 * i] >= 0 and call.places[2 * i + 1] < call.cuts[call.places[2 * i] + 1]:
            between_blocks(call, call.places[2 * i + 1])
    return (call.cuts[call.ranges] - base + call.core.B - 1) // call.core.B


cdef inline int between_blocks(const sum_t *call, Py_ssize_t at) except -1:
    if (at - call.cuts[0]) % call.core.B:
        raise ValueError(f"example {at} begins none of the blocks of {call.core.B} from {call.cuts[0]} on")
    return 0


cdef inline Py_ssize_t stride_of(Py_ssize_t n) noexcept:
    """The values between two Deltas of n values."""
    return (n + APART - 1) // APART * APART


cdef inline int take_Delta(core_t *core, sum_t *call, Delta, others) except -1:
    """Delta, which may be empty, and the room for those of the other ranges, in runs of call.run."""
    cdef Py_ssize_t i, longest = 0
    call.Delta = some(&core.held, Delta, "Delta", core.format, core.p.n, WRITE)
    if call.Delta != NULL and core.held.views[core.held.n - 1].shape[0] != core.p.n:
        raise refusal(Delta, "Delta", core.format, core.p.n, core.p.n, 0, WRITE)
    for i in range(call.ranges):
        longest = max(longest, call.cuts[i + 1] - call.cuts[i])
    call.stride = stride_of(core.p.n)
    call.partials = (call.ranges - 1) * call.stride
    call.others = room(&core.held, others, "others", core.format, 0 if call.Delta == NULL else call.partials + (
        call.seats * call.stride if longest > call.run else 0))
    return 0


cdef inline bint run_ranges(sum_t *call, int n, bint meet, bint apart, double budget) except -1:
    """Continue for about `budget` seconds, with n members or, with `meet`, all together  ->  True when all is done."""
    hold_crew(call.crew)
    try:
        call.end = seconds() + budget
        call.crew.seats, call.crew.tasks = 0, <int>begun(call)
        do_job(call.crew, sum_part_together if meet else sum_part, call, n, meet, apart)
        if not complete(call):
            return False
        if call.Delta != NULL and call.ranges > 1:
            call.crew.tasks = 0
            do_job(call.crew, add_part, call, n, False, apart)
        return True
    finally:
        crew_free(call.crew)


cdef inline Py_ssize_t begun(const sum_t *call) noexcept:
    """The number of ranges that have been begun: they are dealt in their order."""
    cdef Py_ssize_t i, n = 0
    for i in range(call.seats):
        n = max(n, call.places[2 * i] + 1)
    return n


cdef inline bint complete(const sum_t *call) noexcept:
    """True if no range has examples left."""
    cdef Py_ssize_t i
    for i in range(call.seats):
        if call.places[2 * i] >= 0 and call.places[2 * i + 1] < call.cuts[call.places[2 * i] + 1]:
            return False
    return call.cuts[begun(call)] == call.cuts[call.ranges]


cdef inline floating *Delta_of(const sum_t *call, Py_ssize_t k, floating *_) noexcept nogil:
    """The sum of range k; NULL if only costs are summed."""
    if k == 0 or call.Delta == NULL:
        return <floating *>call.Delta
    return <floating *>call.others + (k - 1) * call.stride


cdef inline bint has_runs(const sum_t *call, Py_ssize_t k) noexcept nogil:
    """Is the range longer than a run? If so, its runs are summed one by one, so that rounding errors stay small."""
    return call.Delta != NULL and call.cuts[k + 1] - call.cuts[k] > call.run


cdef inline Py_ssize_t end_of_block(const sum_t *call, Py_ssize_t k, Py_ssize_t at, bint *ends_run) noexcept nogil:
    """The end of the block that begins at this example of range k; does a run end there?"""
    cdef Py_ssize_t begin = call.cuts[k], end = call.cuts[k + 1]
    cdef Py_ssize_t stop = min(at - (at - begin) % call.run + call.run, end), last = min(at + call.core.B, stop)
    ends_run[0] = last == stop
    return last


cdef inline void sum_costs(
    floating *into, const sum_t *call, Py_ssize_t seat, Py_ssize_t k, Py_ssize_t first, Py_ssize_t m, int member
) noexcept nogil:
    """into += the sum over the examples of the block, unless NULL; sums[k] += their costs."""
    cdef const core_t *core = call.core
    cdef double *costs = call.costs + seat * (core.B // core.panel)
    cdef double cost = accumulate_block(
        &core.p, <const floating *>core.theta, &call.sources.data, first, m,
        <floating *>core.work + seat * core.B * core.p.units, core.B, True, into, costs, &call.crew.team, member
    )
    if member == 0:
        call.sums[k] += cost
        note(call, first, first + m, costs if m > core.panel else &cost)


cdef inline void sum_block(
    const sum_t *call, Py_ssize_t seat, Py_ssize_t k, Py_ssize_t first, Py_ssize_t m, void *into, int member
) noexcept nogil:
    if call.core.format == b"f":
        sum_costs(<float *>into, call, seat, k, first, m, member)
    else:
        sum_costs(<double *>into, call, seat, k, first, m, member)


cdef inline void sum_seat(floating *_, const sum_t *call, Py_ssize_t seat) noexcept nogil:
    """The ranges that this seat gets, one after the other; it may stop inside one, where the next call resumes."""
    cdef Py_ssize_t n = call.core.p.n, k, at, last
    cdef floating *Delta
    cdef floating *into
    cdef int64_t *place = call.places + 2 * seat
    cdef bint runs, ends
    while call.crew.team.wanted == 0:
        k, at = place[0], place[1]
        if k < 0 or at == call.cuts[k + 1]:
            k = crew_take(&call.crew.tasks)
            if k >= call.ranges:
                return
            at = call.cuts[k]
            place[0], place[1] = k, at
        Delta, runs = Delta_of(call, k, _), has_runs(call, k)
        into = <floating *>call.others + call.partials + seat * call.stride if runs else Delta
        if at == call.cuts[k]:
            if k > 0 and Delta != NULL:
                memset(Delta, 0, n * sizeof(floating))
            if runs:
                memset(into, 0, n * sizeof(floating))
            if at == call.cuts[k + 1]:
                continue
        last = end_of_block(call, k, at, &ends)
        call.block(call, seat, k, at, last - at, into, 0)
        if call.crew.team.cut:
            return
        if runs and ends:
            add_range(Delta, <const floating *>into, 0, n)
            memset(into, 0, n * sizeof(floating))
        place[1] = last
        if seconds() > call.end:
            return


cdef inline void note(const sum_t *call, Py_ssize_t at, Py_ssize_t last, const double *costs) noexcept nogil:
    """each := the costs of the panels of this block."""
    cdef Py_ssize_t i, width = call.core.panel
    if call.each != NULL:
        for i in range((last - at + width - 1) // width):
            call.each[at // width + i] = costs[i]


cdef inline void add_range(floating *into, const floating *x, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """into += x, values i .. j"""
    while i < j:
        into[i] += x[i]
        i += 1


cdef inline void sum_together(floating *_, const sum_t *call, int member) noexcept nogil:
    """The ranges one after the other, all members on each block; they share the one seat."""
    cdef team_t *team = &call.crew.team
    cdef Py_ssize_t n = call.core.p.n, k = max(call.places[0], 0), at = max(call.places[1], call.cuts[k]), last, i, j
    cdef floating *Delta
    cdef floating *into
    cdef bint runs, ends, goes_on = not team.stop      # not `wanted`, which may come any time
    i, j = team_portion(team, n, APART, member), team_portion(team, n, APART, member + 1)
    while goes_on:
        if at == call.cuts[k + 1]:
            k += 1
        if k == call.ranges:
            return
        Delta, runs = Delta_of(call, k, _), has_runs(call, k)
        into = <floating *>call.others + call.partials if runs else Delta
        if at == call.cuts[k]:      # the members meet in the block before one adds to Delta
            if k > 0 and Delta != NULL:
                memset(Delta + i, 0, (j - i) * sizeof(floating))
            if runs:
                memset(into + i, 0, (j - i) * sizeof(floating))
        last = end_of_block(call, k, at, &ends)
        call.block(call, 0, k, at, last - at, into, member)
        if member == 0:
            call.places[0], call.places[1] = k, last
            team.stop = team.wanted or seconds() > call.end
        team_meet(team)
        goes_on = not team.stop
        if runs and ends:
            add_range(Delta, <const floating *>into, i, j)
            memset(into + i, 0, (j - i) * sizeof(floating))
        at = last


cdef inline void sum_part(void *given, int member) noexcept nogil:
    """A member takes seat after seat, so that any number of members serves all of them."""
    cdef const sum_t *call = <const sum_t *>given
    cdef unsigned callers = enter()
    cdef Py_ssize_t seat = crew_take(&call.crew.seats)
    while seat < call.seats:
        if call.core.format == b"f":
            sum_seat(<float *>NULL, call, seat)
        else:
            sum_seat(<double *>NULL, call, seat)
        seat = crew_take(&call.crew.seats)
    leave(callers)


cdef inline void sum_part_together(void *given, int member) noexcept nogil:
    cdef const sum_t *call = <const sum_t *>given
    cdef unsigned callers = enter()
    if call.core.format == b"f":
        sum_together(<float *>NULL, call, member)
    else:
        sum_together(<double *>NULL, call, member)
    leave(callers)


cdef inline void add_others(floating *Delta, const sum_t *call) noexcept nogil:
    """Delta += the sums of the other ranges, in their order; the member adds any values that no other has taken."""
    cdef Py_ssize_t n = call.core.p.n, i = crew_take(&call.crew.tasks) * <Py_ssize_t>TOGETHER, k
    while i < n:
        for k in range(1, call.ranges):
            add_range(Delta, <const floating *>Delta_of(call, k, Delta), i, min(i + TOGETHER, n))
        i = crew_take(&call.crew.tasks) * <Py_ssize_t>TOGETHER


cdef inline void add_part(void *given, int member) noexcept nogil:
    cdef const sum_t *call = <const sum_t *>given
    cdef unsigned callers = enter()
    if call.core.format == b"f":
        add_others(<float *>call.Delta, call)
    else:
        add_others(<double *>call.Delta, call)
    leave(callers)


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
