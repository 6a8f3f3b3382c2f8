"""The steps of an epoch in one call: batches in the given order, Delta, D, the update rule.

The fused twin of what training.py does batch by batch with optimizers.SGD and optimizers.Adam in Python. Calls
return at a step boundary; cut into any number of calls an epoch gives the same bits.
"""

import fastbp._kernels  # no-cython-lint  (its capsule is bound below)

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetPointer
from cython cimport floating
from libc.float cimport DBL_MAX as LARGEST
from libc.math cimport pow
from libc.stdint cimport int64_t

from _backprop cimport SHARE, accumulate_block, read_plan, team_meet, team_share, team_t
from _kernels cimport (
    ROWS_F32, ROWS_F64, adam, bind_kernels, enter, examples_t, fastbp_first_nonfinite, lanes_of, leave, load_rows,
    online_sgd, plan_t, rows_t, seconds, sgd, sum_of_squares,
)

bind_kernels()

cdef enum:      # update rules; their settings are doubles, in this order
    SGD         # learning_rate, momentum, nesterov;             slots: v
    ADAM        # learning_rate, beta_1, beta_2, epsilon;        slots: m, v

rules = {"sgd": SGD, "adam": ADAM}


cdef inline void update(
    int rule, const double *settings, double t, Py_ssize_t rows, Py_ssize_t columns, double m_b, double c,
    const floating *Delta, floating *slot_1, floating *slot_2, floating *theta
) noexcept nogil:
    """D = Delta / m_b + c Theta, and one step, the t-th (from 1), of the rule;  all (rows, columns)"""
    if rule == SGD:
        sgd(rows, columns, m_b, c, settings[0], settings[1], settings[2] != 0, Delta, slot_1, theta)
    elif rule == ADAM:
        adam(rows, columns, m_b, c, settings[0] / (1 - pow(settings[1], t)), 1 / (1 - pow(settings[2], t)),
             settings[1], settings[2], settings[3], Delta, slot_1, slot_2, theta)


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


cdef inline void learn(
    const plan_t *p, double m_b, double c, int rule, const double *settings, double t, floating *Delta,
    floating *slot_1, floating *slot_2, floating *theta, double *squares, const team_t *team, int member
) noexcept nogil:
    """This member's rows of every Theta: D from Delta, and the step of the rule. With c the sums of Theta^2 go into
    squares, one for SHARE units of a layer, as they were before the step."""
    cdef Py_ssize_t l, i, j, u, at, columns, group = 0
    for l in range(1, p.L):
        columns = p.s[l - 1] + 1
        i, j = team_share(team, p.s[l], SHARE, member), team_share(team, p.s[l], SHARE, member + 1)
        if c != 0:
            u = i
            while u < j:
                squares[group + u // SHARE] = sum_of_squares(
                    min(SHARE, p.s[l] - u), columns, <const floating *>(theta + p.theta[l] + u * columns)
                )
                u += SHARE
        if i < j:
            at = p.theta[l] + i * columns
            update(rule, settings, t, j - i, columns, m_b, c, <const floating *>(Delta + at),
                   slot_1 + at if slot_1 != NULL else NULL, slot_2 + at if slot_2 != NULL else NULL, theta + at)
        group += (p.s[l] + SHARE - 1) // SHARE


def groups(const int64_t[:, ::1] plan):
    """How many sums of squares a step with decay leaves."""
    cdef plan_t p = read_plan(plan)
    cdef Py_ssize_t l, total = 0
    for l in range(1, p.L):
        total += (p.s[l] + SHARE - 1) // SHARE
    return total


