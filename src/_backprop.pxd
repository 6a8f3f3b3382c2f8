"""Forward, backward, accumulate on one block of examples: what _backprop.pyx and _epoch.pyx share.

A network is one int64 matrix, the plan (fastbp/plan.py writes it), column l for layer l:

    s         units
    g         activation, in the last layer the output
    theta     where Theta, leading to this layer, begins in the flat theta
    a, z, delta, rows     where these begin in the workspace, in units per example

and a last row of scalars. The workspace of a block of at most B examples is one flat buffer: what begins at unit u
lies at B u. a, z and delta are panels (src/kernels/panels.h), rows is the same a row by row, (m, s), as Delta takes it.
Each a has a spare unit before it, for the 1 of [1, a] in the loop over single examples.
Layer l = 0 is the textbook's first: a(1) = X. B is a multiple of a panel.
"""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from cython cimport floating
from libc.stdint cimport int64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from _blas cimport gemv, gemv_t, ger
from _kernels cimport (
    ROWS_F32, ROWS_F64, ROWS_U8, activate, activate_backward, cost_and_delta, layer_backward, layer_Delta,
    layer_forward, load_labels, load_rows, load_weights, padded, rows_t, to_panels, to_rows,
)


cdef struct plan_t:
    Py_ssize_t L
    const int64_t *s
    const int64_t *g
    const int64_t *theta
    const int64_t *a
    const int64_t *z
    const int64_t *delta
    const int64_t *rows
    int loss
    Py_ssize_t y        # unit of the targets (K), in panels
    Py_ssize_t w        # unit of the weights (1)
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
    p.s, p.g, p.theta, p.a, p.z, p.delta, p.rows = (
        &plan[0, 0], &plan[1, 0], &plan[2, 0], &plan[3, 0], &plan[4, 0], &plan[5, 0], &plan[6, 0]
    )
    p.loss, p.y, p.w, p.low = <int>plan[7, 0], plan[7, 1], plan[7, 2], <int>plan[0, p.L]
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


cdef inline const floating *load_X(
    const plan_t *p, const examples_t *data, Py_ssize_t first, Py_ssize_t m, floating *work, Py_ssize_t B,
    Py_ssize_t *lda
) noexcept nogil:
    """a(1) of the examples first .. first + m, as panels in the workspace and, returned, as rows lda apart:
    where they lie if they can stay there, else loaded into the workspace"""
    cdef int own = ROWS_F32 if floating is float else ROWS_F64
    cdef Py_ssize_t size = <Py_ssize_t>sizeof(floating)
    cdef const floating *rows
    if data.order == NULL and data.X.type == own and data.X.stride >= size * p.s[0] and data.X.stride % size == 0:
        lda[0] = data.X.stride // size
        rows = <const floating *>(<const char *>data.X.data + first * data.X.stride)
    else:
        lda[0] = p.s[0]
        load_rows(&data.X, data.order, first, m, p.s[0], work + B * p.rows[0])
        rows = work + B * p.rows[0]
    to_panels(m, p.s[0], rows, lda[0], work + B * p.a[0])
    return rows


cdef inline void load_Y(
    const plan_t *p, const examples_t *data, Py_ssize_t first, Py_ssize_t m, floating *work, Py_ssize_t B
) noexcept nogil:
    """targets and weights of the examples first .. first + m as panels, labels as low and high values of the output"""
    cdef Py_ssize_t last = p.L - 1, K = p.s[last]
    cdef floating *y = work + B * p.y
    cdef floating *rows = work + B * p.rows[last]
    if data.labels != NULL:
        load_labels(data.labels, data.order, first, m, K, <floating>p.low, <floating>1, y)
    else:
        load_rows(&data.Y, data.order, first, m, K, rows)
        to_panels(m, K, <const floating *>rows, K, y)
    load_weights(&data.w, data.order, first, m, work + B * p.w)


cdef inline void forward(
    const plan_t *p,
    const floating *theta,      # IN
    Py_ssize_t m,               # examples of this block
    floating *work,             # IN   a(1);  OUT  z, a of the hidden layers, z(L)
    Py_ssize_t B,
) noexcept nogil:
    """Z(l+1) = [1, A(l)] Theta(l)';  A(l+1) = g(Z(l+1)), up to Z(L)"""
    cdef Py_ssize_t l, n, k
    cdef floating *Z
    for l in range(1, p.L):
        n, k, Z = p.s[l], p.s[l - 1], work + B * p.z[l]
        layer_forward(m, n, k, theta + p.theta[l], <const floating *>(work + B * p.a[l - 1]), Z)
        if l < p.L - 1:
            activate(<int>p.g[l], padded(m, work) * n, <const floating *>Z, work + B * p.a[l])


