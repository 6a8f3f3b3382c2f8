"""Owns the C kernels: chooses the instruction set at import, hands it to the other compiled modules, and lists the
closed sets for Python: activations, outputs, losses, update rules."""

import os

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_GetName, PyCapsule_GetPointer, PyCapsule_New
from cython cimport final, floating
from libc.stdint cimport int64_t

from _kernels cimport (
    ROWS_F32, ROWS_F64, f32, f64, fastbp_bind, fastbp_built, fastbp_first_nonfinite, fastbp_isas, isa_t, rows_t,
)
from _memory cimport PyObject, lend_ready, owner_of, shows
from _turn cimport give_turn, take_turn, turn_t


cdef extern from "lists.h":
    ctypedef struct output_t:
        const char *name
        double lowest
        double highest

    ctypedef struct loss_t:
        const char *name
        const char *parameter
        double usual
        double below

    ctypedef struct pair_t:
        const char *output
        const char *loss

    ctypedef struct rule_t:
        const char *name

    const char *const *activation_list
    const rule_t *rule_list
    const output_t *output_list
    const loss_t *loss_list
    const pair_t *pair_list


cdef _names(const isa_t *const *sets):
    names = []
    while sets[len(names)].name != NULL:
        names.append(sets[len(names)].name.decode())
    return tuple(names)


def _choose():
    """The best instruction set of this processor, or the one that FASTBP_ISA names."""
    wanted = os.environ.get("FASTBP_ISA", "")
    if wanted and wanted not in available:
        raise ImportError(
            f"FASTBP_ISA is {wanted!r}; this build and processor have {', '.join(available)}"
        )
    cdef Py_ssize_t index = available.index(wanted) if wanted else 0
    fastbp_bind(fastbp_isas()[index])
    return available[index]


lend_ready()
built = _names(fastbp_built())          # instruction sets of this build, best first
available = _names(fastbp_isas())      # those of them that this processor has
isa = _choose()
capsule = PyCapsule_New(<void *>fastbp_isas()[<Py_ssize_t>available.index(isa)], "fastbp._kernels.capsule", NULL)

activations = {}    # name -> code
outputs = {}        # name -> (code, lowest, highest)
losses = {}         # name -> (code, parameter or None, its usual value, its exclusive upper limit)
rules = {}          # name -> code
pairs = []          # (output, loss)

cdef Py_ssize_t i = 0
cdef object parameter
while activation_list[i] != NULL:
    activations[activation_list[i].decode()] = i
    i += 1
i = 0
while output_list[i].name != NULL:
    outputs[output_list[i].name.decode()] = (i, output_list[i].lowest, output_list[i].highest)
    i += 1
i = 0
while loss_list[i].name != NULL:
    parameter = loss_list[i].parameter.decode() if loss_list[i].parameter != NULL else None
    losses[loss_list[i].name.decode()] = (i, parameter, loss_list[i].usual, loss_list[i].below)
    i += 1
i = 0
while rule_list[i].name != NULL:
    rules[rule_list[i].name.decode()] = i
    i += 1
i = 0
while pair_list[i].output != NULL:
    pairs.append((pair_list[i].output.decode(), pair_list[i].loss.decode()))
    i += 1


cdef int forks = 0      # number of forks that led to this process since fastbp was imported


def _forked():
    """In a forked child: the other threads stayed with the parent."""
    global forks
    forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@final
cdef class Turn:
    """The right to change the parameters of a network, for one thread at a time: used by `with`, which raises a
    RuntimeError in any other thread."""

    cdef turn_t own
    cdef readonly object capsule    # of &own

    def __cinit__(self):
        self.own.forks = &forks
        self.capsule = PyCapsule_New(&self.own, "fastbp.turn", NULL)

    def __init__(self):     # refuses arguments
        pass

    def __enter__(self):
        take_turn(&self.own)
        return self

    def __exit__(self, *_):
        give_turn(&self.own)


