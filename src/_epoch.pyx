"""The steps of an epoch in one call: batches in the given order, Delta, D, the update rule.

The fused twin of what training.py does batch by batch with optimizers.SGD and optimizers.Adam in Python. Calls
return at a step boundary; cut into any number of calls an epoch gives the same bits.
"""

import fastbp._kernels  # no-cython-lint  (its capsule is bound below)

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetPointer
from cython cimport final, floating
from libc.float cimport DBL_MAX as LARGEST
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint64_t

from _backprop cimport accumulate_block, read_plan, team_begin, team_meet, team_t
from _kernels cimport (
    ROWS_F32, ROWS_F64, SCALARS, bind_kernels, enter, examples_t, fastbp_first_nonfinite, lanes_of, leave, load_rows,
    online_sgd, plan_t, rows_t, seconds, step_t,
)
from _update cimport groups_of, learn, next_step, sum_of, told_t

bind_kernels()


@final
cdef class Rule:
    """What steps are told of the optimizer and of what is done to D, and where they keep what they need again.

    rule, settings : the code of the rule in names.h and its settings, the learning rate first
    regularisation : Regularisation.code
    slots : up to three arrays like theta
    scalars : (SCALARS,), or empty where the rule has none
    taken : [0], the steps so far
    sums : (2 groups,), room for a penalty and a sum of squares of each group of units
    """

    cdef told_t told
    cdef const double[::1] settings, regularisation
    cdef double[::1] scalars, sums
    cdef int64_t[::1] taken
    cdef object kept            # the slots

    def __cinit__(
        self, const int64_t[:, ::1] plan, int rule, const double[::1] settings, const double[::1] regularisation,
        slots, double[::1] scalars, int64_t[::1] taken, double[::1] sums,
    ):
        cdef plan_t p = read_plan(plan)
        cdef Py_ssize_t i
        if scalars.shape[0] > SCALARS or len(slots) > 3:
            raise ValueError(f"room is for {SCALARS} scalars and 3 slots; got {scalars.shape[0]} and {len(slots)}")
        self.settings, self.regularisation, self.scalars, self.sums = settings, regularisation, scalars, sums
        self.taken, self.kept = taken, tuple(slots)
        self.told.rule = rule
        self.told.slot_1 = address(slots[0]) if len(slots) > 0 else NULL
        self.told.slot_2 = address(slots[1]) if len(slots) > 1 else NULL
        self.told.slot_3 = address(slots[2]) if len(slots) > 2 else NULL
        self.told.l1, self.told.batch_lam = regularisation[0], regularisation[1]
        self.told.clip_value, self.told.clip_norm = regularisation[2], regularisation[3]
        self.told.c, self.told.groups = &regularisation[4], groups_of(&p)
        self.told.penalties, self.told.squares = &sums[0], &sums[self.told.groups]
        self.told.fused = self.told.l1 == 0 and self.told.clip_value == self.told.clip_norm == INFINITY
        self.told.penalised = self.told.l1 != 0 or self.told.batch_lam != 0
        for i in range(p.L - 1):
            self.told.penalised |= self.told.c[i] != 0

    cdef inline void last_step(self, step_t *step) noexcept nogil:
        """what the next one begins from: t, scalars"""
        cdef Py_ssize_t i
        step.rule, step.settings, step.t = self.told.rule, &self.settings[0], <double>self.taken[0]
        for i in range(self.scalars.shape[0]):
            step.scalars[i] = self.scalars[i]

    cdef inline void finish(self, const step_t *step) noexcept nogil:
        """the step is taken: count it, keep its scalars"""
        cdef Py_ssize_t i
        self.taken[0] += 1
        for i in range(self.scalars.shape[0]):
            self.scalars[i] = step.scalars[i]

    cdef inline double penalty(self) noexcept nogil:
        """of the last step, before it"""
        return sum_of(self.told.groups, self.told.penalties) if self.told.penalised else 0


def groups(const int64_t[:, ::1] plan):
    """Into how many groups of units the sums of a step are cut, so that members may share them."""
    cdef plan_t p = read_plan(plan)
    return groups_of(&p)


