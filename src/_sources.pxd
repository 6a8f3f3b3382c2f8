"""The arrays of an Examples, opened once and checked again at every call."""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t

from _checked cimport READ
from _kernels cimport (
    LOSS_COUNT, LOSS_OWN_F32, LOSS_OWN_F64, ROWS_F32, ROWS_F64, ROWS_U8, examples_t, plan_t, rows_t,
)
from _memory cimport PyObject, get_buffer, owner_of, refused, shows

cdef enum:
    SOURCES = 5                 # X, Y, labels, w, order

cdef struct sources_t:          # the contents of an Examples
    examples_t data
    Py_ssize_t m                # number of examples: indices in the order, or rows if there is no order
    Py_buffer views[SOURCES]    # held, and checked again by `ready`
    PyObject *owners[SOURCES]
    bint open[SOURCES]


cdef inline sources_t *sources_of(object examples, object cls) except NULL:
    """The contents of a fastbp._backprop.Examples, which is `cls`."""
    if type(examples) is not cls:
        raise TypeError(f"examples must be fastbp._backprop.Examples; got {type(examples).__name__}")
    return <sources_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")


cdef inline int open_rows(sources_t *own, int i, object array, str name, Py_ssize_t m, rows_t *rows) except -1:
    """rows := the 2-D array, float32, float64 or uint8, contiguous within its rows; m rows, or any number if m < 0."""
    cdef Py_buffer *buffer = &own.views[i]
    if get_buffer(<PyObject *>array, buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT) < 0:
        refused()
        raise TypeError(f"{name}: rows must be an array of float32, float64 or uint8; got {type(array).__name__}")
    cdef bytes format = buffer.format if buffer.format != NULL else b"B"
    cdef bint own_memory = False
    try:
        own_memory = shows(owner_of(<PyObject *>array), buffer, READ)
    except MemoryError:
        PyBuffer_Release(buffer)
        raise
    if buffer.ndim != 2 or (buffer.shape[1] > 1 and buffer.strides[1] != buffer.itemsize) or format not in (
        b"f", b"d", b"B"
    ) or <size_t>buffer.buf % <size_t>buffer.itemsize or (
        buffer.shape[0] > 1 and buffer.strides[0] % buffer.itemsize
    ) or (m >= 0 and buffer.shape[0] != m) or not own_memory:
        PyBuffer_Release(buffer)
        raise ValueError(f"{name}: rows must be 2-D, contiguous within a row, float32, float64 or uint8"
                         + (f"; {m} of them" if m >= 0 else ""))
    own.open[i], own.owners[i] = True, owner_of(<PyObject *>array)
    rows.data, rows.stride, rows.n = buffer.buf, buffer.strides[0], buffer.shape[0]
    rows.type = ROWS_F32 if format == b"f" else ROWS_F64 if format == b"d" else ROWS_U8
    return 0


cdef inline int ready(const sources_t *sources, Py_ssize_t first, Py_ssize_t last) except -1:
    """Raise an error unless the arrays are as they were when opened, and have the examples first .. last."""
    cdef Py_buffer now
    cdef const Py_buffer *then
    cdef bint same
    cdef int i
    for i in range(SOURCES):
        if not sources.open[i]:
            continue
        then = &sources.views[i]
        same = False
        if get_buffer(<PyObject *>then.obj, &now, PyBUF_STRIDED_RO | PyBUF_FORMAT) == 0:
            try:
                same = (now.buf == then.buf and now.ndim == then.ndim and now.shape[0] == then.shape[0]
                        and now.strides[0] == then.strides[0] and now.itemsize == then.itemsize and now.len == then.len
                        and (now.format == NULL or now.format[0] == then.format[0])
                        and owner_of(<PyObject *>then.obj) == sources.owners[i]
                        and shows(sources.owners[i], &now, READ))
            finally:
                PyBuffer_Release(&now)
        else:
            refused()
        if not same:
            raise ValueError(f"{('X', 'Y', 'labels', 'weights', 'order')[i]} of the examples changed shape, dtype or "
                             "place since they were opened")
    if not 0 <= first <= last <= sources.m:
        raise ValueError(f"examples {first} .. {last} are not among the {sources.m} that there are")
    return 0


cdef inline int check_labels(const sources_t *own, Py_ssize_t m, Py_ssize_t K) except -1:
    """Raise an error unless the labels of the first m examples are 0 .. K - 1. The caller may have changed them."""
    cdef const int64_t *labels = own.data.labels
    cdef const int64_t *order = own.data.order
    cdef Py_ssize_t i, row
    if labels == NULL:
        return 0
    for i in range(m):
        row = i if order == NULL else <Py_ssize_t>order[i]
        if not 0 <= row < own.data.X.n:     # the order was changed too: the kernels then read row 0
            row = 0
        if not 0 <= labels[row] < K:
            raise ValueError(f"Y[{row}] has been changed to {labels[row]} since it was checked; labels must be "
                             f"integers 0 to {K - 1}")
    return 0


cdef inline int fit(const sources_t *sources, const plan_t *p, bint targets, char format=0) except -1:
    """Raise an error unless the examples fit the network, in this format, and have the necessary targets."""
    cdef Py_ssize_t K = p.s[p.L - 1]
    cdef int type = ROWS_F32 if format == b"f" else ROWS_F64
    if sources.views[0].shape[1] != p.s[0]:
        raise ValueError(f"examples have {sources.views[0].shape[1]} columns; the network has {p.s[0]} inputs")
    if targets and p.loss >= LOSS_COUNT:
        if p.loss != (LOSS_OWN_F32 if format == b"f" else LOSS_OWN_F64) or p.own == 0 or not sources.open[1] or (
            sources.data.Y.type != type or sources.data.labels != NULL
        ):
            raise ValueError("an own loss is called in compiled code only if it is compiled for the network's dtype, "
                             "with targets of this dtype")
    elif targets and sources.data.labels == NULL and not (sources.open[1] and sources.views[1].shape[1] == K):
        raise ValueError(f"examples must have targets for the {K} outputs of the network, or labels")
    return 0
