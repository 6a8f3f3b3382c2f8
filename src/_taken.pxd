"""X and Y of one call, for callers that need every microsecond: read in place, or converted once.

Arguments that cannot be taken here go through fastbp/engine/checks.py, which converts them or raises the error.
"""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport fabs
from libc.stdint cimport int64_t, uint8_t

from _checked cimport READ, WRITE, arrays_t, got, is_of
from _kernels cimport ROWS_F32, ROWS_F64, ROWS_U8, examples_t, fastbp_first_nonfinite, rows_t
from _memory cimport PyObject, covers, is_lent, owner_of, shows

cdef extern from *:
    """
    #define FASTBP_IN_PYTHON(value) PyType_HasFeature(Py_TYPE(value), Py_TPFLAGS_HEAPTYPE)
    """
    bint in_python "FASTBP_IN_PYTHON"(object) noexcept      # is its class written in Python?

cdef enum:
    OWN = -2                    # K of the targets of the caller's own compiled loss
    NO_TARGETS = -1

cdef struct takes_t:            # the inputs and targets that a network takes
    Py_ssize_t inputs
    Py_ssize_t K                # columns of Y, OWN or NO_TARGETS
    double lowest, highest      # of targets
    bint rows_sum_to_1          # of dense targets
    char format                 # f or d, the network's dtype


cdef inline int type_of(const Py_buffer *view) noexcept:
    """The type by which the core reads it; -1 for a dtype that the core cannot read."""
    cdef char c = view.format[0]
    if view.format[1] != 0:
        return -1
    return ROWS_F32 if c == b"f" else ROWS_F64 if c == b"d" else ROWS_U8 if c == b"B" or c == b"?" else -1


cdef inline char code_of(const Py_buffer *view) noexcept:
    """The letter of its dtype in any byte order; 0 for records and complex numbers."""
    cdef const char *code = view.format
    if code[0] == b"<" or code[0] == b">" or code[0] == b"=":
        code += 1
    return code[0] if code[0] != 0 and code[1] == 0 else 0


cdef inline bint is_integer(const Py_buffer *view) noexcept:
    cdef char c = code_of(view)
    return (c == b"l" or c == b"q" or c == b"i" or c == b"B" or c == b"b" or c == b"h" or c == b"H" or c == b"I"
            or c == b"L" or c == b"Q")