cdef inline double batch_weight(const examples_t *data, Py_ssize_t first, Py_ssize_t m) noexcept nogil:
    """m of this batch: its number of examples, or the sum of their weights"""
    cdef double w = 0, total = 0
    cdef Py_ssize_t i
    if data.w.data == NULL:
        return <double>m
    for i in range(first, first + m):
        load_rows(&data.w, data.order, i, 1, 1, &w)
        total += w
    return total


def steps(
    const int64_t[:, ::1] plan, floating[::1] theta, examples, Py_ssize_t m, Py_ssize_t batch_size,
    Py_ssize_t first, Py_ssize_t last, Rule rule, const double[::1] rates, floating[::1] Delta, floating[::1] work,
    Py_ssize_t B, double[::1] costs, double[:, ::1] each, double total, double weight, double budget, team, int member,
):
    """The batches first .. last of an epoch over m examples; theta and what the rule keeps are updated in place.

    rates: learning rates of the steps from here on, or empty for the rule's own. each (batches, 2), or empty: receives
    the mean cost of each batch and its penalty, where it has a step. The step count and what else a rule
    keeps are up to date after each step, for a caller that is interrupted. Returns (total + the sum of m_b J_b,
    penalty included, over the batches done, weight + the sum of their m_b, the first batch not done, the steps done):
    at the latest after about `budget` seconds or when the team is asked to stop, then with theta as the last finished
    step left it. Every member of the team calls this with the same arguments and gets the same answer.
    """
    cdef plan_t p = read_plan(plan)
    cdef examples_t *data = <examples_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")
    cdef team_t *all = <team_t *>PyCapsule_GetPointer(team.capsule, "fastbp.team")
    cdef step_t step                        # each member counts for itself: member 0 alone writes
    cdef const double *rate = &rates[0] if rates.shape[0] else NULL
    cdef Py_ssize_t rows, at, end_at, batch = first, done = 0
    cdef bint add
    cdef unsigned callers
    cdef double m_b, cost, penalty, end = seconds() + budget
    with nogil:
        callers = enter()
        rule.last_step(&step)
        while batch < last:
            at = batch * batch_size
            end_at = min(at + batch_size, m)
            m_b = batch_weight(data, at, end_at - at)
            if m_b == 0:        # nothing to learn from: no step
                batch += 1
                continue
            p.step, p.first = <uint64_t>step.t, at
            cost, add = 0, False
            while at < end_at:
                rows = min(B, end_at - at)
                cost += accumulate_block(
                    &p, &theta[0], data, at, rows, &work[0], B, add, &Delta[0], &costs[0], all, member
                )
                at += rows
                add = True
                if all.wanted == 2:
                    break
                if at < end_at:
                    if member == 0:
                        all.stop = all.wanted
                    team_meet(all)
                    if all.stop:
                        break
            if p.panels > 1:    # may have been left undone: all must know before one moves theta
                team_meet(all)
                if all.cut:
                    break
            if at < end_at or all.wanted == 2:  # leave inside a step: theta is still as the last one left it
                break
            next_step(&step, rate, done, &theta[0])
            if not learn(&p, &rule.told, &step, m_b, &Delta[0], &theta[0], all, member):
                break
            if member == 0:
                rule.finish(&step)
                all.stop = all.wanted or seconds() > end
            team_meet(all)
            penalty = rule.penalty()
            if each.shape[0] and member == 0:
                each[batch, 0] = cost / m_b
                each[batch, 1] = penalty
            total += cost + m_b * penalty
            weight += m_b
            batch += 1
            done += 1
            if all.stop:
                break
        leave(callers)
    return total, weight, batch, done


def step(
    const int64_t[:, ::1] plan, floating[::1] theta, double m_b, Rule rule, const double[::1] rates,
    floating[::1] Delta,
):
    """One more step of the rule; Delta is summed already, and used up  ->  the penalty before it."""
    cdef plan_t p = read_plan(plan)
    cdef team_t alone
    cdef step_t now
    cdef unsigned callers
    team_begin(&alone, 1)
    with nogil:
        callers = enter()
        rule.last_step(&now)
        next_step(&now, &rates[0] if rates.shape[0] else NULL, 0, &theta[0])
        learn(&p, &rule.told, &now, m_b, &Delta[0], &theta[0], &alone, 0)
        leave(callers)
        rule.finish(&now)
    return rule.penalty()


