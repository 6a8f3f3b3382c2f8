"""Penalties, D and classes, with the same bits as NumPy in fastbp/engine: regularisation.py, classes.py."""

from cython cimport floating
from libc.math cimport NAN, fabs, frexp

from _kernels cimport examples_t, plan_t, rows_t
from _taken cimport takes_t, value_at

cdef enum:
    BLOCK = 128     # values that are summed in 8 columns
    BUFFER = 8192   # values that NumPy converts at once


cdef inline double pairwise(const double *x, Py_ssize_t n) noexcept nogil:
    """The sum of x, in the order of numpy.sum"""
    cdef double r[8]
    cdef double total = 0
    cdef Py_ssize_t i, j, half
    if n > BLOCK:
        half = n // 2
        half -= half % 8
        return pairwise(x, half) + pairwise(x + half, n - half)
    i = 0
    if n >= 8:
        for j in range(8):
            r[j] = x[j]
        i = 8
        while i < n - n % 8:
            for j in range(8):
                r[j] += x[i + j]
            i += 8
        total = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]))
    while i < n:
        total += x[i]
        i += 1
    return total


cdef inline double penalty_of(
    const plan_t *p, const floating *theta, const double *c, double l1, double *room
) noexcept nogil:
    """sum_l (c_l/2) sum Theta(l)_ij^2 + l1 sum |Theta(l)_ij|, j >= 1; NaN if NumPy would sum in several buffers

    room has space for the values of the largest Theta.
    """
    cdef Py_ssize_t l, i, j, n, k
    cdef const floating *Theta
    cdef double x, total = 0
    for l in range(1, p.L):
        n, k, Theta = p.s[l], p.s[l - 1], theta + p.theta[l]
        if c[l - 1] != 0:
            for i in range(n):
                for j in range(k):
                    x = Theta[i * (k + 1) + j + 1]
                    room[i * k + j] = x * x
            total += 0.5 * c[l - 1] * pairwise(room, n * k)
        if l1 != 0:
            if floating is float and n * k > BUFFER:
                return NAN
            for i in range(n):
                for j in range(k):
                    room[i * k + j] = fabs(Theta[i * (k + 1) + j + 1])
            total += l1 * pairwise(room, n * k)
    return total


cdef inline void make_D(
    const plan_t *p, const floating *theta, double m, const double *c, double l1, floating *Delta
) noexcept nogil:
    """D = Delta / m + c_l Theta + l1 sign(Theta) (j >= 1);  D = Delta / m (j = 0), written into Delta"""
    cdef Py_ssize_t l, i, j, n, k
    cdef const floating *Theta
    cdef floating *D
    cdef floating weight = <floating>m, inverse = 1 / weight, own, sign = <floating>l1
    cdef int power
    if frexp(<double>weight, &power) == 0.5 and -100 < power < 100:     # a power of two: the same bits, sooner
        for i in range(p.n):
            Delta[i] *= inverse
    else:
        for i in range(p.n):
            Delta[i] /= weight
    for l in range(1, p.L):
        n, k = p.s[l], p.s[l - 1] + 1
        own = <floating>c[l - 1]
        for i in range(n):
            Theta, D = theta + p.theta[l] + i * k, Delta + p.theta[l] + i * k
            if c[l - 1] != 0:
                for j in range(1, k):
                    D[j] += own * Theta[j]
            if l1 != 0:
                for j in range(1, k):
                    D[j] += sign * <floating>((Theta[j] > 0) - (Theta[j] < 0))


cdef inline Py_ssize_t highest(const floating *h, Py_ssize_t K) noexcept nogil:
    """The index of the largest value, the first if there are several"""
    cdef Py_ssize_t j, best = 0
    for j in range(1, K):
        if h[j] > h[best]:
            best = j
    return best


cdef inline Py_ssize_t highest_of(const rows_t *Y, Py_ssize_t i, Py_ssize_t K) noexcept nogil:
    cdef Py_ssize_t j, best = 0
    for j in range(1, K):
        if value_at(Y, i, j) > value_at(Y, i, best):
            best = j
    return best


cdef inline bint one_hot(const rows_t *Y, const takes_t *takes) noexcept nogil:
    """True if K > 1 and each row has exactly one high value"""
    cdef Py_ssize_t i, j, found
    for i in range(Y.n):
        found = 0
        for j in range(takes.K):
            found += value_at(Y, i, j) == takes.highest
        if found != 1:
            return False
    return takes.K > 1


cdef inline bint names_classes(const rows_t *Y, const takes_t *takes) noexcept nogil:
    """True if each target is low or high"""
    cdef Py_ssize_t i, j
    cdef double y
    if takes.highest - takes.highest != 0:      # infinite
        return False
    for i in range(Y.n):
        for j in range(takes.K):
            y = value_at(Y, i, j)
            if y != takes.lowest and y != takes.highest:
                return False
    return True


cdef inline Py_ssize_t right(
    const examples_t *data, Py_ssize_t m, const takes_t *takes, bint softmax, const floating *h
) noexcept nogil:
    """The number of outputs h (m, K) that name the right class; -1 if Y names no classes"""
    cdef Py_ssize_t i, j, K = takes.K, total = 0
    cdef double middle = (takes.lowest + takes.highest) / 2
    cdef bint all_same, by_largest
    if data.labels != NULL:
        for i in range(m):
            total += highest(h + i * K, K) == data.labels[i]
        return total
    if not softmax and not names_classes(&data.Y, takes):
        return -1
    by_largest = softmax or one_hot(&data.Y, takes)
    for i in range(m):
        if by_largest:
            total += highest(h + i * K, K) == highest_of(&data.Y, i, K)
            continue
        all_same = True
        for j in range(K):
            all_same &= (h[i * K + j] >= middle) == (value_at(&data.Y, i, j) >= middle)
        total += all_same
    return total
