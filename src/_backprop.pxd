"""Forward, backward, accumulate on one block of examples: what _backprop.pyx and _epoch.pyx share.

A network is one int64 matrix, the plan (fastbp/plan.py writes it), column l for layer l:

    s       units                       theta   where Theta(l-1 -> l) begins in the flat theta
    g       activation; output at L-1   a, z, delta   where that layer begins in the workspace, in units per row

and a last row of scalars. The workspace of a block of at most B examples is one flat buffer: the layer that
begins at unit u has its (m, s) matrix at B u. Each `a` has a spare unit before it, for the 1 of [1, a].
Layer l = 0 is the textbook's first: a(1) = X. Theta(l) here has the index of the layer that it leads to.
"""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from cython cimport floating
from libc.stdint cimport int64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from _blas cimport gemm, gemv, gemv_t, ger
from _kernels cimport (
    ROWS_F32, ROWS_F64, ROWS_U8, activate, activate_backward, add_bias_delta, cost_and_delta, fill_bias,
    load_labels, load_rows, rows_t,
)


cdef struct plan_t:
    Py_ssize_t L
    const int64_t *s
    const int64_t *g
    const int64_t *theta
    const int64_t *a
    const int64_t *z
    const int64_t *delta
    int loss
    Py_ssize_t y        # unit of the block of targets (K)
    Py_ssize_t w        # unit of the block of weights (1)
    int low             # value of an output that is not the label: 0, or -1 for tanh


cdef struct examples_t:
    rows_t X
    rows_t Y                # dense targets, or
    const int64_t *labels   # one per row; NULL with dense targets
    rows_t w                # w.data is NULL without weights
    const int64_t *order    # NULL: as they lie


cdef inline plan_t read_plan(const int64_t[:, ::1] plan) noexcept:
    cdef plan_t p
    p.L = plan.shape[1] - 1
    p.s, p.g, p.theta, p.a, p.z, p.delta = (
        &plan[0, 0], &plan[1, 0], &plan[2, 0], &plan[3, 0], &plan[4, 0], &plan[5, 0]
    )
    p.loss, p.y, p.w, p.low = <int>plan[6, 0], plan[6, 1], plan[6, 2], <int>plan[0, p.L]
    return p


cdef inline double seconds() noexcept nogil:
    """a clock that only goes forward"""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <double>now.tv_sec + 1e-9 * <double>now.tv_nsec