def packed_size(const int64_t[:, ::1] plan, floating[::1] theta):
    """Values that `online_steps` needs for the weights: each row, and the biases, in whole vectors."""
    cdef plan_t p = read_plan(plan)
    cdef Py_ssize_t l, VL = lanes_of(&theta[0]), total = 0
    for l in range(1, p.L):
        total += (p.s[l] + VL - 1) // VL * VL + p.s[l] * ((p.s[l - 1] + VL - 1) // VL * VL)
    return total


def online_steps(
    const int64_t[:, ::1] plan, floating[::1] theta, examples, Py_ssize_t first, Py_ssize_t last, Rule rule,
    const double[::1] rates, floating[::1] work, Py_ssize_t B, floating[::1] packed, double total, double weight,
    double budget, Py_ssize_t stride,
):
    """The same for batches of one example and plain SGD with decay alone, by the fused sweeps of src/kernels/online.h:
    (total + the sum of w J, weight + the sum of w, the first example not done).

    work holds zeros at first; packed has room for the weights in whole vectors (`packed_size`). The clock is looked at
    every `stride` examples.
    """
    cdef plan_t p = read_plan(plan)
    cdef examples_t *data = <examples_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")
    cdef double end = seconds() + budget
    cdef Py_ssize_t done
    cdef unsigned callers
    with nogil:
        callers = enter()
        done = online_sgd(&p, &theta[0], data, first, last, rule.settings[0], &rates[0] if rates.shape[0] else NULL,
                          rule.told.c, &work[0], B, &packed[0], end, stride, &total, &weight, &rule.taken[0])
        leave(callers)
    return total, weight, done


