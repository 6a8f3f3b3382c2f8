"""The kernel that takes steps of one example each: fused sweeps of plain SGD."""

from cython cimport floating
from libc.stdint cimport int64_t

from _kernels cimport examples_t, f32, f64, plan_t


cdef inline Py_ssize_t online_sgd(
    const plan_t *p, floating *theta, const examples_t *data, Py_ssize_t first, Py_ssize_t last, double eta,
    const double *rates, const double *c, const double *divisors, floating *work, Py_ssize_t B, floating *packed,
    double end, Py_ssize_t stride, double *cost, double *weight, int64_t *taken
) noexcept nogil:
    """theta := theta - eta D after each of the examples first .. last  ->  the first example not done."""
    if floating is float:
        return f32().online_sgd(p, theta, data, first, last, eta, rates, c, divisors, work, B, packed, end, stride,
                                cost, weight, taken)
    else:
        return f64().online_sgd(p, theta, data, first, last, eta, rates, c, divisors, work, B, packed, end, stride,
                                cost, weight, taken)
