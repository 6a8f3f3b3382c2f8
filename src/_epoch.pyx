"""The steps of an epoch in one call: batches in the given order, Delta, D, the update rule.

The fused twin of what training.py does batch by batch with optimizers.SGD and optimizers.Adam in Python.
"""

import fastbp._kernels  # noqa: F401  (its capsule is bound below)

from cpython.pycapsule cimport PyCapsule_GetPointer
from cython cimport floating
from libc.math cimport pow
from libc.stdint cimport int64_t

from _backprop cimport accumulate_block, examples_t, plan_t, read_plan, seconds
from _kernels cimport adam, bind_kernels, decay, load_weights, sgd, sum_of_squares

bind_kernels()

cdef enum:      # update rules; their settings are doubles, in this order
    SGD         # learning_rate, momentum, nesterov;             slots: v
    ADAM        # learning_rate, beta_1, beta_2, epsilon;        slots: m, v

rules = {"sgd": SGD, "adam": ADAM}


cdef inline void update(
    int rule, const double *settings, double t, Py_ssize_t n, const floating *D,
    floating *slot_1, floating *slot_2, floating *theta
) noexcept nogil:
    """one step, the t-th (from 1), of the rule on n parameters"""
    if rule == SGD:
        sgd(n, settings[0], settings[1], settings[2] != 0, D, slot_1, theta)
    elif rule == ADAM:
        adam(n, settings[0] / (1 - pow(settings[1], t)), 1 / (1 - pow(settings[2], t)),
             settings[1], settings[2], settings[3], D, slot_1, slot_2, theta)


cdef inline double batch_weight(
    const plan_t *p, const examples_t *data, Py_ssize_t first, Py_ssize_t m, floating *work, Py_ssize_t B
) noexcept nogil:
    """m of this batch: its number of examples, or the sum of their weights"""
    cdef floating *w = work + B * p.w
    cdef double total = 0
    cdef Py_ssize_t i = 0, rows, j
    if data.w.data == NULL:
        return <double>m
    while i < m:
        rows = min(B, m - i)
        load_weights(&data.w, data.order, first + i, rows, w)
        for j in range(rows):
            total += <double>w[j]
        i += rows
    return total


def steps(
    const int64_t[:, ::1] plan, floating[::1] theta, examples, Py_ssize_t m, Py_ssize_t batch_size,
    Py_ssize_t first, Py_ssize_t last, double weight_decay, int rule, const double[::1] settings, Py_ssize_t t,
    floating[::1] slot_1, floating[::1] slot_2, floating[::1] Delta, floating[::1] work, Py_ssize_t B, double budget,
):
    """The batches first .. last of an epoch over m examples; theta and the slots are updated in place.

    t steps were taken before this call. Returns (the sum of m_b J_b, penalty included, over the batches done,
    the sum of their m_b, the first batch not done): at a step boundary, at the latest after about `budget` seconds.
    """
    cdef plan_t p = read_plan(plan)
    cdef examples_t *data = <examples_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")
    cdef Py_ssize_t l, i, rows, at, end_at, n = theta.shape[0], batch = first
    cdef bint add
    cdef double m_b, cost, squares, total = 0, weight = 0, end = seconds() + budget
    cdef floating *v_1 = &slot_1[0] if slot_1.shape[0] else NULL
    cdef floating *v_2 = &slot_2[0] if slot_2.shape[0] else NULL
    with nogil:
        while batch < last:
            at = batch * batch_size
            end_at = min(at + batch_size, m)
            m_b = batch_weight(&p, data, at, end_at - at, &work[0], B)
            batch += 1
            if m_b == 0:        # nothing to learn from: no step
                continue
            cost, add = 0, False
            while at < end_at:
                rows = min(B, end_at - at)
                cost += accumulate_block(&p, &theta[0], data, at, rows, &work[0], B, add, &Delta[0])
                at += rows
                add = True
            squares = 0
            for l in range(1, p.L):
                i = p.theta[l]
                if weight_decay != 0:
                    squares += sum_of_squares(p.s[l], p.s[l - 1] + 1, <const floating *>(&theta[i]))
                decay(p.s[l], p.s[l - 1] + 1, m_b, weight_decay,
                      <const floating *>(&theta[i]), <const floating *>(&Delta[i]), &Delta[i])
            total += cost + m_b * 0.5 * weight_decay * squares
            weight += m_b
            t += 1
            update(rule, &settings[0], <double>t, n, <const floating *>(&Delta[0]), v_1, v_2, &theta[0])
            if seconds() > end:
                break
    return total, weight, batch, t
