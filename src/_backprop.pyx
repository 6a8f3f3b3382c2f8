"""The sums over examples that Python asks for: predictions, and Delta with the costs.

Each call works on the examples first .. last in blocks of B, GIL released, and returns the first example it
has not done: at the latest after about `budget` seconds, so that the caller can look for Ctrl-C. What it has
done is complete; called again from there it goes on with the same bits as if it had never stopped.
"""

import fastbp._kernels  # no-cython-lint  (its capsule is bound below)

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDED, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.pycapsule cimport PyCapsule_New
from cython cimport floating
from libc.float cimport DBL_MAX as LARGEST
from libc.stdint cimport int64_t

from _backprop cimport (
    accumulate_block, accumulate_example, forward, load, open_rows, read_plan, team_abandon, team_begin,
    team_t, team_want_stop,
)
from _kernels cimport (
    ROWS_F32, ROWS_F64, activate, bind_kernels, enter, examples_t, f32, f64, fastbp_first_nonfinite, leave, load_rows,
    one_forward, output_of, plan_t, rows_t, seconds, to_panels, to_rows,
)

bind_kernels()


cdef class Examples:
    """X, Y (dense targets or labels), weights and order, opened once and read where they lie.

    X : (m, s_1), Y : (m, K) or None, w : (m, 1) or None; float32, float64 or uint8, contiguous within rows
    labels : (m,) int64 or None; order : (any,) int64 or None. Checked by fastbp.checks before they come here.
    """

    cdef examples_t data
    cdef Py_buffer X, Y, w
    cdef const int64_t[::1] labels, order
    cdef int opened     # bits, 0 at first
    cdef readonly object capsule    # of &data, for _epoch

    def __cinit__(self, X, Y=None, const int64_t[::1] labels=None, w=None, const int64_t[::1] order=None):
        self.capsule = PyCapsule_New(&self.data, "fastbp.examples", NULL)
        self.data.w.data = self.data.Y.data = NULL
        open_rows(X, &self.X, &self.data.X)
        self.opened = 1
        if Y is not None:
            open_rows(Y, &self.Y, &self.data.Y)
            self.opened |= 2
        if w is not None:
            open_rows(w, &self.w, &self.data.w)
            self.opened |= 4
        self.labels, self.order = labels, order
        self.data.labels = &labels[0] if labels is not None and labels.shape[0] else NULL
        self.data.order = &order[0] if order is not None and order.shape[0] else NULL

    def weight(self, Py_ssize_t first, Py_ssize_t last):
        """m of the examples first .. last: their number, or the sum of their weights."""
        cdef double w, total = 0
        cdef Py_ssize_t i
        if self.data.w.data == NULL:
            return <double>(last - first)
        for i in range(first, last):
            load_rows(&self.data.w, self.data.order, i, 1, 1, &w)
            total += w
        return total

    def __dealloc__(self):
        if self.opened & 1:
            PyBuffer_Release(&self.X)
        if self.opened & 2:
            PyBuffer_Release(&self.Y)
        if self.opened & 4:
            PyBuffer_Release(&self.w)


cdef class Team:
    """Members 0 .. n - 1 that run one loop together, each in a thread of its own."""

    cdef team_t team
    cdef readonly object capsule

    def __cinit__(self, int n):
        team_begin(&self.team, n)
        self.capsule = PyCapsule_New(&self.team, "fastbp.team", NULL)

    @property
    def n(self):
        return self.team.n

    def want_stop(self):
        """Let the loop end: after the step it is at, or inside it, undone, where that takes long."""
        if self.team.wanted == 0:
            team_want_stop(&self.team)

    @property
    def stopping(self):
        """Is it to end?"""
        return self.team.wanted != 0

    def abandon(self):
        """A member cannot come: the others leave before their next step."""
        team_abandon(&self.team)


def lead(put, job, finished, stop):
    """put(job), then wait in finished() until another thread has done it. Whatever strikes the caller meanwhile, such
    as Ctrl-C, any number of times, asks the job to stop() and is raised when it has: no bytecode, where a signal could
    be answered, runs in between."""
    struck = None
    put(job)
    while True:
        try:
            finished()
            break
        except BaseException as error:
            struck = error if struck is None else struck
            stop()
    if struck is not None:
        raise struck


