"""The steps of an epoch in one call: batches in the given order, Delta, D, the update rule.

This is the fused twin of training/kinds.py, which goes batch by batch with a rule in Python. Calls return at a step
boundary. An epoch gives the same bits in any number of calls.
"""

import fastbp._kernels  # no-cython-lint  (its capsule is bound below)

from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cython cimport final
from libc.float cimport DBL_MAX as LARGEST
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from _backprop cimport team_begin, team_t
from _checked cimport (
    LARGEST_LAYER, MOST, READ, WRITE, arrays_t, begin, block, changed, core_t, give_back, held_t, hold, own_plan,
    own_room, room, some, stays, take, take_work, values,
)
from _crew cimport crew_of, crew_t, run_job
from _kernels cimport (
    LOSS_COUNT, LOSS_OWN_F32, LOSS_OWN_F64, ROWS_F32, ROWS_F64, bind_kernels, enter, examples_t, f32, f64,
    fastbp_first_nonfinite, leave, plan_t, rows_t, seconds,
)
from _memory cimport PyObject, is_lent, lend_is_array, lend_ready
from _online cimport online_sgd
from _rule cimport begin_rule, check_rule, look_again, penalty_of, rule_t, stay
from _shuffle cimport bitgen_t, shuffle
from _sources cimport fit, ready, sources_of, sources_t
from _steps cimport epoch_t, part_of_step, part_of_steps, step_along_t, step_of_few, steps_t, take_step
from _taken cimport NO_TARGETS, OWN, lie, take_rows, take_targets, take_theta, takes_t
from _turn cimport give_turn, give_turn_short, take_turn, take_turn_short, turn_t

from numpy.random import BitGenerator

from fastbp._backprop import Crew, Examples

bind_kernels()
lend_ready()


@final
cdef class Rule:
    """The optimizer, the penalties and clipping of D, and the arrays that keep the rule's state between steps.

    rule, settings : the code of the rule in names.h, and its settings with the learning rate first
    regularisation : Regularisation.code
    slots : the rule's arrays, each shaped like theta
    scalars : (SCALARS,), or empty if the rule has none
    taken : [0], the steps so far
    free : bytes, one for each parameter, 0 where it keeps its bits; None: all are trained
    factors : bytes, factors of the learning rate of weights and biases of each Theta; None: all are 1
    diagonal : (W, s, the factor of its learning rate) if Theta(1) = [b, W diag(s)], see _diagonal.pxd
    turn : fastbp._kernels.Turn of the network, which each call takes; None: the caller ensures exclusive use

    plan, settings and regularisation are copied; slots, scalars and taken are checked again before each use.
    """

    cdef rule_t own
    cdef object kept            # owns the memory of its pointers
    cdef readonly object capsule    # of &own, for _derivatives

    def __cinit__(self, plan, int rule, settings, regularisation, slots, scalars, taken, free=None, factors=None,
                  diagonal=None, turn=None):
        self.capsule = PyCapsule_New(&self.own, "fastbp.rule", NULL)
        self.kept = begin_rule(&self.own, plan, rule, settings, regularisation, slots, scalars, taken, free, factors,
                               diagonal, turn)

    def stays(self):
        """True if its arrays are as they were when taken."""
        return stay(&self.own)

    @property
    def penalty(self):
        """The penalty before the last step."""
        return penalty_of(&self.own)


