"""Checks of the arrays that Python hands to the core, made where a pointer is taken. Whatever a caller passes, or
changes between two calls, the core never reads or writes outside an array.

Every call asks for the arrays again through Python's buffer protocol, because NumPy moves the memory of an array that
is resized even while its buffer is held. An object that keeps an array from call to call copies it or asks for it again
(held_t).
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from _backprop cimport CACHED, PANELS
from _kernels cimport G_COUNT, LOSS_CODES, LOSS_COUNT, LOSS_OWN_PYTHON, OUTPUT_COUNT, f32, f64, plan_t
from _memory cimport PyErr_Clear, PyObject, get_buffer, lend, lend_has_base, owner_of, refused, shows

cdef extern from *:
    """
    #define FASTBP_MOST ((Py_ssize_t)1 << 56)
    """
    const Py_ssize_t MOST "FASTBP_MOST"         # most values of theta, or of a workspace
    bytes PyBytes_FromStringAndSize(const char *, Py_ssize_t)
    char *PyBytes_AS_STRING(object)
    bint PyErr_ExceptionMatches(object) noexcept

cdef enum:
    READ = PyBUF_FORMAT | PyBUF_C_CONTIGUOUS
    WRITE = READ | PyBUF_WRITABLE
    ARRAYS = 12                 # most arrays of one call
    LARGEST_LAYER = 2147483646  # most units, as in fastbp/engine/plan.py
    LINE = 64                   # bytes of a cache line


# ---------------------------------------------------------------- arrays of one call

cdef struct arrays_t:           # held until the call ends
    Py_buffer views[ARRAYS]
    int n


cdef inline bint is_of(const Py_buffer *view, char format) noexcept:
    """True for aligned native values of this format: f, d, q (int64), or 0 for f and d."""
    cdef char found = view.format[0] if view.format != NULL else b"B"
    return (found == format or (format == b"q" and found == b"l" and view.itemsize == 8)
            or (format == 0 and (found == b"f" or found == b"d"))) and (
        view.format[1] == 0 and <size_t>view.buf % <size_t>view.itemsize == 0
    )


cdef inline int got(object array, Py_buffer *view, int flags) except -1:
    """view := the array's buffer; False, with nothing held, if its dtype has no buffer or the flags do not fit."""
    if lend(<PyObject *>array, view, flags) == 0:
        return True
    if not PyErr_ExceptionMatches(ValueError) and not PyErr_ExceptionMatches(BufferError):
        return -1
    PyErr_Clear()
    return False


cdef inline void *take(
    arrays_t *held, object array, str name, char format, Py_ssize_t least, Py_ssize_t most, Py_ssize_t columns,
    int flags
) except? NULL:
    """The start of an array: C-contiguous, (least .. most,), or (least .. most, columns) if columns is not 0."""
    cdef Py_buffer *view = &held.views[held.n]
    if get_buffer(<PyObject *>array, view, flags) < 0:
        refused()
        raise refusal(array, name, format, least, most, columns, flags)
    held.n += 1
    if not is_of(view, format) or view.ndim != (2 if columns else 1) or not least <= view.shape[0] <= most or (
        columns and view.shape[1] != columns
    ):
        raise refusal(array, name, format, least, most, columns, flags)
    return view.buf


cdef inline void *values(arrays_t *held, object array, str name, char format, Py_ssize_t n, int flags) except? NULL:
    """The start of an array of exactly n values."""
    return take(held, array, name, format, n, n, 0, flags)


cdef inline void *room(arrays_t *held, object array, str name, char format, Py_ssize_t least) except? NULL:
    """The start of a writable array with room for at least this many values."""
    return take(held, array, name, format, least, MOST, 0, WRITE)


cdef inline void *some(arrays_t *held, object array, str name, char format, Py_ssize_t least, int flags) except? NULL:
    """NULL if the array is empty, else the start of at least this many values."""
    cdef void *data = take(held, array, name, format, 0, MOST, 0, flags)
    if held.views[held.n - 1].shape[0] == 0:
        return NULL
    if held.views[held.n - 1].shape[0] < least:
        raise refusal(array, name, format, least, MOST, 0, flags)
    return data


cdef inline int give_back(arrays_t *held) except -1:
    while held.n:
        held.n -= 1
        PyBuffer_Release(&held.views[held.n])
    return 0


