"""The sums over examples that Python calls: predictions, and Delta with the costs.

Each call works through the examples first .. last in blocks of B, with the GIL released, and returns the first example
that is not done; all examples before it are complete. It returns after about `budget` seconds at the latest, so that
the caller can check for Ctrl-C. A call that resumes there gives the same bits as one uninterrupted call.
"""

import fastbp._kernels  # no-cython-lint  (its capsule is bound below)

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDED, PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
)
from cpython.pycapsule cimport PyCapsule_New
from cython cimport final, floating
from libc.float cimport DBL_MAX as LARGEST
from libc.stdint cimport int64_t

from _backprop cimport team_want_stop
from _checked cimport (
    MOST, READ, WRITE, begin, block, changed, core_t, give_back, got, held_t, hold, is_of, own_plan, own_room,
    refusal, room, some, stays, take, take_work, values,
)
from _crew cimport crew_begin, crew_end, crew_free, crew_of, crew_reach, crew_t, hold_crew, run_job
from _kernels cimport (
    ROWS_F32, ROWS_F64, activate, bind_kernels, enter, f32, f64, fastbp_first_nonfinite, leave, load_rows,
    one_forward, output_of, plan_t, rows_t, to_panels, to_rows,
)
from _memory cimport PyObject, lend_ready, owner_of, shows
from _ranges cimport (
    accumulate_one_by_one, prediction_t, predict_part, run_ranges, stride_of, sum_block, sum_t, take_Delta, take_places,
)
from _sources cimport SOURCES, check_labels, fit, open_rows, ready, sources_t
from _turn cimport desk_leave, desk_t, desk_take_short

cdef extern from "thread.h" nogil:
    int fastbp_process()

bind_kernels()
lend_ready()


@final
cdef class Examples:
    """X, Y (dense targets or labels), weights and order, opened once and read in place.

    X : (m, s_1), Y : (m, K) or None, w : (m, 1) or None; float32, float64 or uint8, contiguous within rows
    labels : (m,) int64 or None; order : (any,) int64 or None. fastbp.engine.checks has checked their values.
    K : the number of classes. Labels are read in place, so those of the examples are compared with it again.
    """

    cdef sources_t sources
    cdef readonly object capsule    # of &sources, for _epoch

    def __cinit__(self, X, Y=None, labels=None, w=None, order=None, Py_ssize_t K=0):
        cdef sources_t *own = &self.sources
        cdef Py_ssize_t m
        self.capsule = PyCapsule_New(own, "fastbp.examples", NULL)
        own.data.w.data = own.data.Y.data = NULL
        own.data.labels = own.data.order = NULL
        open_rows(own, 0, X, "X", -1, &own.data.X)
        own.m = m = own.data.X.n
        if Y is not None:
            open_rows(own, 1, Y, "Y", m, &own.data.Y)
        if labels is not None:
            own.data.labels = self.integers(labels, "labels", 2)
            if own.views[2].shape[0] != m:
                raise ValueError(f"labels must be one for each of the {m} rows of X; got {own.views[2].shape[0]}")
        if w is not None:
            open_rows(own, 3, w, "w", m, &own.data.w)
            if own.views[3].shape[1] != 1:
                raise ValueError(f"w must have 1 column; got {own.views[3].shape[1]}")
        if order is not None:
            own.data.order = self.integers(order, "order", 4)
            if own.data.order != NULL:
                own.m = own.views[4].shape[0]
                self.check_order(m)
        if K:
            check_labels(own, own.m, K)

    cdef const int64_t *integers(self, array, str name, int i) except? NULL:
        """Source i, 1-D; NULL if it is empty."""
        cdef Py_buffer *view = &self.sources.views[i]
        try:
            PyObject_GetBuffer(array, view, READ)
        except (TypeError, ValueError, BufferError):
            raise refusal(array, name, b"q", 0, 0, 0, READ) from None
        self.sources.open[i], self.sources.owners[i] = True, owner_of(<PyObject *>array)
        if view.ndim != 1 or not is_of(view, b"q") or not shows(self.sources.owners[i], view, READ):
            raise refusal(array, name, b"q", 0, 0, 0, READ)
        return <const int64_t *>view.buf if view.shape[0] else NULL

    cdef int check_order(self, Py_ssize_t m) except -1:
        cdef Py_ssize_t i
        cdef const int64_t *order = self.sources.data.order
        for i in range(self.sources.m):
            if not 0 <= order[i] < m:
                raise ValueError(f"order[{i}] is {order[i]}; X has {m} rows")
        return 0

    def weight(self, Py_ssize_t first, Py_ssize_t last):
        """m of the examples first .. last: their number, or the sum of their weights."""
        cdef double w, total = 0
        cdef Py_ssize_t i
        ready(&self.sources, first, last)
        if self.sources.data.w.data == NULL:
            return <double>(last - first)
        for i in range(first, last):
            load_rows(&self.sources.data.w, self.sources.data.order, i, 1, 1, &w)
            total += w
        return total

    def __dealloc__(self):
        cdef int i
        for i in range(SOURCES):
            if self.sources.open[i]:
                PyBuffer_Release(&self.sources.views[i])