def panel(floating[::1] theta):
    """Examples of a panel in theta's dtype: blocks are multiples of it."""
    return f32().panel if floating is float else f64().panel


def predict(
    const int64_t[:, ::1] plan, const floating[::1] theta, Examples examples, Py_ssize_t first, Py_ssize_t last,
    floating[::1] work, Py_ssize_t B, floating[:, ::1] out, double budget, Team team,
):
    """out[i] := h(x(i)) for i = first .. last  ->  the first example not done"""
    cdef plan_t p = read_plan(plan)
    cdef Py_ssize_t m, end_l = p.L - 1, K = p.s[end_l], i = first
    cdef floating *w = &work[0]
    cdef double end = seconds() + budget
    cdef unsigned callers
    with nogil:
        callers = enter()
        while i < last:
            m = min(B, last - i)
            load(&p, &examples.data, i, m, w, B, 0, w + B * p.a[0])
            forward(&p, &theta[0], m, <const floating *>(w + B * p.a[0]), w, B, 0, 0, False, &team.team)
            if team.team.cut:
                break
            output_of(<int>p.g[end_l], m, K, <const floating *>(w + B * p.z[end_l]), w + B * p.a[end_l])
            to_rows(m, K, <const floating *>(w + B * p.a[end_l]), &out[i, 0], K)
            i += m
            if seconds() > end:
                break
        leave(callers)
    return i