def address(array):
    """The address of the memory of an array or a bytearray."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_STRIDED_RO)
    PyBuffer_Release(&view)
    return <size_t>view.buf


def first_outside(const int64_t[::1] labels not None, Py_ssize_t K):
    """The index of the first label that is not 0 .. K - 1; -1 if there is none."""
    cdef Py_ssize_t i
    check_owner(labels.base, "labels")
    for i in range(labels.shape[0]):
        if not 0 <= labels[i] < K:
            return i
    return -1


def units_differ(const floating[:, :] into not None, const floating[:, :] out_of not None):
    """True if no two units of a layer have the same sum of their weights; False for more than 128 units.

    into (units, any), out_of (any, units + 1): the Theta before the layer and the one after it.
    """
    cdef double sums[128]
    cdef Py_ssize_t i, j, n = into.shape[0]
    check_owner(into.base, "into")
    check_owner(out_of.base, "out_of")
    if n > 128 or out_of.shape[1] != n + 1:
        return False
    for i in range(n):
        sums[i] = 0
        for j in range(into.shape[1]):
            sums[i] += into[i, j]
        for j in range(out_of.shape[0]):
            sums[i] += out_of[j, i + 1]
        for j in range(i):
            if sums[j] == sums[i]:
                return False
    return True


def few_summed(costs):
    """The sum of at most 1024 numbers (m,), float32 or float64, in float64 and compensated; None for another array."""
    cdef Py_buffer view
    cdef double x, total = 0, lost = 0, more
    cdef const char *at
    cdef Py_ssize_t _i
    PyObject_GetBuffer(costs, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT)
    try:
        if view.ndim != 1 or view.shape[0] > 1024 or view.format[1] != 0 or (
            view.format[0] != b"f" and view.format[0] != b"d"
        ) or <size_t>view.buf % <size_t>view.itemsize or view.strides[0] % view.itemsize or not shows(
            owner_of(<PyObject *>costs), &view, 0
        ):
            return None
        at = <const char *>view.buf
        for _i in range(view.shape[0]):
            x = (<const float *>at)[0] if view.format[0] == b"f" else (<const double *>at)[0]
            more = total + (x - lost)
            lost = (more - total) - (x - lost)
            total, at = more, at + view.strides[0]
    finally:
        PyBuffer_Release(&view)
    return total


def low_level(function):
    """(address, signature, address of the user data) of a scipy.LowLevelCallable."""
    cdef const char *signature
    cdef void *user
    capsule = tuple.__getitem__(function, 0)
    signature = PyCapsule_GetName(capsule)
    if signature == NULL:
        raise ValueError("loss is a LowLevelCallable without a signature")
    user = PyCapsule_GetContext(capsule)
    return <size_t>PyCapsule_GetPointer(capsule, signature), signature.decode(), <size_t>user


def check_owner(array, str name="X", bint write=False):
    """Raise a ValueError if the array that this one is a view of has been resized or, with write, made read-only."""
    cdef Py_buffer view
    cdef bint there
    if getattr(array, "base", None) is None:
        return
    PyObject_GetBuffer(array, &view, PyBUF_STRIDED_RO)
    try:
        there = shows(owner_of(<PyObject *>array), &view, 0)
        if there and write and not shows(owner_of(<PyObject *>array), &view, PyBUF_WRITABLE):
            raise ValueError(f"{name} is read-only: the array that it is a view of has been made read-only")
    finally:
        PyBuffer_Release(&view)
    if not there:
        raise ValueError(f"{name} is a view of an array that has been resized: its memory is not where it was")


def first_nonfinite(const floating[:, :] X not None, double limit):
    """The flat index of the first NaN, infinite or too large value of X, rows contiguous; -1 if there is none."""
    cdef rows_t rows
    cdef Py_ssize_t found, m, n
    if X.shape[0] == 0 or X.shape[1] == 0:
        return -1
    if (X.shape[1] > 1 and X.strides[1] != <Py_ssize_t>sizeof(floating)) or <size_t>&X[0, 0] % sizeof(floating):
        raise ValueError("X must be contiguous within its rows, and aligned")
    check_owner(X.base)
    rows.data = &X[0, 0]
    rows.stride = X.strides[0]
    rows.type = ROWS_F32 if floating is float else ROWS_F64
    m, n = X.shape[0], X.shape[1]
    if rows.stride == n * <Py_ssize_t>sizeof(floating):    # no gaps: one long row
        m, n = 1, m * n
    with nogil:
        found = fastbp_first_nonfinite(&rows, m, n, limit)
    return found


def function(str name not None, const floating[::1] x not None, floating[::1] out not None):
    """out := f(x) by the vector code, so that tests can check its last bit; softmax takes x as one row."""
    cdef bytes encoded = name.encode()
    cdef const char *chars = encoded
    cdef bint known
    if x.shape[0] != out.shape[0] or x.shape[0] == 0:
        raise ValueError(f"x and out must have the same length, at least 1; got {x.shape[0]} and {out.shape[0]}")
    with nogil:
        if floating is float:
            known = f32().function(chars, x.shape[0], &x[0], &out[0])
        else:
            known = f64().function(chars, x.shape[0], &x[0], &out[0])
    if not known:
        raise ValueError(f"name is {name!r}, which is no vector function")
