"""Row-major BLAS for both dtypes; the only file that knows s/d and the integer of BLAS.

A row-major matrix is the transpose of the column-major one in the same memory: every wrapper swaps
accordingly, and says what it computes in its docstring. Sizes are Py_ssize_t; checks.py refuses
networks whose layers do not fit the integer of BLAS, blocks never come near it.
"""

from cython cimport floating
from scipy.linalg.cython_blas cimport dgemm, dgemv, dger, sgemm, sgemv, sger

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


cdef inline void gemm(
    bint trans_A, bint trans_B, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const floating *A, Py_ssize_t lda, const floating *B, Py_ssize_t ldb,
    floating beta, floating *C, Py_ssize_t ldc
) noexcept nogil:
    """C := op(A) op(B) + beta C,  op(A) (m, k), op(B) (k, n), C (m, n)"""
    cdef blas_int m_ = <blas_int>m, n_ = <blas_int>n, k_ = <blas_int>k
    cdef blas_int lda_ = <blas_int>lda, ldb_ = <blas_int>ldb, ldc_ = <blas_int>ldc
    cdef char *op_A = b"T" if trans_A else b"N"
    cdef char *op_B = b"T" if trans_B else b"N"
    cdef floating alpha = 1
    if floating is float:
        sgemm(op_B, op_A, &n_, &m_, &k_, &alpha, <float *>B, &ldb_, <float *>A, &lda_, &beta, C, &ldc_)
    else:
        dgemm(op_B, op_A, &n_, &m_, &k_, &alpha, <double *>B, &ldb_, <double *>A, &lda_, &beta, C, &ldc_)