cdef inline double value_at(const rows_t *rows, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    cdef const char *row = <const char *>rows.data + i * rows.stride
    if rows.type == ROWS_F64:
        return (<const double *>row)[j]
    return (<const float *>row)[j] if rows.type == ROWS_F32 else (<const uint8_t *>row)[j]


cdef inline bint zeros_and_ones(const rows_t *rows, Py_ssize_t n, Py_ssize_t step) noexcept nogil:
    """True if these rows of bool, n values each and step bytes apart, have no byte above 1 (others are True too)."""
    cdef const uint8_t *row
    cdef Py_ssize_t i, j
    for i in range(rows.n):
        row = <const uint8_t *>rows.data + i * rows.stride
        for j in range(n):
            if row[j * step] > 1:
                return False
    return True


cdef inline bint drop(arrays_t *held) noexcept:
    """Release the last buffer; returns False."""
    held.n -= 1
    PyBuffer_Release(&held.views[held.n])
    return False


cdef inline bint take_rows(
    arrays_t *held, object a, rows_t *rows, Py_ssize_t most, Py_ssize_t columns, bint inputs, char format, object dtype,
    bint opened=False
) except -1:
    """rows := a, or its copy in the network's dtype: 1 .. most finite rows of `columns` values. A vector is one row of
    inputs, or a column of targets. The buffer is held. False, with no buffer held, if they cannot be taken."""
    cdef Py_buffer *view = &held.views[held.n]
    cdef Py_ssize_t m, n, stride, step
    cdef char code
    if not opened and not got(a, view, PyBUF_FORMAT | PyBUF_STRIDED_RO):
        return False
    held.n += 1
    code = code_of(view)
    m = n = stride = step = 0
    if view.ndim == 2:
        m, n, stride, step = view.shape[0], view.shape[1], view.strides[0], view.strides[1]
    elif view.ndim == 1 and inputs:
        m, n, step = 1, view.shape[0], view.strides[0]
    elif view.ndim == 1:
        m, n, stride = view.shape[0], 1, view.strides[0]
    if 0 < m <= most and n == columns and shows(owner_of(<PyObject *>a), view, READ):
        rows.data, rows.stride, rows.n, rows.type = view.buf, stride if m > 1 else 0, m, type_of(view)
        if view.format[0] == b"?" and not zeros_and_ones(rows, n, step):
            rows.type = -1
        if rows.type >= 0 and (n == 1 or step == view.itemsize) and <size_t>view.buf % <size_t>view.itemsize == 0 and (
            m == 1 or stride % view.itemsize == 0
        ):
            if rows.type == ROWS_U8 or fastbp_first_nonfinite(rows, m, n, FLT_MAX if format == b"f" else DBL_MAX) < 0:
                return True
        elif is_integer(view) or code == b"e" or code == b"?" or code == b"f" or code == b"d":
            if code == b"f" or code == b"d":        # has gaps, is not aligned, or in the other byte order
                dtype = "f" if code == b"f" else "d"
            drop(held)
            return copied(a, dtype, view) and take_rows(
                held, <object>view.obj, rows, most, columns, inputs, format, dtype, True
            )
    return drop(held)


cdef inline bint copied(object a, object dtype, Py_buffer *view) except -1:
    """view := a C-contiguous copy in this dtype, which only the view holds. False if the object is not an array."""
    convert = getattr(a, "astype", None)
    if convert is None:
        return False
    PyObject_GetBuffer(convert(dtype, "C"), view, PyBUF_FORMAT | PyBUF_STRIDED_RO)
    return True


cdef inline bint take_labels(
    arrays_t *held, object a, examples_t *data, Py_ssize_t m, Py_ssize_t K, bint opened
) except -1:
    """data.labels := a (m,), or its copy in int64, 0 .. K - 1. The buffer is held or not as in `take_rows`."""
    cdef Py_buffer *view = &held.views[held.n]
    cdef const int64_t *labels
    cdef Py_ssize_t i
    if not opened and not got(a, view, PyBUF_FORMAT | PyBUF_STRIDED_RO):
        return False
    held.n += 1
    if view.ndim == 1 and view.shape[0] == m and shows(owner_of(<PyObject *>a), view, READ):
        if view.itemsize == 8 and view.format[1] == 0 and (view.format[0] == b"l" or view.format[0] == b"q") and (
            m == 1 or view.strides[0] == 8
        ) and <size_t>view.buf % 8 == 0:
            labels = <const int64_t *>view.buf
            for i in range(m):
                if not 0 <= labels[i] < K:
                    return drop(held)
            data.labels = labels
            return True
        if is_integer(view) or (view.format[0] == b"?" and view.format[1] == 0):
            drop(held)
            return copied(a, "q", view) and take_labels(held, <object>view.obj, data, m, K, True)
    return drop(held)


cdef inline bint take_targets(
    arrays_t *held, object a, examples_t *data, Py_ssize_t m, const takes_t *takes, object dtype
) except -1:
    """data.labels or data.Y := a, for m examples. The buffer is held or not as in `take_rows`."""
    cdef Py_buffer *view = &held.views[held.n]
    data.labels, data.Y.data = NULL, NULL
    if takes.K < 0:
        return takes.K == OWN and take_own(held, a, &data.Y, m, takes.format)
    if not got(a, view, PyBUF_FORMAT | PyBUF_STRIDED_RO):
        return False
    if view.ndim == 1 and takes.K > 1:
        if takes.highest == 1:
            return take_labels(held, a, data, m, takes.K, True)
        PyBuffer_Release(view)
        return False
    if not take_rows(held, a, &data.Y, m, takes.K, False, takes.format, dtype, True):
        return False
    if data.Y.n == m and can_be_reached(&data.Y, takes):
        return True
    return drop(held)


cdef inline bint take_own(arrays_t *held, object a, rows_t *rows, Py_ssize_t m, char format) except -1:
    """rows := the targets (m, any) or (m,) of the caller's own compiled loss, in this format. The buffer is held or not
    as in `take_rows`."""
    cdef Py_buffer *view = &held.views[held.n]
    if not got(a, view, PyBUF_FORMAT | PyBUF_STRIDED_RO):
        return False
    held.n += 1
    if (view.ndim == 1 or view.ndim == 2) and view.shape[0] == m and is_of(view, format) and (
        view.ndim == 1 or view.shape[1] == 1 or view.strides[1] == view.itemsize
    ) and view.strides[0] % view.itemsize == 0 and <size_t>view.buf % <size_t>view.itemsize == 0 and (
        view.ndim == 1 or view.shape[1] > 0
    ) and shows(owner_of(<PyObject *>a), view, READ):
        rows.data, rows.stride, rows.n, rows.type = view.buf, view.strides[0], m, type_of(view)
        return True
    return drop(held)


cdef inline int lie(const arrays_t *held, int i, object a, const rows_t *rows, Py_ssize_t n) except -1:
    """True if the rows of n values, taken as buffer i, still lie in a, or in a copy that the buffer holds. Python code
    may have run since: in another thread during a conversion, or in a callback of the garbage collector."""
    cdef const char *first = <const char *>rows.data
    cdef const char *last = first + n * (8 if rows.type == ROWS_F64 else 4 if rows.type == ROWS_F32 else 1)
    if not is_lent(&held.views[i]):
        return True
    if rows.stride < 0:
        first += (rows.n - 1) * rows.stride
    else:
        last += (rows.n - 1) * rows.stride
    return covers(<PyObject *>a, first, last, READ)


cdef inline int targets_lie(const arrays_t *held, int i, object a, const examples_t *data, Py_ssize_t K) except -1:
    """`lie` for the targets or labels of these examples."""
    cdef const char *labels = <const char *>data.labels
    if labels == NULL:
        return lie(held, i, a, &data.Y, K)
    return not is_lent(&held.views[i]) or covers(<PyObject *>a, labels, labels + 8 * data.X.n, READ)


cdef inline bint can_be_reached(const rows_t *Y, const takes_t *takes) noexcept:
    """True if every target is in the range of the output, and each row sums to 1 where that is required."""
    cdef Py_ssize_t i, j
    cdef double y, total, off = 5e-5 if takes.format == b"f" else 5e-7      # half the tolerance: sums are rounded
    for i in range(Y.n):
        total = 0
        for j in range(takes.K):
            y = value_at(Y, i, j)
            total += y
            if not takes.lowest <= y <= takes.highest:
                return False
        if takes.rows_sum_to_1 and fabs(total - 1) > off:
            return False
    return True


cdef inline bint is_float(object value) noexcept:
    """True for a float and numpy.float64. A subclass written in Python may have its own `__float__`."""
    return isinstance(value, float) and not in_python(value)


cdef inline bint is_number(object value, double *x) except -1:
    """x := the value if penalties accept it: a float or an int below 2^53, finite, at least 0; else False."""
    if is_float(value) or (type(value) is int and -1 < value < 1 << 53):
        x[0] = value
        return 0 <= x[0] <= DBL_MAX
    return False


cdef inline bint is_count(object value) except -1:
    """True for None, or an int of at least 1."""
    return value is None or (type(value) is int and 0 < value < 1 << 53)


cdef inline bint take_theta(
    arrays_t *held, object theta, const void **at, Py_ssize_t n, char format
) except -1:
    """at := n finite values of the network's dtype; the buffer is held."""
    cdef Py_buffer *view = &held.views[held.n]
    cdef rows_t row
    if not got(theta, view, READ):
        return False
    held.n += 1
    row.data, row.stride, row.type = view.buf, 0, ROWS_F32 if format == b"f" else ROWS_F64
    at[0] = view.buf
    return (
        view.ndim == 1 and view.shape[0] == n and is_of(view, format) and shows(owner_of(<PyObject *>theta), view, READ)
        and fastbp_first_nonfinite(&row, 1, n, DBL_MAX) < 0
    )


cdef inline void *take_out(
    arrays_t *held, object out, int ndim, Py_ssize_t m, Py_ssize_t n, char format
) except? NULL:
    """The start of a caller's array: (n,), or (m, n) if ndim is 2. NULL if it cannot be taken."""
    cdef Py_buffer *view = &held.views[held.n]
    if not got(out, view, WRITE):
        return NULL
    held.n += 1
    if view.ndim != ndim or view.shape[ndim - 1] != n or (ndim == 2 and view.shape[0] != m) or not (
        is_of(view, format) and shows(owner_of(<PyObject *>out), view, WRITE)
    ):
        return NULL
    return view.buf


cdef inline bint take_penalties(
    object weight_decay, object lam, object l1, Py_ssize_t layers, double m, double *c, double *l1_to
) except -1:
    """c := c_l of each Theta, l1_to := l1; lam gives c_l = lam / m. False if they cannot be taken."""
    cdef double course
    cdef Py_ssize_t l
    if not is_number(l1, l1_to):
        return False
    if type(weight_decay) is list or type(weight_decay) is tuple:
        if lam is not None or len(weight_decay) != layers:
            return False
        for l in range(layers):
            if not is_number(weight_decay[l], &c[l]):
                return False
        return True
    if not is_number(weight_decay, &c[0]):
        return False
    if lam is not None:
        if c[0] != 0 or not is_number(lam, &course):
            return False
        c[0] = course / m
    for l in range(1, layers):
        c[l] = c[0]
    return True