@final
cdef class Crew:
    """Threads that work with the thread that calls, or for it. They end with the crew.

    It serves one call at a time. A forked child has none of its threads.
    """

    cdef crew_t crew
    cdef readonly object capsule    # of &crew
    cdef int process

    def __cinit__(self, int n=0):
        crew_begin(&self.crew)
        self.capsule, self.process = PyCapsule_New(&self.crew, "fastbp.crew", NULL), fastbp_process()
        self.reach(n)

    def reach(self, int n):
        """Start threads until there are n, or as many as the system grants; returns their number."""
        if n > self.crew.n and self.here:
            hold_crew(&self.crew)
            with nogil:
                crew_reach(&self.crew, n)
                crew_free(&self.crew)
        return self.crew.n if self.here else 0

    @property
    def here(self):
        """False in a forked child: the threads stayed with the parent."""
        return self.process == fastbp_process()

    @property
    def jobs(self):
        """The number of jobs that each thread has done."""
        return [self.crew.workers[i].jobs for i in range(self.crew.n)]

    def want_stop(self):
        """Ask the present or the next call to end: after a step, or inside a long one, which is then not taken."""
        team_want_stop(&self.crew.team)

    def __dealloc__(self):
        crew_end(&self.crew, self.process != fastbp_process())


def panel(const floating[::1] theta not None):
    """The number of examples in a panel of theta's dtype; heights of blocks are multiples of it."""
    return f32().panel if floating is float else f64().panel


def predict(
    plan, theta, Examples examples not None, Py_ssize_t first, Py_ssize_t last, work, Py_ssize_t B, out, double budget,
    crew=None, bint apart=False,
):
    """out[i] := h(x(i)) for i = first .. last  ->  the first example not done.

    With `apart` a thread of the crew works, and the caller looks for Ctrl-C.
    """
    cdef core_t core
    cdef prediction_t call
    cdef crew_t alone
    cdef crew_t *members = crew_of(crew, Crew, 1, apart, &alone)
    core.held.n = 0
    try:
        begin(&core, plan, theta, "theta", READ)
        take_work(&core, work, B)
        ready(&examples.sources, first, last)
        fit(&examples.sources, &core.p, False)
        call.out = take(&core.held, out, "out", core.format, last, MOST, core.p.s[core.p.L - 1], WRITE)
        call.core, call.sources, call.first, call.last = &core, &examples.sources, first, last
        call.budget, call.team = budget, &members.team
        run_job(members, predict_part, &call, 1, False, apart)
        return call.first
    finally:
        give_back(&core.held)


