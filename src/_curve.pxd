"""The C kernels of second derivatives (kernels/curvature.h), of the chosen instruction set: each docstring is the
formula. Arrays are panels.
"""

from cython cimport floating


cdef extern from "kernels.h":
    ctypedef struct curvature_f32:
        void (*activate_twice)(int, Py_ssize_t, const float *, float *, float *, float *) noexcept nogil
        void (*backward_twice)(Py_ssize_t, const float *, float *, float *) noexcept nogil
        void (*times)(Py_ssize_t, const float *, const float *, float *) noexcept nogil
        void (*bend)(Py_ssize_t, const float *, const float *, const float *, float *) noexcept nogil
        void (*product_onto)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t,
                             Py_ssize_t, const float *, float *) noexcept nogil
        void (*keep_curve)(int, int, double, int, Py_ssize_t, Py_ssize_t, const float *, const float *, const float *,
                           float *, float *, float *) noexcept nogil
        void (*curve)(int, int, int, Py_ssize_t, Py_ssize_t, const float *, const float *, const float *,
                      const float *, float *) noexcept nogil

    ctypedef struct curvature_f64:
        void (*activate_twice)(int, Py_ssize_t, const double *, double *, double *, double *) noexcept nogil
        void (*backward_twice)(Py_ssize_t, const double *, double *, double *) noexcept nogil
        void (*times)(Py_ssize_t, const double *, const double *, double *) noexcept nogil
        void (*bend)(Py_ssize_t, const double *, const double *, const double *, double *) noexcept nogil
        void (*product_onto)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t,
                             Py_ssize_t, const double *, double *) noexcept nogil
        void (*keep_curve)(int, int, double, int, Py_ssize_t, Py_ssize_t, const double *, const double *,
                           const double *, double *, double *, double *) noexcept nogil
        void (*curve)(int, int, int, Py_ssize_t, Py_ssize_t, const double *, const double *, const double *,
                      const double *, double *) noexcept nogil

    const curvature_f32 *c32 "fastbp_c32"() noexcept nogil
    const curvature_f64 *c64 "fastbp_c64"() noexcept nogil


cdef inline void activate_twice(
    int g, Py_ssize_t n, const floating *z, floating *a, floating *slope, floating *second
) noexcept nogil:
    """a := g(z), slope := g'(z), second := g''(z); a may be z."""
    if floating is float:
        c32().activate_twice(g, n, z, a, slope, second)
    else:
        c64().activate_twice(g, n, z, a, slope, second)


cdef inline void backward_twice(
    Py_ssize_t n, const floating *slope, floating *second, floating *delta
) noexcept nogil:
    """second := u .* second, delta := u .* slope, with u = delta."""
    if floating is float:
        c32().backward_twice(n, slope, second, delta)
    else:
        c64().backward_twice(n, slope, second, delta)


cdef inline void times(Py_ssize_t n, const floating *slope, const floating *x, floating *out) noexcept nogil:
    """out := slope .* x; out may be x."""
    if floating is float:
        c32().times(n, slope, x, out)
    else:
        c64().times(n, slope, x, out)


cdef inline void bend(
    Py_ssize_t n, const floating *slope, const floating *second, const floating *Rz, floating *E
) noexcept nogil:
    """E := E .* slope + second .* Rz."""
    if floating is float:
        c32().bend(n, slope, second, Rz, E)
    else:
        c64().bend(n, slope, second, Rz, E)


cdef inline void product_onto(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t i, Py_ssize_t j, Py_ssize_t k, const floating *W, Py_ssize_t row,
    Py_ssize_t step, const floating *B, floating *C
) noexcept nogil:
    """Units i .. j of  C (n) += B (k) W';  W_rc is at  W + r row + c step."""
    if floating is float:
        c32().product_onto(m, n, i, j, k, W, row, step, B, C)
    else:
        c64().product_onto(m, n, i, j, k, W, row, step, B, C)


cdef inline void keep_curve(
    int output, int loss, double parameter, bint plus, Py_ssize_t m, Py_ssize_t K, const floating *z,
    const floating *y, const floating *w, floating *h, floating *q, floating *t
) noexcept nogil:
    """h, q, t := the ingredients of H, or of H+ if plus, of the weighted costs."""
    if floating is float:
        c32().keep_curve(output, loss, parameter, plus, m, K, z, y, w, h, q, t)
    else:
        c64().keep_curve(output, loss, parameter, plus, m, K, z, y, w, h, q, t)


cdef inline void curve(
    int output, int loss, bint plus, Py_ssize_t m, Py_ssize_t K, const floating *h, const floating *q,
    const floating *t, const floating *w, floating *R
) noexcept nogil:
    """R := w H R, or w H+ R."""
    if floating is float:
        c32().curve(output, loss, plus, m, K, h, q, t, w, R)
    else:
        c64().curve(output, loss, plus, m, K, h, q, t, w, R)