cdef inline void backward(
    const plan_t *p,
    const floating *theta,      # IN
    Py_ssize_t m,
    const floating *X,          # IN   (m, s_1), rows ldx apart
    Py_ssize_t ldx,
    floating *work,             # IN   a, z, delta(L);  OUT delta(L-1) .. delta(2)
    Py_ssize_t B,
    bint add,
    floating *Delta,            # OUT  flat like theta
) noexcept nogil:
    """Delta(l) := or += delta(l+1)' [1, A(l)];  delta(l) = (delta(l+1) Theta(l))[without bias] .* g'(Z(l))"""
    cdef Py_ssize_t l, n, k
    cdef const floating *delta
    cdef const floating *A
    cdef floating *before
    for l in range(p.L - 1, 0, -1):
        n, k, delta = p.s[l], p.s[l - 1], work + B * p.delta[l]
        if l == 1:
            layer_Delta(m, n, k, delta, X, ldx, add, Delta + p.theta[l])
            break
        A, before = work + B * p.a[l - 1], work + B * p.delta[l - 1]
        to_rows(m, k, A, work + B * p.rows[l - 1], k)
        layer_Delta(m, n, k, delta, <const floating *>(work + B * p.rows[l - 1]), k, add, Delta + p.theta[l])
        layer_backward(m, n, k, theta + p.theta[l], delta, before)
        activate_backward(<int>p.g[l - 1], padded(m, work) * k, A, <const floating *>(work + B * p.z[l - 1]), before)


cdef inline double accumulate_block(
    const plan_t *p, const floating *theta, const examples_t *data, Py_ssize_t first, Py_ssize_t m,
    floating *work, Py_ssize_t B, bint add, floating *Delta
) noexcept nogil:
    """Delta := or += the sum over the examples first .. first + m <= first + B -> the sum of their costs"""
    cdef Py_ssize_t ldx = 0, last = p.L - 1
    cdef const floating *X = load_X(p, data, first, m, work, B, &ldx)
    cdef double cost
    load_Y(p, data, first, m, work, B)
    forward(p, theta, m, work, B)
    cost = cost_and_delta(
        <int>p.g[last], p.loss, m, p.s[last], <const floating *>(work + B * p.z[last]),
        <const floating *>(work + B * p.y), <const floating *>(work + B * p.w),
        work + B * p.a[last], work + B * p.delta[last],
    )
    if Delta != NULL:
        backward(p, theta, m, X, ldx, work, B, add, Delta)
    return cost


cdef inline double accumulate_example(
    const plan_t *p, const floating *theta, const examples_t *data, Py_ssize_t i, floating *work, Py_ssize_t B,
    floating *Delta
) noexcept nogil:
    """The textbook's loop body for example i, by BLAS: forward, delta, Delta += delta [1, a]' -> its cost"""
    cdef Py_ssize_t l, n, k, last = p.L - 1
    cdef floating *a = work + B * p.a[0]
    cdef floating *delta
    cdef floating *z
    cdef double cost
    load_rows(&data.X, data.order, i, 1, p.s[0], a)
    for l in range(1, p.L):
        n, k, z = p.s[l], p.s[l - 1], work + B * (p.z[l] if l < last else p.rows[l])
        a[-1] = 1
        gemv(n, k + 1, theta + p.theta[l], k + 1, <const floating *>(a - 1), z)         # z = Theta [1, a]
        if l < last:
            a = work + B * p.a[l]
            activate(<int>p.g[l], n, <const floating *>z, a)                            # a = g(z)
    to_panels(1, n, <const floating *>z, n, work + B * p.z[last])
    load_Y(p, data, i, 1, work, B)
    cost = cost_and_delta(
        <int>p.g[last], p.loss, 1, n, <const floating *>(work + B * p.z[last]), <const floating *>(work + B * p.y),
        <const floating *>(work + B * p.w), work + B * p.a[last], work + B * p.delta[last],
    )
    delta = work + B * p.rows[last]
    to_rows(1, n, <const floating *>(work + B * p.delta[last]), delta, n)
    for l in range(last, 0, -1):
        n, k, a = p.s[l], p.s[l - 1], work + B * p.a[l - 1]
        ger(n, k + 1, <const floating *>delta, <const floating *>(a - 1), Delta + p.theta[l], k + 1)
        if l > 1:                                                                       # delta = Theta' delta .* g'(z)
            gemv_t(n, k, theta + p.theta[l] + 1, k + 1, <const floating *>delta, work + B * p.delta[l - 1])
            delta = work + B * p.delta[l - 1]
            activate_backward(<int>p.g[l - 1], k, <const floating *>a, <const floating *>(work + B * p.z[l - 1]), delta)
    return cost