cdef class Predictor:
    """h(x) of one example, with everything prepared: for callers that need every microsecond.

    It owns its workspace, which one call uses at a time. It is for small networks, and takes only arrays that need no
    conversion. Each call checks theta again; plan is copied.
    """

    cdef bytes plan, room
    cdef plan_t p
    cdef held_t held
    cdef desk_t desk
    cdef object theta, dtype, array, empty
    cdef void *work
    cdef Py_ssize_t B
    cdef int type
    cdef char char

    def __cinit__(self, plan, theta, Py_ssize_t B, array, empty):
        cdef core_t core
        self.plan = own_plan(plan, &self.p)
        hold(&self.held, theta, "net.theta", 0, self.p.n, READ)
        self.theta, self.dtype, self.B, self.array, self.empty = theta, theta.dtype, B, array, empty
        self.char = self.held.format
        self.type = ROWS_F32 if self.char == b"f" else ROWS_F64
        core.p, core.panel = self.p, f32().panel if self.char == b"f" else f64().panel
        self.room = own_room(block(&core, B) * (4 if self.char == b"f" else 8), &self.work)

    cdef bint run(self, floating *theta, floating *work, const floating *x, floating *h) noexcept nogil:
        """h := h(x)  ->  True if theta is finite; if not, h is unchanged."""
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
        """h(x), (K,), written to out or, if out is None, to a new array. Returns None, and writes nothing, if x or out
        is not a contiguous row of the network's dtype, if out overlaps theta, if x or theta is not finite, or if
        another thread is inside this method."""
        cdef Py_buffer view, into
        cdef rows_t rows
        cdef Py_ssize_t n = self.p.s[0], K = self.p.s[self.p.L - 1]
        cdef bint fine, same = True
        if type(x) is not self.array or (out is not None and type(out) is not self.array):
            return None
        if not got(x, &view, PyBUF_STRIDED_RO | PyBUF_FORMAT):      # fastbp.engine.checks raises the error
            return None
        rows.data, rows.stride, rows.type = view.buf, 0, self.type
        fine = self.is_row(&view, n) and shows(owner_of(<PyObject *>x), &view, 0)
        fine = fine and fastbp_first_nonfinite(&rows, 1, n, LARGEST) < 0
        if fine:
            result = self.empty(K, self.dtype) if out is None else out
            fine = got(result, &into, PyBUF_STRIDED | PyBUF_FORMAT)     # if read-only, fastbp.engine.checks raises it
            if fine:
                same = stays(&self.held)
                fine = same and self.is_row(&into, K) and not self.in_theta(&into)
                fine = fine and shows(owner_of(<PyObject *>result), &into, PyBUF_WRITABLE)
                fine = fine and desk_take_short(&self.desk, &into)
                if fine and self.type == ROWS_F32:
                    fine = self.run(<float *>self.held.data, <float *>self.work, <const float *>view.buf,
                                    <float *>into.buf)
                elif fine:
                    fine = self.run(<double *>self.held.data, <double *>self.work, <const double *>view.buf,
                                    <double *>into.buf)
                desk_leave(&self.desk, &into)
                PyBuffer_Release(&into)
        PyBuffer_Release(&view)
        if not same:
            raise changed(&self.held, "net.theta")
        return result if fine else None

    cdef bint in_theta(self, const Py_buffer *view) noexcept:
        """True if the view overlaps theta."""
        cdef size_t start = <size_t>self.held.data, at = <size_t>view.buf
        return at < start + <size_t>(self.p.n * view.itemsize) and start < at + <size_t>view.len

    cdef bint is_row(self, const Py_buffer *view, Py_ssize_t n) noexcept:
        """True if the view has n contiguous, aligned values of the network's dtype."""
        return (view.ndim == 1 and view.shape[0] == n and (view.strides[0] == view.itemsize or n == 1)
                and view.format[0] == self.char and view.format[1] == 0
                and <size_t>view.buf % <size_t>view.itemsize == 0)


def layer(Py_ssize_t unit, work, Py_ssize_t B, out):
    """out (m, s) := the values in panels at this unit of the workspace of the last block."""
    cdef core_t core
    cdef const Py_buffer *into
    cdef Py_ssize_t s
    core.held.n = 0
    try:
        core.work = take(&core.held, work, "work", 0, 0, MOST, 0, READ)
        core.format = core.held.views[0].format[0]
        core.panel, core.p.units = f32().panel if core.format == b"f" else f64().panel, 1
        block(&core, B)
        s = out.shape[1] if getattr(out, "ndim", 0) == 2 else 0
        take(&core.held, out, "out", core.format, 0, B, max(s, 1), WRITE)
        if unit < 0 or unit > core.held.views[0].shape[0] // B - s:
            raise ValueError(f"unit is {unit}; the workspace has {core.held.views[0].shape[0] // B}, out takes {s}")
        into = &core.held.views[1]
        with nogil:
            if core.format == b"f":
                to_rows(into.shape[0], s, <const float *>core.work + B * unit, <float *>into.buf, s)
            else:
                to_rows(into.shape[0], s, <const double *>core.work + B * unit, <double *>into.buf, s)
    finally:
        give_back(&core.held)