def steps(
    const int64_t[:, ::1] plan, floating[::1] theta, examples, Py_ssize_t m, Py_ssize_t batch_size,
    Py_ssize_t first, Py_ssize_t last, double weight_decay, int rule, const double[::1] settings, Py_ssize_t t,
    floating[::1] slot_1, floating[::1] slot_2, floating[::1] Delta, floating[::1] work, Py_ssize_t B,
    double[::1] costs, double[::1] squares, double total, double weight, double budget, int64_t[::1] taken, team,
    int member,
):
    """The batches first .. last of an epoch over m examples; theta and the slots are updated in place.

    t steps were taken before this call; taken[0] is kept up to date, for a caller that is interrupted. Returns
    (total + the sum of m_b J_b, penalty included, over the batches done, weight + the sum of their m_b, the
    first batch not done, the steps done): at the latest after about `budget` seconds or when the team is asked
    to stop, then with theta as the last finished step left it. Every member of the team calls this with the
    same arguments and gets the same answer.
    """
    cdef plan_t p = read_plan(plan)
    cdef examples_t *data = <examples_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")
    cdef team_t *all = <team_t *>PyCapsule_GetPointer(team.capsule, "fastbp.team")
    cdef Py_ssize_t rows, at, end_at, batch = first, before = t, i, n_groups = squares.shape[0]
    cdef bint add
    cdef unsigned callers
    cdef double m_b, cost, sum_squares, end = seconds() + budget
    cdef floating *v_1 = &slot_1[0] if slot_1.shape[0] else NULL
    cdef floating *v_2 = &slot_2[0] if slot_2.shape[0] else NULL
    with nogil:
        callers = enter()
        while batch < last:
            at = batch * batch_size
            end_at = min(at + batch_size, m)
            m_b = batch_weight(data, at, end_at - at)
            if m_b == 0:        # nothing to learn from: no step
                batch += 1
                continue
            p.step, p.first = t, at
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
            if at < end_at or all.wanted == 2:  # leave inside a step: theta is still as the last one left it
                break
            t += 1
            learn(&p, m_b, weight_decay, rule, &settings[0], <double>t, &Delta[0], v_1, v_2, &theta[0], &squares[0],
                  <const team_t *>all, member)
            if member == 0:
                taken[0] = t
                all.stop = all.wanted or seconds() > end
            team_meet(all)
            sum_squares = 0
            if weight_decay != 0:
                for i in range(n_groups):
                    sum_squares += squares[i]
            total += cost + m_b * 0.5 * weight_decay * sum_squares
            weight += m_b
            batch += 1
            if all.stop:
                break
        leave(callers)
    return total, weight, batch, t - before


def step(
    const int64_t[:, ::1] plan, floating[::1] theta, double m_b, double weight_decay, int rule,
    const double[::1] settings, int64_t[::1] taken, floating[::1] slot_1, floating[::1] slot_2, floating[::1] Delta,
    double[::1] squares,
):
    """One more step of the rule, counted in taken[0]; Delta is summed already  ->  the sum of Theta_ij^2 before it."""
    cdef plan_t p = read_plan(plan)
    cdef team_t alone
    cdef double sum_squares = 0
    cdef Py_ssize_t i
    cdef unsigned callers
    alone.n = 1
    with nogil:
        callers = enter()
        learn(&p, m_b, weight_decay, rule, &settings[0], <double>(taken[0] + 1), &Delta[0],
              &slot_1[0] if slot_1.shape[0] else NULL, &slot_2[0] if slot_2.shape[0] else NULL, &theta[0], &squares[0],
              <const team_t *>&alone, 0)
        leave(callers)
        taken[0] += 1
    if weight_decay != 0:
        for i in range(squares.shape[0]):
            sum_squares += squares[i]
    return sum_squares


def packed_size(const int64_t[:, ::1] plan, floating[::1] theta):
    """Values that `online_steps` needs for the weights: each row, and the biases, in whole vectors."""
    cdef plan_t p = read_plan(plan)
    cdef Py_ssize_t l, VL = lanes_of(&theta[0]), total = 0
    for l in range(1, p.L):
        total += (p.s[l] + VL - 1) // VL * VL + p.s[l] * ((p.s[l - 1] + VL - 1) // VL * VL)
    return total