cdef inline int open_rows(object array, Py_buffer *buffer, rows_t *rows) except -1:
    """rows := the 2-D array, float32, float64 or uint8, contiguous within its rows; release the buffer afterwards"""
    PyObject_GetBuffer(array, buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
    cdef bytes format = buffer.format
    if buffer.ndim != 2 or (buffer.shape[1] > 1 and buffer.strides[1] != buffer.itemsize) or format not in (
        b"f", b"d", b"B"
    ):
        PyBuffer_Release(buffer)
        raise ValueError("rows must be 2-D, contiguous within a row, float32, float64 or uint8")
    rows.data, rows.stride = buffer.buf, buffer.strides[0]
    rows.type = ROWS_F32 if format == b"f" else ROWS_F64 if format == b"d" else ROWS_U8
    return 0


cdef inline const floating *block_of_X(
    const plan_t *p, const examples_t *data, Py_ssize_t first, Py_ssize_t m, floating *work, Py_ssize_t B,
    Py_ssize_t *lda
) noexcept nogil:
    """a(1) of the examples first .. first + m: where they lie if they can stay there, else loaded into the workspace"""
    cdef int own = ROWS_F32 if floating is float else ROWS_F64
    cdef Py_ssize_t row = <Py_ssize_t>sizeof(floating)
    if data.order == NULL and data.X.type == own and data.X.stride >= row * p.s[0] and data.X.stride % row == 0:
        lda[0] = data.X.stride // row
        return <const floating *>(<const char *>data.X.data + first * data.X.stride)
    load_rows(&data.X, data.order, first, m, p.s[0], work + B * p.a[0])
    lda[0] = p.s[0]
    return work + B * p.a[0]


cdef inline const floating *block_of_Y(
    const plan_t *p, const examples_t *data, Py_ssize_t first, Py_ssize_t m, floating *work, Py_ssize_t B
) noexcept nogil:
    """targets (m, K) of the examples first .. first + m, labels as low and high values of the output"""
    cdef Py_ssize_t K = p.s[p.L - 1]
    cdef floating *y = work + B * p.y
    if data.labels != NULL:
        load_labels(data.labels, data.order, first, m, K, <floating>p.low, <floating>1, y)
    else:
        load_rows(&data.Y, data.order, first, m, K, y)
    return y


cdef inline const floating *block_of_w(
    const plan_t *p, const examples_t *data, Py_ssize_t first, Py_ssize_t m, floating *work, Py_ssize_t B
) noexcept nogil:
    """weights (m,) of the examples first .. first + m, or NULL"""
    if data.w.data == NULL:
        return NULL
    load_rows(&data.w, data.order, first, m, 1, work + B * p.w)
    return work + B * p.w


cdef inline void forward(
    const plan_t *p,
    const floating *theta,      # IN
    Py_ssize_t m,               # rows of this block
    const floating *X,          # IN   (m, s_1), rows ldx apart
    Py_ssize_t ldx,
    floating *work,             # OUT  z, a of all layers, z(L)
    Py_ssize_t B,
) noexcept nogil:
    """Z(l+1) = [1, A(l)] Theta(l)';  A(l+1) = g(Z(l+1)), up to Z(L)"""
    cdef Py_ssize_t l, n, k = p.s[0], lda = ldx
    cdef const floating *A = X
    cdef const floating *Theta
    cdef floating *Z
    for l in range(1, p.L):
        n, Theta, Z = p.s[l], theta + p.theta[l], work + B * p.z[l]
        fill_bias(m, n, k, Theta, Z)
        gemm(False, True, m, n, k, A, lda, Theta + 1, k + 1, <floating>1, Z, n)
        if l < p.L - 1:
            activate(<int>p.g[l], m * n, Z, work + B * p.a[l])
        A, lda, k = work + B * p.a[l], n, n


cdef inline void backward(
    const plan_t *p,
    const floating *theta,      # IN
    Py_ssize_t m,
    const floating *X,          # IN   (m, s_1), rows ldx apart
    Py_ssize_t ldx,
    floating *work,             # IN   a, z, delta(L);  OUT delta(L-1) .. delta(2)
    Py_ssize_t B,
    floating *Delta,            # OUT  flat like theta
) noexcept nogil:
    """Delta(l) += delta(l+1)' [1, A(l)];  delta(l) = (delta(l+1) Theta(l))[without bias] .* g'(Z(l))"""
    cdef Py_ssize_t l, n, k, lda
    cdef const floating *A
    cdef floating *delta
    cdef floating *before
    for l in range(p.L - 1, 0, -1):
        n, k, delta = p.s[l], p.s[l - 1], work + B * p.delta[l]
        if l > 1:
            A, lda = work + B * p.a[l - 1], k
        else:
            A, lda = X, ldx
        add_bias_delta(m, n, k, <const floating *>delta, Delta + p.theta[l])
        gemm(True, False, n, k, m, <const floating *>delta, n, A, lda, <floating>1, Delta + p.theta[l] + 1, k + 1)
        if l > 1:
            before = work + B * p.delta[l - 1]
            gemm(False, False, m, k, n, <const floating *>delta, n, theta + p.theta[l] + 1, k + 1,
                 <floating>0, before, k)
            activate_backward(<int>p.g[l - 1], m * k, A, <const floating *>(work + B * p.z[l - 1]), before)


cdef inline double accumulate_block(
    const plan_t *p, const floating *theta, const examples_t *data, Py_ssize_t first, Py_ssize_t m,
    floating *work, Py_ssize_t B, floating *Delta
) noexcept nogil:
    """Delta += the sum over the examples first .. first + m <= first + B -> the sum of their costs"""
    cdef Py_ssize_t ldx = 0, last = p.L - 1
    cdef const floating *X = block_of_X(p, data, first, m, work, B, &ldx)
    cdef const floating *Y = block_of_Y(p, data, first, m, work, B)
    cdef const floating *w = block_of_w(p, data, first, m, work, B)
    cdef double cost
    forward(p, theta, m, X, ldx, work, B)
    cost = cost_and_delta(<int>p.g[last], p.loss, m, p.s[last], <const floating *>(work + B * p.z[last]), Y, w,
                          work + B * p.a[last], work + B * p.delta[last])
    if Delta != NULL:
        backward(p, theta, m, X, ldx, work, B, Delta)
    return cost


cdef inline double accumulate_example(
    const plan_t *p, const floating *theta, const examples_t *data, Py_ssize_t i, floating *work, floating *Delta
) noexcept nogil:
    """The textbook's loop body for example i: forward, delta, Delta += delta [1, a]' -> its cost"""
    cdef Py_ssize_t l, n, k, last = p.L - 1
    cdef const floating *y = block_of_Y(p, data, i, 1, work, 1)
    cdef const floating *w = block_of_w(p, data, i, 1, work, 1)
    cdef floating *a = work + p.a[0]
    cdef floating *delta
    cdef double cost
    load_rows(&data.X, data.order, i, 1, p.s[0], a)
    for l in range(1, p.L):
        n, k = p.s[l], p.s[l - 1]
        a[-1] = 1
        gemv(n, k + 1, theta + p.theta[l], k + 1, <const floating *>(a - 1), work + p.z[l])     # z = Theta [1, a]
        a = work + p.a[l]
        if l < last:
            activate(<int>p.g[l], n, <const floating *>(work + p.z[l]), a)                      # a = g(z)
    cost = cost_and_delta(<int>p.g[last], p.loss, 1, p.s[last], <const floating *>(work + p.z[last]), y, w,
                          a, work + p.delta[last])
    for l in range(last, 0, -1):
        n, k, a, delta = p.s[l], p.s[l - 1], work + p.a[l - 1], work + p.delta[l]
        ger(n, k + 1, <const floating *>delta, <const floating *>(a - 1), Delta + p.theta[l], k + 1)
        if l > 1:                                                                   # delta = Theta' delta .* g'(z)
            gemv_t(n, k, theta + p.theta[l] + 1, k + 1, <const floating *>delta, work + p.delta[l - 1])
            activate_backward(<int>p.g[l - 1], k, <const floating *>a, <const floating *>(work + p.z[l - 1]),
                              work + p.delta[l - 1])
    return cost
