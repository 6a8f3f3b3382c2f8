"""The sums over a few examples in one workspace, by the calling thread: J, D and h."""

from cython cimport floating
from libc.float cimport DBL_MAX
from libc.math cimport isfinite
from libc.string cimport memset

from _as_numpy cimport make_D, penalty_of
from _backprop cimport accumulate_block, forward, load, team_t
from _kernels cimport (
    ROWS_F32, ROWS_F64, enter, examples_t, fastbp_first_nonfinite, leave, output_of, plan_t, rows_t, to_rows,
)


cdef struct few_t:
    plan_t p
    team_t alone
    void *work          # workspace of a block of B examples
    Py_ssize_t B
    double *costs       # one for each panel of the block
    double *c           # one for each Theta
    double *room        # n values, for penalties


cdef inline double costs(
    few_t *few, const floating *theta, const examples_t *data, Py_ssize_t m, floating *Delta
) noexcept nogil:
    """Delta := the sum over m examples, unless Delta is NULL  ->  the sum of their costs"""
    cdef Py_ssize_t i = 0, rows
    cdef double cost = 0
    cdef unsigned callers = enter()
    if Delta != NULL:
        memset(Delta, 0, few.p.n * sizeof(floating))
    while i < m:
        rows = min(few.B, m - i)
        cost += accumulate_block(&few.p, theta, data, i, rows, <floating *>few.work, few.B, True, Delta, few.costs,
                                 &few.alone, 0)
        i += rows
    leave(callers)
    return cost


cdef inline void outputs(
    few_t *few, const floating *theta, const examples_t *data, Py_ssize_t m, floating *h
) noexcept nogil:
    """h (m, K) := h(x) of each example, block by block"""
    cdef const plan_t *p = &few.p
    cdef Py_ssize_t last = p.L - 1, K = p.s[last], B = few.B, i = 0, rows
    cdef floating *w = <floating *>few.work
    cdef unsigned callers = enter()
    while i < m:
        rows = min(B, m - i)
        load(p, data, i, rows, w, B, 0, w + B * p.a[0])
        forward(p, theta, rows, <const floating *>(w + B * p.a[0]), w, B, 0, 0, False, &few.alone)
        output_of(<int>p.g[last], rows, K, <const floating *>(w + B * p.z[last]), w + B * p.a[last])
        to_rows(rows, K, <const floating *>(w + B * p.a[last]), h + i * K, K)
        i += rows
    leave(callers)


cdef inline bint objective(
    few_t *few, const floating *theta, const examples_t *data, Py_ssize_t rows, double m, double l1, floating *D,
    double *J
) noexcept nogil:
    """J and, unless D is NULL, D, both divided by the weight m of the rows  ->  True if they are finite"""
    cdef rows_t row
    J[0] = costs(few, theta, data, rows, D) / m
    J[0] += penalty_of(&few.p, theta, few.c, l1, few.room)
    if D == NULL or not isfinite(J[0]):
        return isfinite(J[0])
    make_D(&few.p, theta, m, few.c, l1, D)
    row.data, row.stride, row.type = D, 0, ROWS_F32 if floating is float else ROWS_F64
    return fastbp_first_nonfinite(&row, 1, few.p.n, DBL_MAX) < 0