cdef class Stepper:
    """One training step with everything at hand: for callers to whom a microsecond counts.

    Holds the GIL, and with it its buffers. Takes only what needs no conversion: X (m, s_1) and targets (m, K), or (m,)
    for K = 1, contiguous in the network's dtype, or int64 labels (m,); at most B examples; and a finite theta.
    """

    cdef const int64_t[:, ::1] plan
    cdef plan_t p
    cdef team_t alone
    cdef object kept            # what the pointers point into
    cdef void *theta
    cdef void *Delta
    cdef void *work
    cdef Rule rule
    cdef public double rate     # the learning rate of the next step; 0: the rule's own
    cdef double[::1] costs
    cdef Py_ssize_t B, n
    cdef double lowest, highest
    cdef bint rows_sum_to_1     # of dense targets: more to check than is checked here
    cdef bytes format

    def __cinit__(
        self, const int64_t[:, ::1] plan, theta, Delta, work, Py_ssize_t B, double[::1] costs, Rule rule,
        double lowest, double highest, bint rows_sum_to_1,
    ):
        self.plan, self.p, self.kept = plan, read_plan(plan), (theta, Delta, work)
        self.theta, self.Delta, self.work = address(theta), address(Delta), address(work)
        self.costs, self.rule, self.B = costs, rule, B
        self.lowest, self.highest, self.rows_sum_to_1 = lowest, highest, rows_sum_to_1
        self.format, self.n = theta.dtype.char.encode(), theta.size
        team_begin(&self.alone, 1)

    cdef bint targets(self, Py_buffer *Y, examples_t *data, Py_ssize_t m, int own) noexcept:
        """data.Y or data.labels := Y, if it can be taken as it is"""
        cdef Py_ssize_t K = self.p.s[self.p.L - 1], i
        cdef const int64_t *labels = <const int64_t *>Y.buf
        cdef double y
        data.labels, data.Y.data = NULL, NULL
        if Y.ndim < 1 or Y.ndim > 2 or Y.shape[0] != m:
            return False
        if Y.ndim == 1 and K > 1:
            if Y.itemsize != 8 or (Y.format[0] != b"l" and Y.format[0] != b"q") or Y.format[1] != 0 or (
                Y.strides[0] != 8 and m > 1
            ) or self.highest != 1:
                return False
            for i in range(m):
                if labels[i] < 0 or labels[i] >= K:
                    return False
            data.labels = labels
            return True
        if Y.format[0] != (<const char *>self.format)[0] or Y.format[1] != 0 or Y.len != m * K * Y.itemsize or (
            Y.ndim == 2 and (Y.shape[1] != K or (K > 1 and Y.strides[1] != Y.itemsize))
        ) or (m > 1 and Y.strides[0] != K * Y.itemsize) or self.rows_sum_to_1:
            return False
        data.Y.data, data.Y.stride, data.Y.type = Y.buf, K * Y.itemsize, own
        if fastbp_first_nonfinite(&data.Y, m, K, LARGEST) >= 0:
            return False
        for i in range(m * K):
            y = (<const float *>Y.buf)[i] if own == ROWS_F32 else (<const double *>Y.buf)[i]
            if y < self.lowest or y > self.highest:
                return False
        return True

    def step(self, X, Y):
        """J of the batch before the step; None, with nothing done, where X or Y cannot be taken as they are."""
        cdef Py_buffer x, y
        cdef examples_t data
        cdef Py_ssize_t m
        cdef int own = ROWS_F32 if self.format == b"f" else ROWS_F64
        cdef bint fine
        cdef double J = 0
        cdef rows_t theta
        theta.data, theta.stride, theta.type = self.theta, 0, own
        try:
            PyObject_GetBuffer(X, &x, PyBUF_FORMAT | PyBUF_STRIDED_RO)
        except (BufferError, ValueError):       # a dtype that is no buffer: fastbp.checks tells
            return None
        try:
            PyObject_GetBuffer(Y, &y, PyBUF_FORMAT | PyBUF_STRIDED_RO)
        except (BufferError, ValueError):
            PyBuffer_Release(&x)
            return None
        m = x.shape[0] if x.ndim == 2 else 0
        data.order, data.w.data = NULL, NULL
        data.X.data, data.X.type = x.buf, own
        data.X.stride = x.strides[0] if x.ndim == 2 else 0
        fine = (
            0 < m <= self.B and x.shape[1] == self.p.s[0] and x.format[0] == (<const char *>self.format)[0]
            and x.format[1] == 0 and (x.strides[1] == x.itemsize or x.shape[1] == 1)
            and <size_t>x.buf % <size_t>x.itemsize == 0 and <size_t>y.buf % <size_t>max(y.itemsize, 1) == 0
            and self.targets(&y, &data, m, own)
            and fastbp_first_nonfinite(&data.X, m, self.p.s[0], LARGEST) < 0
            and fastbp_first_nonfinite(&theta, 1, self.n, LARGEST) < 0
        )
        if fine:
            if own == ROWS_F32:
                J = self.run(<float *>self.theta, <float *>self.Delta, <float *>self.work, &data, m)
            else:
                J = self.run(<double *>self.theta, <double *>self.Delta, <double *>self.work, &data, m)
        PyBuffer_Release(&y)
        PyBuffer_Release(&x)
        return J if fine else None

    cdef double run(
        self, floating *theta, floating *Delta, floating *work, const examples_t *data, Py_ssize_t m
    ) noexcept nogil:
        cdef double cost
        cdef step_t now
        cdef unsigned callers = enter()
        self.rule.last_step(&now)
        self.p.step, self.p.first = <uint64_t>now.t, 0
        cost = accumulate_block(&self.p, <const floating *>theta, data, 0, m, work, self.B, False, Delta,
                                &self.costs[0], &self.alone, 0)
        next_step(&now, &self.rate if self.rate != 0 else NULL, 0, theta)
        learn(&self.p, &self.rule.told, &now, <double>m, Delta, theta, &self.alone, 0)
        leave(callers)
        self.rule.finish(&now)
        return cost / <double>m + self.rule.penalty()


cdef void *address(array) except NULL:
    """where the array's data begin"""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_STRIDED_RO)
    cdef void *data = view.buf
    PyBuffer_Release(&view)
    return data
