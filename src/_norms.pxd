"""|dcost/dtheta| of each example, from a and delta alone."""

from cython cimport floating
from libc.math cimport sqrt

from _backprop cimport cost_of, load_targets
from _few cimport few_t
from _kernels cimport enter, examples_t, f32, f64, lanes_of, leave, plan_t
from _outside cimport forward_block
from _rows cimport go_back

cdef extern from *:
    """
    #define FASTBP_LEAST 1e-280
    #define FASTBP_GREATEST 1e280
    """
    const double LEAST "FASTBP_LEAST"           # squares in between have all their digits
    const double GREATEST "FASTBP_GREATEST"

cdef enum:
    WIDEST = 64     # examples, at least those of a panel


cdef inline void squares(Py_ssize_t m, Py_ssize_t s, const floating *x, double *sums) noexcept nogil:
    """sums[e] := the sum over s units of x^2 of each example, as many as the panels hold; x in panels (s)"""
    if floating is float:
        f32().squares_of_units(m, s, x, sums)
    else:
        f64().squares_of_units(m, s, x, sums)


cdef inline void norms(const plan_t *p, Py_ssize_t m, floating *work, Py_ssize_t B, double *out) noexcept nogil:
    """out (m,) := sum_l |delta(l+1)|^2 (1 + |a(l)|^2)"""
    cdef double a[WIDEST]
    cdef double delta[WIDEST]
    cdef Py_ssize_t at = 0, here, l, e
    while at < m:
        here = min(2 * lanes_of(work), m - at)
        for e in range(here):
            out[at + e] = 0
        for l in range(1, p.L):
            squares(here, p.s[l - 1], <const floating *>(work + B * p.a[l - 1] + at * p.s[l - 1]), a)
            squares(here, p.s[l], <const floating *>(work + B * p.delta[l] + at * p.s[l]), delta)
            for e in range(here):
                out[at + e] += delta[e] * (1 + a[e])
        at += here


cdef inline bint norms_of_few(
    few_t *few, const floating *theta, const examples_t *data, Py_ssize_t m, double *room, floating *out
) noexcept nogil:
    """out (m,) := |dcost/dtheta| of each example, block by block  ->  False if a square leaves the range in which it
    has all its digits; squares of float32 never do. room: a value for each example of a block"""
    cdef Py_ssize_t e, i = 0, rows
    cdef bint fine = True
    cdef floating *work = <floating *>few.work
    cdef unsigned callers = enter()
    while i < m and fine:
        rows = min(few.B, m - i)
        forward_block(&few.p, theta, data, i, rows, work, few.B, True, &few.alone)
        load_targets(&few.p, data, i, rows, work, few.B, 0)
        cost_of(&few.p, data, i, rows, work, few.B, 0)
        go_back(&few.p, theta, rows, work, few.B, &few.alone)
        norms(&few.p, rows, work, few.B, room)
        for e in range(rows):
            if not room[e] < GREATEST or (floating is double and not LEAST < room[e]):
                fine = False
            out[i + e] = <floating>sqrt(room[e])
        i += rows
    leave(callers)
    return fine