cdef inline object refusal(
    object array, str name, char format, Py_ssize_t least, Py_ssize_t most, Py_ssize_t columns, int flags
):
    """The error that says why the array cannot be taken."""
    cdef str dtype = {b"f": "float32", b"d": "float64", b"q": "int64"}.get(bytes([format]), "float32 or float64")
    cdef str n = str(least) if least == most else f"{least} or more"
    wanted = f"shape ({n}, {columns})" if columns else f"shape ({n},)"
    try:
        view = memoryview(array)
        shape, own, contiguous, frozen = view.shape, view.format, view.c_contiguous, view.readonly
        view.release()
    except (TypeError, ValueError, BufferError):
        return TypeError(f"{name} must be an array of {dtype}; got {type(array).__name__}")
    if frozen and flags & PyBUF_WRITABLE:
        return ValueError(f"{name} is read-only, but has to be written to; {name}.setflags(write=True) allows it")
    own = getattr(array, "dtype", own)
    return ValueError(f"{name} must have {wanted}, dtype {dtype} in native order, C-contiguous and aligned; got shape "
                      f"{shape}, dtype {own}{'' if contiguous else ', not contiguous'}")


# ---------------------------------------------------------------- the plan

cdef inline bytes own_plan(object plan, plan_t *p):
    """p := the checked network; its arrays lie in the returned copy, which no other code can change."""
    cdef Py_buffer view
    cdef bytes own
    if get_buffer(<PyObject *>plan, &view, READ) < 0:
        refused()
        raise refusal(plan, "plan", b"q", 8, 10, 0, READ)
    try:
        if not is_of(&view, b"q") or view.ndim != 2 or view.shape[1] < 3 or view.shape[0] not in (8, 10):
            raise ValueError("plan must be the code of a Plan: int64, C-contiguous, of 8 or 10 rows")
        own = PyBytes_FromStringAndSize(<const char *>view.buf, view.len)
        if not read_plan(<const int64_t *><void *>PyBytes_AS_STRING(own), view.shape[0], view.shape[1], p):
            raise ValueError("plan is the code of no network; it must be left as Plan made it")
    finally:
        PyBuffer_Release(&view)
    return own


cdef inline bint within(plan_t *p, int64_t at, Py_ssize_t units) noexcept:
    """True if units from `at` on may lie in the workspace; p.units grows to hold them."""
    if not 0 <= at < MOST:
        return False
    p.units = max(p.units, at + units)
    return True


cdef inline bint read_plan(const int64_t *code, Py_ssize_t rows, Py_ssize_t columns, plan_t *p) noexcept:
    """p := the matrix that _backprop.pxd describes  ->  True if it is valid."""
    cdef Py_ssize_t l, last = columns - 2, total = 0
    cdef bint fine
    p.L, p.n, p.units = columns - 1, 0, 0
    p.s, p.g, p.theta, p.a, p.z, p.delta, p.rows = (
        code, code + columns, code + 2 * columns, code + 3 * columns, code + 4 * columns, code + 5 * columns,
        code + 6 * columns
    )
    p.loss, p.y, p.w = <int>code[7 * columns], code[7 * columns + 1], code[7 * columns + 2]
    p.low = <int>code[p.L]
    memcpy(&p.parameter, code + columns + p.L, sizeof(double))
    p.seed, p.step, p.first = <uint64_t>p.theta[p.L], <uint64_t>p.a[p.L], p.z[p.L]
    p.own, p.user = p.delta[p.L], p.rows[p.L]
    p.drop, p.fed = NULL, p.a
    if rows > 8:
        p.drop, p.fed = code + 8 * columns, code + 9 * columns
    p.panels = 1
    for l in range(p.L):
        if not 1 <= p.s[l] <= LARGEST_LAYER:
            return False
        fine = p.a[l] >= 1 and within(p, p.a[l], p.s[l]) and within(p, p.rows[l], p.s[l])
        if l > 0:
            fine = fine and p.theta[l] == p.n and within(p, p.z[l], p.s[l]) and within(p, p.delta[l], p.s[l])
            fine = fine and 0 <= p.g[l] < (G_COUNT if l < last else OUTPUT_COUNT)
            p.n += p.s[l] * (p.s[l - 1] + 1)
            total += p.s[l] * p.s[l - 1]
            if p.s[l] * p.s[l - 1] > CACHED or total > 16 * CACHED:
                p.panels = PANELS
        if l < last and p.drop != NULL:
            fine = fine and within(p, p.fed[l], p.s[l]) and is_rate(p.drop[l])
        if not fine or p.n > MOST:
            return False
    return is_loss(code[7 * columns], p.own) and within(p, p.y, p.s[last]) and within(p, p.w, 1)


cdef inline bint is_loss(int64_t code, Py_ssize_t own) noexcept:
    """True for the code of a loss; a compiled one of the caller's own has an address."""
    return 0 <= code < LOSS_COUNT or (LOSS_COUNT <= code < LOSS_CODES and (own != 0) == (code != LOSS_OWN_PYTHON))


cdef inline bint is_rate(int64_t bits) noexcept:
    """True if the double with these bits is in [0, 1)."""
    cdef double rate
    memcpy(&rate, &bits, sizeof(double))
    return 0 <= rate < 1


