"""The measures on held-out examples after each epoch: cost, accuracy, theta of the best epoch."""

from cython cimport floating
from libc.math cimport NAN
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from _few cimport costs, few_t, outputs
from _kernels cimport examples_t


cdef struct held_out_t:
    few_t few
    const examples_t *data
    Py_ssize_t m
    void *h                     # (m, K)
    const int64_t *answers      # (m,) classes, or (m, K) yes or no; NULL: no accuracy
    bint binary
    double middle               # boundary between no and yes
    const double *w             # (m,) weights of the accuracy; NULL: all are 1
    double weight               # their sum
    double *J
    double *right
    void *best                  # theta after the best epoch; NULL: none is kept
    bint by_accuracy            # the best epoch has the highest accuracy, otherwise the lowest cost
    Py_ssize_t best_epoch       # from 1; 0: none yet


cdef inline bint is_right(
    const floating *h, Py_ssize_t K, const int64_t *answer, bint binary, floating middle
) noexcept nogil:
    """Does the output h (K,) name the right class? By its first largest value or NaN, or by each value's yes or no."""
    cdef Py_ssize_t k, best = 0
    if binary:
        for k in range(K):
            if (h[k] >= middle) != answer[k]:
                return False
        return True
    for k in range(1, K):
        if h[best] != h[best]:
            break
        if h[k] > h[best] or h[k] != h[k]:
            best = k
    return best == answer[0]


cdef inline double accuracy(const floating *theta, const held_out_t *held, few_t *few) noexcept nogil:
    """The fraction of the held-out examples, by weight, in the right class."""
    cdef floating *h = <floating *>held.h
    cdef Py_ssize_t i, K = few.p.s[few.p.L - 1]
    cdef double right = 0
    outputs(few, theta, held.data, held.m, h)
    for i in range(held.m):
        if is_right(<const floating *>h + i * K, K, held.answers + (i * K if held.binary else i), held.binary,
                    <floating>held.middle):
            right += 1 if held.w == NULL else held.w[i]
    return right / held.weight


cdef inline void evaluate(const floating *theta, const held_out_t *held, Py_ssize_t epoch) noexcept nogil:
    """The cost and the accuracy of the held-out examples; only the accuracy if theta is kept by accuracy."""
    cdef few_t few = held.few
    cdef bint keeps = held.best != NULL
    held.J[epoch] = NAN
    if not (keeps and held.by_accuracy):
        held.J[epoch] = costs(&few, theta, held.data, held.m, <floating *>NULL) / held.weight
    if held.answers != NULL:
        held.right[epoch] = accuracy(theta, held, &few)


cdef inline void keep_best(const floating *theta, held_out_t *held, Py_ssize_t epoch) noexcept nogil:
    """Keep theta if no earlier epoch was better; NaN is never best."""
    cdef const double *values = held.right if held.by_accuracy else held.J
    cdef double now = values[epoch], best
    if held.best_epoch == 0:
        best = now
    else:
        best = values[held.best_epoch - 1]
    if now >= best if held.by_accuracy else now <= best:    # false for NaN
        memcpy(held.best, theta, held.few.p.n * sizeof(floating))
        held.best_epoch = epoch + 1
