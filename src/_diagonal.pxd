"""A diagonal layer in front of the first: Theta(1) = [b, W diag(s)], s (s_1,).

The network only has Theta(1). A step turns its D into dJ/dW and dJ/ds, moves W, b and s by the rule, and writes the new
Theta(1).
"""

from cython cimport floating

from _kernels cimport f32, f64, sum_of_squares


cdef struct diagonal_t:
    void *W                 # (s_2, s_1 + 1), the biases in column 0; NULL without such a layer
    void *s                 # (s_1,)
    void *slopes            # (parts, s_1): dJ/ds of each group of units
    double *total           # (s_1,)
    void *D_s               # (s_1,)
    Py_ssize_t parts
    double factor           # factor of the learning rate of s


cdef inline void unfold(
    Py_ssize_t rows, Py_ssize_t columns, double scale, double c, double clip, const floating *Theta, const floating *W,
    const floating *s, floating *Delta, floating *slopes
) noexcept nogil:
    """With D = scale Delta + c Theta:  slopes_j := sum_i D[i,j] W[i,j];  Delta := D diag(s), clipped to [-clip, clip].
    """
    if floating is float:
        f32().unfold(rows, columns, scale, c, clip, Theta, W, s, Delta, slopes)
    else:
        f64().unfold(rows, columns, scale, c, clip, Theta, W, s, Delta, slopes)


cdef inline void fold(
    Py_ssize_t rows, Py_ssize_t columns, const floating *W, const floating *s, floating *Theta
) noexcept nogil:
    """Theta := [b, W diag(s)]."""
    if floating is float:
        f32().fold(rows, columns, W, s, Theta)
    else:
        f64().fold(rows, columns, W, s, Theta)


cdef inline double slopes_of_s(const diagonal_t *own, Py_ssize_t n, double clip, floating *D_s) noexcept nogil:
    """D_s := the sum of the slopes of all parts, clipped to [-clip, clip]  ->  the sum of its squares."""
    cdef Py_ssize_t _part, j
    cdef double *total = own.total
    cdef const floating *slopes = <const floating *>own.slopes
    for j in range(n):
        total[j] = slopes[j]
    for _part in range(1, own.parts):
        slopes += n
        for j in range(n):
            total[j] += slopes[j]
    for j in range(n):
        D_s[j] = <floating>(clip if total[j] > clip else -clip if total[j] < -clip else total[j])
    return sum_of_squares(n, <const floating *>D_s)