# ---------------------------------------------------------------- theta and the workspace

cdef struct core_t:             # the arguments of nearly every call
    arrays_t held
    plan_t p
    char format                 # f or d: of theta, and of all arrays except costs and rates
    void *theta
    void *work
    Py_ssize_t B
    Py_ssize_t panel            # examples


cdef inline int begin(core_t *core, object plan, object theta, str name, int flags) except -1:
    """Take theta and the plan, whose copy is held too."""
    cdef bytes own = own_plan(plan, &core.p)
    get_buffer(<PyObject *>own, &core.held.views[core.held.n], 0)
    core.held.n += 1
    core.theta = values(&core.held, theta, name, 0, core.p.n, flags)
    cdef const Py_buffer *view = &core.held.views[core.held.n - 1]
    if not shows(owner_of(<PyObject *>theta), view, flags):
        raise moved(name, owner_of(<PyObject *>theta), flags)
    core.format = view.format[0]
    core.panel = f32().panel if core.format == b"f" else f64().panel
    return 0


cdef inline Py_ssize_t block(core_t *core, Py_ssize_t B) except -1:
    """The number of values in the workspace of a block of B examples."""
    core.B = B
    if B < 1 or B % core.panel or core.p.units > MOST // B:
        raise ValueError(f"B must be a multiple of the {core.panel} examples of a panel; got {B}")
    return B * core.p.units


cdef inline int take_work(core_t *core, object work, Py_ssize_t B) except -1:
    core.work = room(&core.held, work, "work", core.format, block(core, B))
    return 0


cdef inline bytes own_room(Py_ssize_t size, void **at):
    """at := `size` bytes from a cache line on, which no caller can move; they lie in the returned object."""
    cdef bytes own = PyBytes_FromStringAndSize(NULL, size + LINE)
    cdef char *data = PyBytes_AS_STRING(own)
    at[0] = data + (LINE - <size_t>data % LINE)
    return own


# ---------------------------------------------------------------- arrays that are kept from call to call

cdef struct held_t:             # an array of the caller; the object that keeps it has the reference
    PyObject *array
    PyObject *owner
    void *data
    Py_ssize_t n
    char format
    int flags
    bint fixed                  # memory that cannot be moved


cdef inline int hold(held_t *own, object array, str name, char format, Py_ssize_t n, int flags) except -1:
    """Take n values, which `stays` checks again before each use."""
    cdef arrays_t held
    held.n = 0
    try:
        own.data = values(&held, array, name, format, n, flags)
        own.array, own.n, own.flags, own.format = <PyObject *>array, n, flags, held.views[0].format[0]
        own.owner = owner_of(<PyObject *>array)
        if not shows(own.owner, &held.views[0], flags):
            raise moved(name, own.owner, flags)
        own.fixed = is_fixed(array)
    finally:
        give_back(&held)
    return 0


cdef inline bint is_fixed(object array):
    """True if its values lie in a bytearray: NumPy does not own it, and Python does not resize it while it is lent."""
    base = getattr(array, "base", None)
    return type(base) is bytearray or (type(base) is memoryview and type(base.obj) is bytearray)


cdef inline int stays(const held_t *own) except -1:
    """True if the array has the place, size, dtype and owner that it had when it was taken."""
    cdef Py_buffer view
    if lend(own.array, &view, own.flags) < 0:
        refused()
        return False
    try:
        return (view.buf == own.data and view.ndim == 1 and view.shape[0] == own.n and view.format[0] == own.format
                and view.format[1] == 0 and owner_of(own.array) == own.owner
                and shows(own.owner, &view, own.flags))
    finally:
        PyBuffer_Release(&view)


cdef inline object moved(str name, PyObject *owner, int flags):
    """The error of a view whose owner has been made read-only or resized."""
    while flags & PyBUF_WRITABLE and owner != NULL:
        if is_frozen(<object>owner):
            return ValueError(f"{name} is read-only, but has to be written to; {name}.setflags(write=True) allows it")
        owner = owner_of(owner) if lend_has_base(owner) else NULL
    return ValueError(f"{name} has been resized: its memory is not where it was")


cdef inline bint is_frozen(object owner):
    try:
        return memoryview(owner).readonly
    except (TypeError, ValueError, BufferError):
        return False


cdef inline object changed(const held_t *own, str name):
    """The error that says what happened to the array."""
    cdef arrays_t held
    held.n = 0
    try:
        data = <size_t>values(&held, <object>own.array, name, b"q" if own.format == b"l" else own.format, own.n,
                              own.flags)
    except (TypeError, ValueError) as error:
        return type(error)(f"{name} has been changed since it was taken: {error}")
    finally:
        give_back(&held)
    return moved(name, owner_of(own.array) if data == <size_t>own.data else NULL, own.flags)
