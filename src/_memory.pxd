"""The owner of an array's memory. NumPy can resize an array, or make it read-only, without telling its views."""

from cpython.buffer cimport PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release

cdef extern from "Python.h":
    ctypedef struct PyObject:       # by hand: cpython.object makes the import check sizes of types (fault 51)
        pass

    int get_buffer "PyObject_GetBuffer"(PyObject *, Py_buffer *, int) noexcept      # -1 if an error is set
    void PyErr_Clear() noexcept
    int PyErr_ExceptionMatches(PyObject *) noexcept
    bint PyObject_CheckBuffer(PyObject *) noexcept
    PyObject *PyExc_MemoryError
    PyObject *PyExc_ValueError

cdef extern from "lend.h":
    int lend_ready() except 0       # each module calls it once
    int lend(PyObject *, Py_buffer *, int) noexcept             # get_buffer, for a view that is read at once
    bint is_lent "lend_is_lent"(const Py_buffer *) noexcept     # without the buffer protocol: it holds nothing
    bint lend_is_array(PyObject *) noexcept                     # exactly, and not of a subclass
    bint lend_has_base(PyObject *) noexcept                     # an ndarray, of a subclass too
    PyObject *owner_of "lend_owner"(PyObject *) noexcept


cdef inline int refused() except -1:
    """Clear the error of a failed get_buffer, unless memory ran out."""
    if PyErr_ExceptionMatches(PyExc_MemoryError):
        return -1
    PyErr_Clear()
    return 0


cdef inline void extent(const Py_buffer *view, const char **low, const char **high) noexcept:
    """low := the first byte of the view, high := the byte after its last."""
    cdef int i
    low[0] = high[0] = <const char *>view.buf
    if view.strides == NULL:        # ctypes: without gaps
        high[0] += view.len
    elif view.len:
        high[0] += view.itemsize
        for i in range(view.ndim):
            if view.strides[i] < 0:
                low[0] += (view.shape[i] - 1) * view.strides[i]
            else:
                high[0] += (view.shape[i] - 1) * view.strides[i]


cdef inline int is_there(PyObject *owner) except -1:
    """False for an owner that lends a buffer, but is read-only, or closed or released (ValueError)."""
    cdef Py_buffer whole
    cdef bint closed
    if lend(owner, &whole, PyBUF_STRIDED_RO) == 0:
        PyBuffer_Release(&whole)
        return False
    closed = PyErr_ExceptionMatches(PyExc_ValueError)
    refused()
    return not closed


cdef inline int shows(PyObject *owner, const Py_buffer *view, int flags) except -1:
    """True if the view still lies in its owner, and in the owner's owner, and so on. Each of them may be resized or
    made read-only without the view noticing."""
    cdef const char *first
    cdef const char *last
    if owner == NULL:
        return True
    extent(view, &first, &last)
    return covers(owner, first, last, flags)


cdef inline int covers(PyObject *owner, const char *first, const char *last, int flags) except -1:
    """True if these bytes lie in the owner's memory, and in that of its owner, and so on."""
    cdef Py_buffer whole
    cdef const char *low
    cdef const char *high
    while owner != NULL:
        if lend(owner, &whole, PyBUF_STRIDED_RO | (flags & PyBUF_WRITABLE)) < 0:
            refused()
            return not PyObject_CheckBuffer(owner) or is_there(owner)
        extent(&whole, &low, &high)
        PyBuffer_Release(&whole)
        if first != last and not (low <= first and last <= high):
            return False
        owner = owner_of(owner) if lend_has_base(owner) else NULL
    return True