def steps(
    plan, theta, examples, Py_ssize_t m, Py_ssize_t batch_size, Py_ssize_t first, Py_ssize_t last, Rule rule not None,
    rates, Delta, work, Py_ssize_t B, costs, each, double total, double weight, double budget, crew=None, int n=1,
    bint apart=False, divisors=None,
):
    """The batches first .. last of an epoch over m examples; theta and the rule's state are updated in place.

    rates: learning rates of the steps of this call, or empty for the rule's own. each (batches, 2), or empty: receives
    the mean cost and the penalty of each batch that has a step. divisors: the divisor of Delta for each of the batches
    0 .. last, or None for its m_b. The step count and the rule's state are up to date after each step, in case the
    caller is interrupted. Returns (total + the sum of m_b J_b, penalty included, over the batches done; weight + the
    sum of their m_b; the first batch not done; the steps done). It returns after about `budget` seconds at the latest,
    or when the crew is asked to stop. theta is then that of the last finished step.
    n members of the crew (None: the caller) take each step together. With `apart` the caller is not one of them, and
    checks for Ctrl-C.
    """
    cdef core_t core
    cdef epoch_t e
    cdef steps_t call
    cdef sources_t *sources = sources_of(examples, Examples)
    cdef crew_t alone
    cdef crew_t *members = crew_of(crew, Crew, n, apart, &alone)
    if batch_size < 1 or not 0 <= first <= last or last > m // batch_size + (m % batch_size > 0):
        raise ValueError(f"batches {first} .. {last} of {batch_size} are not among those of {m} examples")
    core.held.n = 0
    take_turn(rule.own.turn)
    try:
        begin(&core, plan, theta, "net.theta", WRITE)
        take_work(&core, work, B)
        ready(sources, 0, m)
        fit(sources, &core.p, True, core.format)
        check_rule(&rule.own, &core.p, core.format)
        e.rates = <const double *>some(&core.held, rates, "rates", b"d", last - first, READ)
        e.Delta = values(&core.held, Delta, "Delta", core.format, core.p.n, WRITE)
        e.costs = <double *>room(&core.held, costs, "costs", b"d", B // core.panel)
        e.divisors = NULL
        if divisors is not None:
            e.divisors = <const double *>some(&core.held, divisors, "divisors", b"d", last, READ)
        e.each = <double *>take(&core.held, each, "each", b"d", 0, MOST, 2, WRITE)
        if core.held.views[core.held.n - 1].shape[0] == 0:
            e.each = NULL
        elif core.held.views[core.held.n - 1].shape[0] < last:
            raise ValueError(f"each must have a row for each of the {last} batches, or none; got {len(each)}")
        e.data, e.m, e.batch_size, e.batch, e.last = &sources.data, m, batch_size, first, last
        e.total, e.weight, e.budget, e.team = total, weight, budget, &members.team
        call.core, call.e, call.rule = &core, &e, &rule.own
        run_job(members, part_of_steps, &call, n, True, apart)
    finally:
        give_turn(rule.own.turn)
        give_back(&core.held)
    return call.total, call.weight, call.batch, call.done


def step(plan, theta, double m_b, Rule rule not None, rates, Delta, divisor=None, crew=None, int n=1):
    """Take one step of the rule, D from Delta / divisor (None: / m_b)  ->  the penalty before it.

    Delta holds the finished sum, and is overwritten. n members of the crew (None: the caller) take the step together.
    """
    cdef core_t core
    cdef step_along_t call
    cdef crew_t alone
    cdef crew_t *members = crew_of(crew, Crew, n, False, &alone)
    call.m_b, call.divisor, call.rule = m_b, m_b if divisor is None else divisor, &rule.own
    core.held.n = 0
    take_turn(rule.own.turn)
    try:
        begin(&core, plan, theta, "net.theta", WRITE)
        check_rule(&rule.own, &core.p, core.format)
        call.rate = <const double *>some(&core.held, rates, "rates", b"d", 1, READ)
        call.Delta = values(&core.held, Delta, "Delta", core.format, core.p.n, WRITE)
        call.core, call.team = &core, &members.team
        run_job(members, part_of_step, &call, n, True, False)
    finally:
        give_turn(rule.own.turn)
        give_back(&core.held)
    return penalty_of(&rule.own)


def packed_size(plan, theta):
    """The number of values that `online_steps` needs for the weights: each row, and the biases, in whole vectors."""
    cdef core_t core
    core.held.n = 0
    try:
        begin(&core, plan, theta, "net.theta", READ)
        return packed_of(&core)
    finally:
        give_back(&core.held)


cdef Py_ssize_t packed_of(const core_t *core) noexcept:
    cdef const plan_t *p = &core.p
    cdef Py_ssize_t l, VL = core.panel // 2, total = 0
    for l in range(1, p.L):
        total += (p.s[l] + VL - 1) // VL * VL + p.s[l] * ((p.s[l - 1] + VL - 1) // VL * VL)
    return total


def online_steps(
    plan, theta, examples, Py_ssize_t first, Py_ssize_t last, Rule rule not None, rates, work, Py_ssize_t B, packed,
    double total, double weight, double budget, Py_ssize_t stride, divisors=None,
):
    """`steps` for batches of one example and plain SGD with decay only, by the fused sweeps of src/kernels/online.h:
    (total + the sum of w J, weight + the sum of w, the first example not done).

    divisors: the divisor of w delta for each of the examples 0 .. last, or None for its w, which leaves delta itself.
    work holds zeros at first; packed has room for the weights in whole vectors (`packed_size`). The clock is read
    every `stride` examples.
    """
    cdef core_t core
    cdef sources_t *sources = sources_of(examples, Examples)
    cdef const double *rate
    cdef const double *by = NULL
    cdef void *weights
    cdef int64_t *taken
    cdef double end = seconds() + budget
    cdef unsigned callers
    if stride < 1:
        raise ValueError(f"stride must be at least 1; got {stride}")
    core.held.n = 0
    take_turn(rule.own.turn)
    try:
        begin(&core, plan, theta, "net.theta", WRITE)
        take_work(&core, work, B)
        ready(sources, first, last)
        fit(sources, &core.p, True, core.format)
        check_rule(&rule.own, &core.p, core.format)
        rate = <const double *>some(&core.held, rates, "rates", b"d", last - first, READ)
        if divisors is not None:
            by = <const double *>some(&core.held, divisors, "divisors", b"d", last, READ)
        weights = room(&core.held, packed, "packed", core.format, packed_of(&core))
        taken = <int64_t *>rule.own.taken.data
        with nogil:
            callers = enter()
            if core.format == b"f":
                first = online_sgd(
                    &core.p, <float *>core.theta, &sources.data, first, last, rule.own.settings[0], rate,
                    rule.own.told.c, by, <float *>core.work, B, <float *>weights, end, stride, &total, &weight, taken)
            else:
                first = online_sgd(
                    &core.p, <double *>core.theta, &sources.data, first, last, rule.own.settings[0], rate,
                    rule.own.told.c, by, <double *>core.work, B, <double *>weights, end, stride, &total, &weight, taken)
            leave(callers)
    finally:
        give_turn(rule.own.turn)
        give_back(&core.held)
    return total, weight, first


def permutation(bit_generator, order):
    """order (m,) := 0 .. m - 1, shuffled: the bits of numpy's Generator.permutation(m), in less time."""
    cdef arrays_t held
    cdef bitgen_t *random
    cdef int64_t *at
    cdef Py_ssize_t i, m
    if not isinstance(bit_generator, BitGenerator):     # a capsule may outlive any other object
        raise TypeError(f"bit_generator must be a numpy BitGenerator; got {type(bit_generator).__name__}")
    random = <bitgen_t *>PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")
    if random.next_uint32 == NULL:      # of a subclass in Python, without a generator
        raise ValueError(f"bit_generator draws no numbers; got {type(bit_generator).__name__}")
    held.n = 0
    try:
        at = <int64_t *>take(&held, order, "order", b"q", 0, LARGEST_LAYER, 0, WRITE)
        m = held.views[0].shape[0]
        with bit_generator.lock, nogil:
            for i in range(m):
                at[i] = i
            shuffle(random, at, m)
    finally:
        give_back(&held)


cdef class Stepper:
    """One training step, with everything prepared: for callers that need every microsecond.

    It owns its buffers, which the turn of the rule's network guards. It takes the X (m, s_1) and Y that src/_taken.pxd
    accepts, at most `most` examples, and a finite theta. Each step checks theta and the rule's arrays again; plan is
    copied. Each example has the weight w, and Delta is divided by the number of examples. Its block has room for B
    examples first and grows to `full`; more examples are summed block by block.
    """

    cdef plan_t p
    cdef team_t alone
    cdef object kept            # owns the memory of the pointers
    cdef bytes block, panels    # own that of work and costs
    cdef held_t theta
    cdef void *Delta
    cdef void *work
    cdef void *costs
    cdef readonly Rule rule
    cdef public double rate     # the learning rate of the next step; 0 for the rule's own
    cdef Py_ssize_t B, most, full, panel
    cdef rows_t w               # weight of every example, in units of the rule; NULL for 1
    cdef takes_t takes
    cdef object dtype
    cdef char format

    def __cinit__(
        self, plan, theta, Py_ssize_t B, Rule rule not None, double lowest, double highest, bint rows_sum_to_1,
        double w=1, Py_ssize_t most=0, Py_ssize_t full=0,
    ):
        cdef core_t core
        cdef Py_ssize_t size
        cdef void *own_w
        own = own_plan(plan, &self.p)
        hold(&self.theta, theta, "net.theta", 0, self.p.n, WRITE)
        self.format, size = self.theta.format, 4 if self.theta.format == b"f" else 8
        core.p, core.panel = self.p, f32().panel if self.format == b"f" else f64().panel
        check_rule(&rule.own, &self.p, self.format)
        self.panel, self.full, self.most = core.panel, max(full, B), max(most, B)
        block(&core, self.full)
        block(&core, B)
        self.kept = own, theta, own_room(size * self.p.n, &self.Delta), own_room(size, &own_w)
        self.grow(B)
        self.w.data, self.w.stride, self.w.n = NULL, 0, self.most   # one number, read for each example
        self.w.type = ROWS_F32 if self.format == b"f" else ROWS_F64
        if w != 1:
            self.w.data = own_w
            if self.format == b"f":
                (<float *>own_w)[0] = <float>w
            else:
                (<double *>own_w)[0] = w
        self.rule = rule
        self.takes = takes_t(self.p.s[0], self.p.s[self.p.L - 1], lowest, highest, rows_sum_to_1, self.format)
        if self.p.loss >= LOSS_COUNT:
            compiled = self.p.own != 0 and self.p.loss == (LOSS_OWN_F32 if self.format == b"f" else LOSS_OWN_F64)
            self.takes.K = OWN if compiled else NO_TARGETS
        self.dtype = theta.dtype
        team_begin(&self.alone, 1)

    cdef bint grow(self, Py_ssize_t m) except -1:
        """Make room for a block of m examples, or of `full`; True"""
        cdef Py_ssize_t B = min(self.full, (m + self.panel - 1) // self.panel * self.panel)
        if B > self.B:
            self.B = 0
            self.block = own_room(B * self.p.units * (4 if self.format == b"f" else 8), &self.work)
            self.panels = own_room(B // self.panel * sizeof(double), &self.costs)
            self.B = B
        return True

    cdef inline int as_it_was(self) except -1:
        """True if theta and the rule's arrays are as they were when taken."""
        return stays(&self.theta) and stay(&self.rule.own)

    cdef inline bint has_turn(self, turn_t **turn) except -1:
        """*turn := the turn of the network, taken; returns True"""
        take_turn_short(self.rule.own.turn)
        turn[0] = self.rule.own.turn
        return True

    cdef complain(self):
        """Raise the error of theta or a rule's array that has been changed; otherwise return None."""
        if not stays(&self.theta):
            raise changed(&self.theta, "net.theta")
        return look_again(&self.rule.own)

    def step(self, X, Y):
        """J of the batch before the step; None, with nothing done, if engine.checks must check X or Y."""
        cdef arrays_t held
        cdef examples_t data
        cdef Py_ssize_t m
        cdef turn_t *turn = NULL
        cdef bint fine = False
        cdef double J = 0
        data.order, data.w = NULL, self.w
        held.n = 0
        if not lend_is_array(<PyObject *>X) or not lend_is_array(<PyObject *>Y):
            return None
        try:
            fine = (
                take_rows(&held, X, &data.X, self.most, self.takes.inputs, True, self.format, self.dtype)
                and take_targets(&held, Y, &data, data.X.n, &self.takes, self.dtype)
                and (is_lent(&held.views[1]) or lie(&held, 0, X, &data.X, self.takes.inputs))
                and self.has_turn(&turn) and self.grow(data.X.n) and self.as_it_was() and self.finite()
            )
            m = data.X.n if fine else 0
            if fine and self.format == b"f":
                J = step_of_few(&self.p, <float *>self.theta.data, &data, m, <float *>self.work, self.B,
                                <float *>self.Delta, <double *>self.costs, &self.rule.own,
                                &self.rate if self.rate != 0 else NULL, &self.alone)
            elif fine:
                J = step_of_few(&self.p, <double *>self.theta.data, &data, m, <double *>self.work, self.B,
                                <double *>self.Delta, <double *>self.costs, &self.rule.own,
                                &self.rate if self.rate != 0 else NULL, &self.alone)
        finally:
            give_turn_short(turn)
            give_back(&held)
        return J if fine else self.complain()

    def apply(self, D, double m_b):
        """Take one step along D, with penalties and clipping as in every step of m_b examples; returns True. None, with
        nothing done, if engine.checks must check D first."""
        cdef arrays_t held
        cdef turn_t *turn = NULL
        cdef bint fine = False
        cdef const void *given
        held.n = 0
        try:
            fine = (
                take_theta(&held, D, &given, self.p.n, self.format) and self.has_turn(&turn)
                and self.as_it_was() and self.finite()
            )
            if fine and self.format == b"f":
                memcpy(self.Delta, given, self.p.n * sizeof(float))
                take_step(<float *>self.theta.data, <float *>self.Delta, &self.p, m_b, 1, &self.rule.own,
                          &self.rate if self.rate != 0 else NULL, &self.alone, 0)
            elif fine:
                memcpy(self.Delta, given, self.p.n * sizeof(double))
                take_step(<double *>self.theta.data, <double *>self.Delta, &self.p, m_b, 1, &self.rule.own,
                          &self.rate if self.rate != 0 else NULL, &self.alone, 0)
        finally:
            give_turn_short(turn)
            give_back(&held)
        return True if fine else self.complain()

    cdef bint finite(self) noexcept:
        """True if theta is finite"""
        cdef rows_t theta
        theta.data, theta.stride, theta.type = self.theta.data, 0, ROWS_F32 if self.format == b"f" else ROWS_F64
        return fastbp_first_nonfinite(&theta, 1, self.p.n, LARGEST) < 0
