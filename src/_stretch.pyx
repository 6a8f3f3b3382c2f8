"""Consecutive epochs without Python in between: the order of the examples, the steps, J, the check that J and theta are
finite, cost and accuracy of the held-out examples, theta of the best epoch on them.

The bits are those of training/loop.py. It can be used if nothing between two epochs needs Python.
"""

import fastbp._kernels  # no-cython-lint  (its capsule is bound below)

from cpython.pycapsule cimport PyCapsule_GetPointer
from cython cimport final, floating
from libc.float cimport DBL_MAX as LARGEST
from libc.math cimport isfinite
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from _backprop cimport team_begin, team_t, team_want_stop
from _checked cimport (
    LARGEST_LAYER, MOST, READ, WRITE, arrays_t, begin, block, core_t, give_back, own_plan, own_room, room, some,
    take_work, values,
)
from _held_out cimport evaluate, held_out_t, keep_best
from _kernels cimport (
    ROWS_F32, ROWS_F64, bind_kernels, f32, f64, fastbp_first_nonfinite, rows_t, seconds,
)
from _memory cimport lend_ready
from _rule cimport check_rule, rule_t
from _shuffle cimport bitgen_t, shuffle
from _sources cimport check_labels, fit, ready, sources_t
from _steps cimport epoch_t, run_steps
from _turn cimport desk_leave, desk_t, desk_take, give_turn, take_turn

from numpy.random import BitGenerator

from fastbp._backprop import Examples
from fastbp._epoch import Rule

bind_kernels()
lend_ready()


cdef struct stretch_t:
    Py_ssize_t epoch            # finished
    Py_ssize_t last             # of this call
    bint begun                  # the order of the next epoch has been drawn
    bint diverged
    double spent                # seconds of the steps of the present epoch
    double end
    double *J
    double *seconds
    bitgen_t *random            # NULL: the order stays as it is
    int64_t *order
    const int64_t *rows         # NULL: 0 .. m - 1
    const double *rates         # NULL: the rule's own
    Py_ssize_t n_rates
    int64_t first_rate          # the step of rates[0]
    void *before                # theta at the start of the present epoch
    held_out_t *held            # NULL: nothing is held out


cdef inline bint next_order(stretch_t *c, Py_ssize_t m) noexcept nogil:
    """Draw the order of the next epoch."""
    cdef Py_ssize_t i
    for i in range(m):
        c.order[i] = i if c.rows == NULL else c.rows[i]
    shuffle(c.random, c.order, m)
    return True


cdef inline bint has_rates(const stretch_t *c, epoch_t *e, const rule_t *rule) noexcept nogil:
    """e.rates := those of the next steps; False if there are too few for the rest of this epoch."""
    cdef int64_t at = (<int64_t *>rule.taken.data)[0] - c.first_rate
    if c.rates == NULL:
        return True
    e.rates = c.rates + at
    return 0 <= at and at + (e.last - e.batch) <= c.n_rates


cdef inline bint is_finite(const floating *theta, Py_ssize_t n) noexcept nogil:
    cdef rows_t rows
    rows.data, rows.stride, rows.type = theta, 0, ROWS_F32 if floating is float else ROWS_F64
    return fastbp_first_nonfinite(&rows, 1, n, LARGEST) < 0


cdef void run_epochs(floating *theta, core_t *core, epoch_t *e, rule_t *rule, stretch_t *c) noexcept nogil:
    cdef Py_ssize_t size = core.p.n * <Py_ssize_t>sizeof(floating)
    cdef double J, now = seconds()
    while c.epoch < c.last:
        if not c.begun:
            memcpy(c.before, theta, size)
            if c.random != NULL:
                next_order(c, e.m)
            e.batch, e.total, e.weight, c.spent, c.begun = 0, 0, 0, 0, True
        if not has_rates(c, e, rule):
            return
        e.budget = c.end - seconds()
        run_steps(theta, core, e, rule)
        c.spent, now = c.spent + seconds() - now, seconds()
        if e.batch < e.last:
            return
        J = e.total / e.weight if e.weight != 0 else 0
        if not isfinite(J) or not is_finite(<const floating *>theta, core.p.n):
            memcpy(theta, c.before, size)
            c.diverged, c.J[c.epoch] = True, J
            return
        c.J[c.epoch], c.seconds[c.epoch] = J, c.spent
        if c.held != NULL:
            evaluate(<const floating *>theta, c.held, c.epoch)
            if c.held.best != NULL:
                keep_best(<const floating *>theta, c.held, c.epoch)
            now = seconds()
        c.epoch, c.begun = c.epoch + 1, False
        if e.team.wanted or now > c.end:
            return