cdef class Predictor:
    """h(x) of one example with everything at hand: for callers to whom a microsecond counts.

    Holds the GIL, and with it its workspace; networks are small here. Takes only what needs no conversion.
    """

    cdef const int64_t[:, ::1] plan
    cdef plan_t p
    cdef object theta, work, array, empty
    cdef void *theta_data
    cdef void *work_data
    cdef Py_ssize_t B
    cdef int type
    cdef char char

    def __cinit__(self, const int64_t[:, ::1] plan, theta, work, Py_ssize_t B, array, empty):
        cdef Py_buffer view
        self.plan, self.theta, self.work, self.B, self.array, self.empty = plan, theta, work, B, array, empty
        self.p = read_plan(plan)
        self.char = ord(theta.dtype.char)
        self.type = ROWS_F32 if self.char == b"f" else ROWS_F64
        PyObject_GetBuffer(theta, &view, PyBUF_STRIDED_RO)
        self.theta_data = view.buf
        PyBuffer_Release(&view)
        PyObject_GetBuffer(work, &view, PyBUF_STRIDED_RO)
        self.work_data = view.buf
        PyBuffer_Release(&view)

    cdef bint run(self, floating *theta, floating *work, const floating *x, floating *h) noexcept nogil:
        """h := h(x)  ->  is theta finite? If not, h is as it was."""
        cdef Py_ssize_t l, n = 0, k, last = self.p.L - 1, B = self.B
        cdef const floating *a = x
        cdef floating *z = work
        cdef bint fine = True
        cdef unsigned callers = enter()
        for l in range(1, last + 1):
            n, k, z = self.p.s[l], self.p.s[l - 1], work + B * self.p.rows[l]
            fine &= one_forward(n, k, <const floating *>theta + self.p.theta[l], a, z)
            if l < last:
                activate(<int>self.p.g[l], n, <const floating *>z, work + B * self.p.a[l], <floating *>NULL)
                a = work + B * self.p.a[l]
        if fine:
            to_panels(1, n, <const floating *>z, n, work + B * self.p.z[last])
            output_of(<int>self.p.g[last], 1, n, <const floating *>(work + B * self.p.z[last]),
                      work + B * self.p.a[last])
            to_rows(1, n, <const floating *>(work + B * self.p.a[last]), h, n)
        leave(callers)
        return fine

    def predict(self, x, out):
        """h(x), (K,), into out or, where that is None, a new array; None, with nothing written, where x or out is no
        contiguous row of the network's dtype, or x or theta is not finite."""
        cdef Py_buffer view, into
        cdef rows_t rows
        cdef Py_ssize_t n = self.p.s[0], K = self.p.s[self.p.L - 1]
        cdef bint fine
        if type(x) is not self.array or (out is not None and type(out) is not self.array):
            return None
        try:
            PyObject_GetBuffer(x, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        except (BufferError, ValueError):       # a dtype that is no buffer: fastbp.checks tells
            return None
        rows.data, rows.stride, rows.type = view.buf, 0, self.type
        fine = self.is_row(&view, n) and fastbp_first_nonfinite(&rows, 1, n, LARGEST) < 0
        if fine:
            result = self.empty(K, self.theta.dtype) if out is None else out
            try:
                PyObject_GetBuffer(result, &into, PyBUF_STRIDED | PyBUF_FORMAT)
            except (BufferError, ValueError):   # read-only: fastbp.checks tells
                fine = False
            else:
                fine = self.is_row(&into, K)
                if fine and self.type == ROWS_F32:
                    fine = self.run(<float *>self.theta_data, <float *>self.work_data, <const float *>view.buf,
                                    <float *>into.buf)
                elif fine:
                    fine = self.run(<double *>self.theta_data, <double *>self.work_data, <const double *>view.buf,
                                    <double *>into.buf)
                PyBuffer_Release(&into)
        PyBuffer_Release(&view)
        return result if fine else None

    cdef bint is_row(self, const Py_buffer *view, Py_ssize_t n) noexcept:
        """n values side by side, aligned, of the network's dtype?"""
        return (view.ndim == 1 and view.shape[0] == n and (view.strides[0] == view.itemsize or n == 1)
                and view.format[0] == self.char and view.format[1] == 0
                and <size_t>view.buf % <size_t>view.itemsize == 0)


def layer(Py_ssize_t unit, const floating[::1] work, Py_ssize_t B, floating[:, ::1] out):
    """out (m, s) := what lies in panels at this unit of the workspace of the last block"""
    with nogil:
        to_rows(out.shape[0], out.shape[1], &work[0] + B * unit, &out[0, 0], out.shape[1])


def accumulate(
    const int64_t[:, ::1] plan, const floating[::1] theta, Examples examples, Py_ssize_t first, Py_ssize_t last,
    floating[::1] work, Py_ssize_t B, double[::1] costs, double[::1] each, floating[::1] Delta, double cost,
    double budget, Team team,
):
    """Delta += sum over the examples first .. last, in blocks  ->  (cost + their costs, the first example not done)

    each, or empty: receives the costs of each panel, its examples counted from 0; first is that of a panel then.
    An empty Delta asks for the costs alone. When the team is asked to stop, what is in Delta is of no use.
    """
    cdef plan_t p = read_plan(plan)
    cdef Py_ssize_t m, k, width = f32().panel if floating is float else f64().panel, i = first
    cdef double end = seconds() + budget
    cdef floating *into = &Delta[0] if Delta.shape[0] else NULL
    cdef unsigned callers
    with nogil:
        callers = enter()
        while i < last and team.team.wanted == 0:
            m = min(B, last - i)
            cost += accumulate_block(
                &p, &theta[0], &examples.data, i, m, &work[0], B, True, into, &costs[0], &team.team, 0
            )
            if each.shape[0]:
                for k in range((m + width - 1) // width):
                    each[i // width + k] = costs[k]
            i += m
            if seconds() > end:
                break
        leave(callers)
    return cost, i


def accumulate_per_example(
    const int64_t[:, ::1] plan, const floating[::1] theta, Examples examples, Py_ssize_t first, Py_ssize_t last,
    floating[::1] work, Py_ssize_t B, floating[::1] Delta, double cost, double budget,
):
    """The same sums by the textbook's loop, one example at a time  ->  (cost + costs, the first example not done)"""
    cdef plan_t p = read_plan(plan)
    cdef Py_ssize_t i = first
    cdef double end = seconds() + budget
    cdef unsigned callers
    with nogil:
        callers = enter()
        while i < last:
            cost += accumulate_example(&p, &theta[0], &examples.data, i, &work[0], B, &Delta[0])
            i += 1
            if (i % 16 == 0 or p.panels > 1) and seconds() > end:
                break
        leave(callers)
    return cost, i