def accumulate(
    plan, theta, Examples examples not None, cuts, places, sums, Py_ssize_t run_of, work, Py_ssize_t B, costs,
    each, Delta, others, double budget, crew=None, int n=1, bint meet=False, bint apart=False,
):
    """Delta += sum over the examples of all ranges, in blocks of B  ->  True when it is complete.

    cuts (ranges + 1,): where the ranges begin and end. A range longer than run_of examples is summed run by run. sums
    (ranges,), initially zero, receives their costs. With an empty Delta only the costs are summed.
    places (seats, 2): the last range of each seat and its next example, kept from call to call; initially (-1, 0). A
    seat is in one range at a time. With `meet` all members work in the one seat.
    work, costs: for every seat a block, and a number for each of its panels.
    each: receives the costs of each panel, counted from example 0, unless empty; cuts must then lie between panels.
    others: room for the Deltas of ranges 1, 2, ..., and for one more per seat if there are runs; each of them takes
    `spaced(parameters)` values.
    If the crew is asked to stop, Delta is not usable.
    """
    cdef core_t core
    cdef sum_t call
    cdef Py_ssize_t ranges
    cdef crew_t alone
    cdef crew_t *members = crew_of(crew, Crew, n, apart, &alone)
    core.held.n = 0
    if run_of < 1:
        raise ValueError(f"run_of must be at least 1; got {run_of}")
    try:
        begin(&core, plan, theta, "theta", READ)
        take_places(&core.held, &call, cuts, places)
        ranges = call.ranges
        if meet and call.seats != 1:
            raise ValueError(f"places must have one row where members meet; got {call.seats}")
        call.sums = <double *>values(&core.held, sums, "sums", b"d", ranges, WRITE)
        core.work = room(&core.held, work, "work", core.format, call.seats * block(&core, B))
        ready(&examples.sources, call.cuts[0], call.cuts[ranges])
        fit(&examples.sources, &core.p, True, core.format)
        call.costs = <double *>room(&core.held, costs, "costs", b"d", call.seats * (B // core.panel))
        call.each = <double *>some(&core.held, each, "each", b"d",
                                   (call.cuts[ranges] + core.panel - 1) // core.panel, WRITE)
        call.core, call.sources, call.crew, call.run = &core, &examples.sources, members, run_of
        call.block, call.how = sum_block, NULL
        take_Delta(&core, &call, Delta, others)
        return run_ranges(&call, n, meet, apart, budget)
    finally:
        give_back(&core.held)


def spaced(Py_ssize_t n):
    """The values between two Deltas of n values."""
    return stride_of(n)


def accumulate_per_example(
    plan, theta, Examples examples not None, Py_ssize_t first, Py_ssize_t last, work, Py_ssize_t B, Delta, double cost,
    double budget,
):
    """The same sums by the textbook's loop, one example at a time  ->  (cost + costs, the first example not done)."""
    cdef core_t core
    cdef void *into
    core.held.n = 0
    try:
        begin(&core, plan, theta, "theta", READ)
        take_work(&core, work, B)
        ready(&examples.sources, first, last)
        fit(&examples.sources, &core.p, True, core.format)
        into = take(&core.held, Delta, "Delta", core.format, core.p.n, core.p.n, 0, WRITE)
        with nogil:
            if core.format == b"f":
                first = accumulate_one_by_one(<float *>into, &core, &examples.sources, first, last, &cost, budget)
            else:
                first = accumulate_one_by_one(<double *>into, &core, &examples.sources, first, last, &cost, budget)
        return cost, first
    finally:
        give_back(&core.held)