def online_steps(
    const int64_t[:, ::1] plan, floating[::1] theta, examples, Py_ssize_t first, Py_ssize_t last,
    double weight_decay, double learning_rate, floating[::1] work, Py_ssize_t B, floating[::1] packed,
    double total, double weight, double budget, Py_ssize_t stride, int64_t[::1] taken,
):
    """The same for batches of one example and plain SGD, by the fused sweeps of src/kernels/online.h: (total + the sum
    of w J, weight + the sum of w, the first example not done).

    work holds zeros at first; packed has room for the weights in whole vectors (`packed_size`). The clock is looked at
    every `stride` examples. taken[0] grows by the steps.
    """
    cdef plan_t p = read_plan(plan)
    cdef examples_t *data = <examples_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")
    cdef double end = seconds() + budget
    cdef Py_ssize_t done
    cdef unsigned callers
    with nogil:
        callers = enter()
        done = online_sgd(&p, &theta[0], data, first, last, learning_rate, weight_decay, &work[0], B, &packed[0], end,
                          stride, &total, &weight)
        leave(callers)
        taken[0] += done - first
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
    cdef void *slot_1
    cdef void *slot_2
    cdef double[::1] costs, squares
    cdef const double[::1] settings
    cdef int rule
    cdef Py_ssize_t B, n
    cdef double weight_decay, lowest, highest
    cdef bint rows_sum_to_1     # of dense targets: more to check than is checked here
    cdef bytes format
    cdef int64_t[::1] taken     # [0]: the steps so far

    def __cinit__(
        self, const int64_t[:, ::1] plan, theta, Delta, slots, work, Py_ssize_t B, double[::1] costs,
        double[::1] squares, double weight_decay, int rule, const double[::1] settings,
        int64_t[::1] taken, double lowest, double highest, bint rows_sum_to_1,
    ):
        self.plan, self.p, self.kept = plan, read_plan(plan), (theta, Delta, slots, work)
        self.theta, self.Delta, self.work = address(theta), address(Delta), address(work)
        self.slot_1 = address(slots[0]) if len(slots) > 0 else NULL
        self.slot_2 = address(slots[1]) if len(slots) > 1 else NULL
        self.costs, self.squares, self.settings = costs, squares, settings
        self.rule, self.B, self.weight_decay, self.taken = rule, B, weight_decay, taken
        self.lowest, self.highest, self.rows_sum_to_1 = lowest, highest, rows_sum_to_1
        self.format, self.n = theta.dtype.char.encode(), theta.size
        self.alone.n, self.alone.stop = 1, 0

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
                J = self.run(<float *>self.theta, <float *>self.Delta, <float *>self.work, <float *>self.slot_1,
                             <float *>self.slot_2, &data, m)
            else:
                J = self.run(<double *>self.theta, <double *>self.Delta, <double *>self.work, <double *>self.slot_1,
                             <double *>self.slot_2, &data, m)
        PyBuffer_Release(&y)
        PyBuffer_Release(&x)
        return J if fine else None

    cdef double run(
        self, floating *theta, floating *Delta, floating *work, floating *slot_1, floating *slot_2,
        const examples_t *data, Py_ssize_t m
    ) noexcept nogil:
        cdef double cost, sum_squares = 0
        cdef Py_ssize_t i
        cdef unsigned callers = enter()
        self.p.step, self.p.first = self.taken[0], 0
        cost = accumulate_block(&self.p, <const floating *>theta, data, 0, m, work, self.B, False, Delta,
                                &self.costs[0], &self.alone, 0)
        self.taken[0] += 1
        learn(&self.p, <double>m, self.weight_decay, self.rule, &self.settings[0], <double>self.taken[0], Delta, slot_1,
              slot_2, theta, &self.squares[0], <const team_t *>&self.alone, 0)
        if self.weight_decay != 0:
            for i in range(self.squares.shape[0]):
                sum_squares += self.squares[i]
        leave(callers)
        return cost / <double>m + 0.5 * self.weight_decay * sum_squares


cdef void *address(array) except NULL:
    """where the array's data begin"""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_STRIDED_RO)
    cdef void *data = view.buf
    PyBuffer_Release(&view)
    return data
