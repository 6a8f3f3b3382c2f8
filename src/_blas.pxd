"""Row-major BLAS for both dtypes. Only this file knows s/d and the integer type of BLAS.

A row-major matrix is the transpose of the column-major one in the same memory, so every wrapper swaps its arguments.
Its docstring is the formula it computes. Sizes are Py_ssize_t; fastbp/engine/plan.py refuses networks whose layers do
not fit the integer of BLAS. kernels/panels.h has the products of matrices: they are faster than BLAS on small and
medium layers, and their bits do not depend on the batch.
"""

from cython cimport floating
from scipy.linalg.cython_blas cimport dgemv, dger, dsyrk, sgemv, sger
from scipy.linalg.cython_lapack cimport dpotrf, dpotrs

from _blas_int cimport blas_int


cdef inline void gemv(
    Py_ssize_t m, Py_ssize_t n, const floating *A, Py_ssize_t lda, const floating *x, floating *y
) noexcept nogil:
    """y := A x,  A (m, n), rows lda apart"""
    cdef blas_int rows = <blas_int>m, columns = <blas_int>n, ld = <blas_int>lda, one = 1
    cdef floating alpha = 1, beta = 0
    if floating is float:
        sgemv("T", &columns, &rows, &alpha, <float *>A, &ld, <float *>x, &one, &beta, y, &one)
    else:
        dgemv("T", &columns, &rows, &alpha, <double *>A, &ld, <double *>x, &one, &beta, y, &one)


cdef inline void gemv_t(
    Py_ssize_t m, Py_ssize_t n, const floating *A, Py_ssize_t lda, const floating *x, floating *y
) noexcept nogil:
    """y := A' x,  A (m, n), rows lda apart"""
    cdef blas_int rows = <blas_int>m, columns = <blas_int>n, ld = <blas_int>lda, one = 1
    cdef floating alpha = 1, beta = 0
    if floating is float:
        sgemv("N", &columns, &rows, &alpha, <float *>A, &ld, <float *>x, &one, &beta, y, &one)
    else:
        dgemv("N", &columns, &rows, &alpha, <double *>A, &ld, <double *>x, &one, &beta, y, &one)


cdef inline void ger(
    Py_ssize_t m, Py_ssize_t n, const floating *x, const floating *y, floating *A, Py_ssize_t lda
) noexcept nogil:
    """A := A + x y',  A (m, n), rows lda apart"""
    cdef blas_int rows = <blas_int>m, columns = <blas_int>n, ld = <blas_int>lda, one = 1
    cdef floating alpha = 1
    if floating is float:
        sger(&columns, &rows, &alpha, <float *>y, &one, <float *>x, &one, A, &ld)
    else:
        dger(&columns, &rows, &alpha, <double *>y, &one, <double *>x, &one, A, &ld)


cdef inline void add_gemv_t(
    Py_ssize_t m, Py_ssize_t n, const double *A, Py_ssize_t lda, const double *x, double *y
) noexcept nogil:
    """y := y + A' x,  A (m, n), rows lda apart"""
    cdef blas_int rows = <blas_int>m, columns = <blas_int>n, ld = <blas_int>lda, one = 1
    cdef double alpha = 1, beta = 1
    dgemv("N", &columns, &rows, &alpha, <double *>A, &ld, <double *>x, &one, &beta, y, &one)


cdef inline void add_syrk(Py_ssize_t n, Py_ssize_t m, const double *A, Py_ssize_t lda, double *C) noexcept nogil:
    """C := C + A' A at and right of the diagonal,  A (m, n), rows lda apart, C (n, n)"""
    cdef blas_int rows = <blas_int>m, columns = <blas_int>n, ld = <blas_int>lda
    cdef double alpha = 1, beta = 1
    dsyrk("L", "N", &columns, &rows, &alpha, <double *>A, &ld, &beta, C, &columns)


cdef inline bint potrf(Py_ssize_t n, double *A) noexcept nogil:
    """A := U, U'U = A, at and right of the diagonal  ->  True; False if A is not positive definite."""
    cdef blas_int size = <blas_int>n, info = 0
    dpotrf("L", &size, A, &size, &info)
    return info == 0


cdef inline void potrs(Py_ssize_t n, const double *U, double *x) noexcept nogil:
    """x := (U'U)^-1 x"""
    cdef blas_int size = <blas_int>n, one = 1, info = 0
    dpotrs("L", &size, &one, <double *>U, &size, x, &size, &info)
