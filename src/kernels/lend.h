/* Arrays of NumPy lent without the buffer protocol, which costs 50 ns per array. Cython includes this; kernels do not. */
#ifndef FASTBP_LEND_H
#define FASTBP_LEND_H

#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <numpy/ndarraytypes.h>

static PyTypeObject *lend_ndarray = NULL;   /* numpy.ndarray; NumPy is never unloaded */

static int lend_ready(void)     /* 1, or 0 with an error set */
{
    if (lend_ndarray == NULL) {
        PyObject *numpy = PyImport_ImportModule("numpy");
        if (numpy == NULL)
            return 0;
        lend_ndarray = (PyTypeObject *)PyObject_GetAttrString(numpy, "ndarray");
        Py_DECREF(numpy);
    }
    return lend_ndarray != NULL;
}

/* 1 for an ndarray, but not for a subclass. */
static inline int lend_is_array(PyObject *object) { return lend_ndarray != NULL && Py_TYPE(object) == lend_ndarray; }

/* The format of the buffer protocol and its size, for the types that the core reads; NULL for all others. */
static inline const char *lend_format(int type, Py_ssize_t *size)
{
    switch (type) {
    case NPY_BOOL:      *size = 1;                          return "?";
    case NPY_BYTE:      *size = 1;                          return "b";
    case NPY_UBYTE:     *size = 1;                          return "B";
    case NPY_SHORT:     *size = sizeof(short);              return "h";
    case NPY_USHORT:    *size = sizeof(short);              return "H";
    case NPY_INT:       *size = sizeof(int);                return "i";
    case NPY_UINT:      *size = sizeof(int);                return "I";
    case NPY_LONG:      *size = sizeof(long);               return "l";
    case NPY_ULONG:     *size = sizeof(long);               return "L";
    case NPY_LONGLONG:  *size = sizeof(long long);          return "q";
    case NPY_ULONGLONG: *size = sizeof(long long);          return "Q";
    case NPY_HALF:      *size = 2;                          return "e";
    case NPY_FLOAT:     *size = sizeof(float);              return "f";
    case NPY_DOUBLE:    *size = sizeof(double);             return "d";
    default:            return NULL;
    }
}

/* Like PyObject_GetBuffer, for callers that read the view at once and hold a reference to the array: shape and strides
   are those of the array itself. PyBuffer_Release does nothing to such a view. An array that does not fit the flags, or
   is not an ndarray of a plain type, goes through PyObject_GetBuffer, which raises the errors. */
static inline int lend(PyObject *object, Py_buffer *view, int flags)
{
    if (lend_is_array(object)) {
        PyArrayObject *a = (PyArrayObject *)object;
        const PyArray_Descr *dtype = PyArray_DESCR(a);
        const int own = PyArray_FLAGS(a);
        const char *format = PyArray_ISNBO(dtype->byteorder) ? lend_format(dtype->type_num, &view->itemsize) : NULL;
        if (format != NULL && (own & NPY_ARRAY_WRITEABLE || !(flags & PyBUF_WRITABLE))
            && (own & NPY_ARRAY_C_CONTIGUOUS || (flags & PyBUF_C_CONTIGUOUS) != PyBUF_C_CONTIGUOUS)) {
            view->obj = NULL;
            view->buf = PyArray_DATA(a);
            view->format = (char *)format;
            view->ndim = PyArray_NDIM(a);
            view->shape = (Py_ssize_t *)PyArray_DIMS(a);
            view->strides = (Py_ssize_t *)PyArray_STRIDES(a);
            view->suboffsets = NULL;
            view->internal = NULL;
            view->readonly = !(own & NPY_ARRAY_WRITEABLE);
            view->len = view->itemsize;
            for (int i = 0; i < view->ndim; i++)
                view->len *= view->shape[i];
            return 0;
        }
    }
    return PyObject_GetBuffer(object, view, flags);
}

/* 1 for a view that `lend` took without the buffer protocol: it holds nothing. */
static inline int lend_is_lent(const Py_buffer *view) { return view->obj == NULL; }

/* 1 for an ndarray or a subclass. */
static inline int lend_has_base(PyObject *object)
{
    return lend_ndarray != NULL && PyObject_TypeCheck(object, lend_ndarray);
}

/* The owner of the array's memory, which the array holds: its base, or the object behind a memoryview that is its base.
   NULL if the array owns it, or if it cannot be moved: that of a bytearray, or of the bytes of a pickle, into which
   NumPy lets the array write. A memoryview that has been released keeps nothing, and is itself returned. */
static inline PyObject *lend_owner(PyObject *array)
{
    PyObject *base, *owner;
    if (lend_has_base(array))
        base = PyArray_BASE((PyArrayObject *)array);
    else if ((base = PyObject_GetAttrString(array, "base")) != NULL)
        Py_DECREF(base);
    else
        PyErr_Clear();
    if (base == NULL || base == Py_None)
        return NULL;
    owner = base;
    if (PyMemoryView_Check(base)) {
        const PyMemoryViewObject *view = (PyMemoryViewObject *)base;
        if (view->flags & _Py_MEMORYVIEW_RELEASED)
            return base;
        owner = view->view.obj;
    }
    return owner != NULL && (PyByteArray_CheckExact(owner) || PyBytes_CheckExact(owner)) ? NULL : owner;
}

#endif