@final
cdef class Stretch:
    """`epochs` epochs over m examples in batches; `run` works on them, call after call, until all are done."""

    cdef stretch_t own
    cdef epoch_t e
    cdef team_t alone
    cdef held_out_t held
    cdef object kept            # owns the memory of J and seconds
    cdef tuple watched          # the held-out examples, as passed to `watch`
    cdef object best            # theta of the best epoch, as passed to `keep`
    cdef desk_t desk            # of `run`
    cdef readonly Py_ssize_t epochs

    def __cinit__(self, Py_ssize_t m, Py_ssize_t batch_size, Py_ssize_t epochs):
        cdef void *J
        if not (1 <= m <= LARGEST_LAYER and 1 <= batch_size and 0 <= epochs < MOST // 16):
            raise ValueError(f"m, batch_size and epochs must be whole numbers above 0; got {m}, {batch_size}, {epochs}")
        self.epochs = epochs
        self.kept = own_room(4 * epochs * sizeof(double), &J)
        self.own.J, self.own.seconds = <double *>J, <double *>J + epochs
        self.held.J, self.held.right = self.own.seconds + epochs, self.own.seconds + 2 * epochs
        self.own.epoch, self.own.begun, self.own.diverged = 0, False, False
        self.held.best_epoch, self.held.by_accuracy = 0, False
        self.e.m, self.e.batch_size, self.e.last = m, batch_size, m // batch_size + (m % batch_size > 0)
        self.e.each, self.e.member, self.e.team = NULL, 0, &self.alone
        team_begin(&self.alone, 1)

    @property
    def epoch(self):
        """The number of finished epochs."""
        return self.own.epoch

    @property
    def diverged(self):
        """True if J or theta was not finite after an epoch. theta is restored to its values before that epoch."""
        return self.own.diverged

    def J(self, Py_ssize_t first=0):
        """J of the finished epochs from `first` on, and of the one that has diverged."""
        cdef Py_ssize_t i
        return [self.own.J[i] for i in range(max(first, 0), self.own.epoch + self.own.diverged)]

    def seconds(self, Py_ssize_t first=0):
        """Seconds of the finished epochs from `first` on."""
        cdef Py_ssize_t i
        return [self.own.seconds[i] for i in range(max(first, 0), self.own.epoch)]

    @property
    def watches(self):
        """True if it evaluates held-out examples."""
        return self.watched is not None

    def held_J(self, Py_ssize_t first=0):
        """The mean cost of the held-out examples after the finished epochs from `first` on."""
        cdef Py_ssize_t i
        return [self.held.J[i] for i in range(max(first, 0), self.own.epoch)]

    def held_accuracy(self, Py_ssize_t first=0):
        """The accuracy on the held-out examples after the finished epochs from `first` on."""
        cdef Py_ssize_t i
        return [self.held.right[i] for i in range(max(first, 0), self.own.epoch)]

    @property
    def best_epoch(self):
        """The number, from 1, of the epoch whose theta is kept; 0 for none."""
        return self.held.best_epoch

    def keep(self, best, bint by_accuracy):
        """Keep theta of the best epoch in best (n,): the one with the lowest mean cost of the held-out examples or, if
        by_accuracy, the highest accuracy; the latest of several. With by_accuracy held_J is NaN, which saves time."""
        if self.watched is None or (by_accuracy and self.watched[5] is None):
            raise ValueError("nothing is held out, or it has no answers")
        if self.own.epoch:
            raise ValueError(f"{self.own.epoch} epochs are done")
        self.best, self.held.by_accuracy = best, by_accuracy

    def watch(
        self, plan, examples, Py_ssize_t m, work, Py_ssize_t B, panels, h, answers, bint binary, double middle, w=None,
    ):
        """Evaluate these m examples after each epoch, in blocks of B. plan is that of the network, without masks. work
        and panels may be those of the steps. h (m, K) or more: room for outputs. answers: the classes (m,) int64; if
        binary, 0 or 1 (m K,), yes where an output is at least `middle`; None for no accuracy. w (m,): weights of the
        answers, those of the examples."""
        if type(examples) is not Examples:
            raise TypeError(f"examples must be fastbp._backprop.Examples; got {type(examples).__name__}")
        if m < 1:
            raise ValueError(f"m must be at least 1; got {m}")
        cdef double weight = m if w is None else float(w.sum())
        if not 0 < weight <= LARGEST:
            raise ValueError(f"w must have a positive finite sum; got {weight}")
        self.watched, self.best, self.held.weight = (plan, examples, work, panels, h, answers, w), None, weight
        self.held.m, self.held.few.B, self.held.binary, self.held.middle = m, B, binary, middle

    cdef object look(self, core_t *core, char format, Py_ssize_t n):
        """self.held := the held-out examples, taken again; returns the owner of the plan."""
        cdef held_out_t *held = &self.held
        cdef sources_t *sources
        plan, examples, work, into, h, answers, w = self.watched
        sources = <sources_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")
        own = own_plan(plan, &held.few.p)
        if held.few.p.n != n or held.few.p.drop != NULL:
            raise ValueError("plan of what is held out must be that of the network, without dropout")
        core.p, core.format, core.panel = held.few.p, format, f32().panel if format == b"f" else f64().panel
        K = held.few.p.s[held.few.p.L - 1]
        held.few.work = room(&core.held, work, "work", format, block(core, held.few.B))
        held.few.costs = <double *>room(&core.held, into, "costs", b"d", held.few.B // core.panel)
        ready(sources, 0, held.m)
        fit(sources, &held.few.p, True, format)
        check_labels(sources, held.m, K)
        held.data, held.answers, held.h, held.w, held.best = &sources.data, NULL, NULL, NULL, NULL
        team_begin(&held.few.alone, 1)
        if answers is not None:
            held.h = room(&core.held, h, "h", format, held.m * K)
            held.answers = <const int64_t *>values(
                &core.held, answers, "answers", b"q", held.m * (K if held.binary else 1), READ)
        if w is not None:
            held.w = <const double *>values(&core.held, w, "w", b"d", held.m, READ)
        if self.best is not None:
            held.best = values(&core.held, self.best, "best", format, n, WRITE)
        return own

    def want_stop(self):
        """Ask the thread that runs this to return after its present step, or inside a long one, which is then not
        taken."""
        team_want_stop(&self.alone)

    @property
    def stopping(self):
        """True if it has been asked to return."""
        return self.alone.wanted != 0

    def run(
        self, plan, theta, examples, rule, rates, int64_t first_rate, Delta, work, Py_ssize_t B, panels, before,
        divisors, order, rows, bit_generator, Py_ssize_t last, double budget,
    ):
        """Take the steps up to the end of epoch `last`, or for about `budget` seconds; returns the finished epochs.

        theta and the rule's state are up to date after each step. rates: learning rates from step `first_rate` on, at
        least those of one epoch, or empty for the rule's own. It returns at the end of an epoch if there are too few.
        before (n,): receives theta at the start of each epoch. divisors: as in `_epoch.steps`, for all batches of an
        epoch. bit_generator shuffles `rows` (m,), or 0 .. m - 1 if that is None, into `order` (m,), the order of the
        examples; None keeps their order. Each call must have the same arguments.
        """
        cdef core_t core, watched
        cdef arrays_t more
        cdef epoch_t *e = &self.e
        cdef stretch_t *c = &self.own
        cdef sources_t *sources
        cdef rule_t *own
        if type(examples) is not Examples:
            raise TypeError(f"examples must be fastbp._backprop.Examples; got {type(examples).__name__}")
        if type(rule) is not Rule:
            raise TypeError(f"rule must be fastbp._epoch.Rule; got {type(rule).__name__}")
        sources = <sources_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")
        own = <rule_t *>PyCapsule_GetPointer(rule.capsule, "fastbp.rule")
        core.held.n = watched.held.n = more.n = 0
        take_turn(own.turn)
        try:
            if not desk_take(&self.desk, &core):
                raise ValueError("the stretch is running in another thread")
            if c.diverged:
                raise ValueError("the stretch has diverged")
            if not c.epoch <= last <= self.epochs:
                raise ValueError(f"last is {last}; {c.epoch} of {self.epochs} epochs are done")
            c.last, c.end, c.first_rate = last, seconds() + budget, first_rate
            c.random = NULL
            if bit_generator is not None:
                self.shuffled(bit_generator, order, rows, sources, &more)
            begin(&core, plan, theta, "net.theta", WRITE)
            take_work(&core, work, B)
            ready(sources, 0, e.m)
            fit(sources, &core.p, True, core.format)
            check_labels(sources, e.m, core.p.s[core.p.L - 1])
            check_rule(own, &core.p, core.format)
            c.rates = e.rates = <const double *>some(&core.held, rates, "rates", b"d", e.last, READ)
            c.n_rates = 0 if c.rates == NULL else core.held.views[core.held.n - 1].shape[0]
            e.Delta = values(&core.held, Delta, "Delta", core.format, core.p.n, WRITE)
            e.costs = <double *>room(&core.held, panels, "costs", b"d", B // core.panel)
            c.before = values(&core.held, before, "before", core.format, core.p.n, WRITE)
            e.divisors = NULL
            if divisors is not None:
                e.divisors = <const double *>some(&core.held, divisors, "divisors", b"d", e.last, READ)
            e.data = &sources.data
            c.held = NULL
            if self.watched is not None:
                _own = self.look(&watched, core.format, core.p.n)   # owns the plan
                c.held = &self.held
            if bit_generator is None:
                self.go(&core, own)
            else:
                with bit_generator.lock:
                    self.go(&core, own)
        finally:
            desk_leave(&self.desk, &core)
            give_turn(own.turn)
            give_back(&core.held)
            give_back(&watched.held)
            give_back(&more)
        return c.epoch

    cdef int shuffled(self, bit_generator, order, rows, const sources_t *sources, arrays_t *more) except -1:
        """Take the arguments that determine the order of an epoch."""
        cdef stretch_t *c = &self.own
        if not isinstance(bit_generator, BitGenerator):     # a capsule may outlive any other object
            raise TypeError(f"bit_generator must be a numpy BitGenerator; got {type(bit_generator).__name__}")
        c.random = <bitgen_t *>PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")
        if c.random.next_uint32 == NULL:      # of a subclass in Python, without a generator
            raise ValueError(f"bit_generator draws no numbers; got {type(bit_generator).__name__}")
        c.order = <int64_t *>values(more, order, "order", b"q", self.e.m, WRITE)
        if sources.data.order != c.order:
            raise ValueError("order must be the one of the examples")
        c.rows = NULL
        if rows is not None:
            c.rows = <const int64_t *>values(more, rows, "rows", b"q", self.e.m, READ)
        return 0

    cdef int go(self, core_t *core, rule_t *rule) except -1:
        with nogil:
            if core.format == b"f":
                run_epochs(<float *>core.theta, core, &self.e, rule, &self.own)
            else:
                run_epochs(<double *>core.theta, core, &self.e, rule, &self.own)
        return 0
