"""Passes whose delta(L) comes from outside: the caller's own losses, derivatives with respect to X and of each example.

The functions work through ranges of examples in blocks of B, as `accumulate` of _backprop.pyx does. `Pass` has
everything prepared, for callers that need every microsecond.
"""

import fastbp._kernels  # no-cython-lint  (its capsule is bound below)

from cpython.pycapsule cimport PyCapsule_GetPointer
from cython cimport final, floating
from libc.float cimport DBL_MAX as LARGEST
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy, memset

from _backprop cimport team_begin, team_t
from _checked cimport (
    MOST, READ, WRITE, arrays_t, core_t, give_back, got, own_plan, own_room, take, values,
)
from _crew cimport crew_of, crew_t
from _kernels cimport (
    ROWS_F32, ROWS_F64, bind_kernels, enter, examples_t, f32, f64, fastbp_first_nonfinite, leave, load_rows, plan_t,
    rows_t, to_rows,
)
from _memory cimport PyObject, lend_ready, owner_of, shows
from _outside cimport backward_block, backward_part, begin_pass, forward_block, forward_part, pass_t
from _ranges cimport run_ranges, sum_t, take_Delta
from _rule cimport check_rule, rule_t
from _sources cimport fit, ready, sources_of, sources_t
from _steps cimport take_step
from _taken cimport take_rows, take_theta
from _turn cimport desk_leave, desk_t, desk_take, give_turn, take_turn

from fastbp._backprop import Crew, Examples
from fastbp._epoch import Rule

bind_kernels()
lend_ready()

cdef enum:
    ROUND = 64      # examples by which the workspace of a Pass grows


def forward(
    plan, theta, examples, cuts, places, work, Py_ssize_t B, bint kept, z, double budget, crew=None, int n=1,
    bint apart=False,
):
    """z[i - cuts[0]] := z(L) of the examples i of all ranges  ->  True when it is complete.

    cuts, places: as for fastbp._backprop.accumulate. work: a block for every seat; if kept, one for each block of the
    examples, which `backward` uses.
    """
    cdef core_t core
    cdef pass_t how
    cdef sum_t call
    cdef crew_t alone
    call.crew = crew_of(crew, Crew, n, apart, &alone)
    core.held.n, how.kept = 0, kept
    try:
        begin_pass(&core, &how, &call, sources_of(examples, Examples), plan, theta, cuts, places, work, B)
        how.z = take(&core.held, z, "z", core.format, call.cuts[call.ranges] - how.base, MOST,
                     core.p.s[core.p.L - 1], WRITE)
        call.block, call.Delta = forward_part, NULL
        return run_ranges(&call, n, False, apart, budget)
    finally:
        give_back(&core.held)


def backward(
    plan, theta, examples, cuts, places, Py_ssize_t run_of, work, Py_ssize_t B, bint kept, G, bint of_h, Delta, others,
    dX, double budget, crew=None, int n=1, bint apart=False,
):
    """Delta += the sum over the examples of all ranges for delta(L) = G, (any, K), row 0 of example cuts[0]  ->  True
    when it is complete.

    of_h: G is dJ/dh. Delta may be empty. dX, (any, s_1) with row 0 of example cuts[0], receives dJ/dX unless it has no
    rows. kept: `forward` has been run on the same work, which has a block for each block of the examples; otherwise
    this runs it. cuts, places, run_of, others: as for fastbp._backprop.accumulate; run_of is a multiple of B.
    """
    cdef core_t core
    cdef pass_t how
    cdef sum_t call
    cdef Py_ssize_t m
    cdef crew_t alone
    call.crew = crew_of(crew, Crew, n, apart, &alone)
    core.held.n, how.kept, how.of_h = 0, kept, of_h
    try:
        begin_pass(&core, &how, &call, sources_of(examples, Examples), plan, theta, cuts, places, work, B)
        if run_of < B or run_of % B:
            raise ValueError(f"run_of must be a multiple of {B}; got {run_of}")
        call.run, m = run_of, call.cuts[call.ranges] - how.base
        how.G = take(&core.held, G, "G", core.format, m, MOST, core.p.s[core.p.L - 1], READ)
        take_Delta(&core, &call, Delta, others)
        how.dX = take(&core.held, dX, "dX", core.format, 0, MOST, core.p.s[0], WRITE)
        if core.held.views[core.held.n - 1].shape[0] == 0:
            how.dX = NULL
        elif core.held.views[core.held.n - 1].shape[0] < m:
            raise ValueError(f"dX must have a row for each of the {m} examples, or none; got {len(dX)}")
        call.block = backward_part
        return run_ranges(&call, n, False, apart, budget)
    finally:
        give_back(&core.held)


@final
cdef class Pass:
    """The passes of a network over a few examples. Every method returns None, with nothing written, if the layers above
    must check an argument first, or if another call is using this object.

    plan, dtype : of the network; the plan is copied
    most : the largest number of examples in a call
    keeps : True keeps each forward pass for a backward pass through the same X at the same theta, seed and step
    array, empty : numpy.ndarray, numpy.empty

    It owns its workspace, which grows on demand, and which one call uses at a time.
    """

    cdef plan_t p
    cdef team_t alone
    cdef desk_t desk
    cdef object dtype, array, empty, last   # last: the X of the kept forward pass
    cdef bytes plan, block, Xs, Gs, Deltas, thetas
    cdef void *work
    cdef void *X            # rows of the last call
    cdef void *G
    cdef void *Delta
    cdef void *theta        # of the kept forward pass
    cdef Py_ssize_t B, m, most, size
    cdef bint keeps
    cdef bint row           # X of the last call was one row
    cdef char format

    def __cinit__(self, plan, dtype, Py_ssize_t most, bint keeps, array, empty):
        self.plan = own_plan(plan, &self.p)
        if dtype.char not in ("f", "d"):
            raise ValueError(f"dtype must be float32 or float64; got {dtype}")
        if not 0 <= most <= 2**20:
            raise ValueError(f"most must be 0 to {2**20}; got {most}")
        self.format = ord(dtype.char)
        self.size = 4 if self.format == b"f" else 8
        self.dtype, self.most, self.keeps, self.array, self.empty = dtype, most, keeps, array, empty
        self.Deltas = own_room(self.p.n * self.size, &self.Delta)
        self.thetas = own_room((self.p.n if keeps else 0) * self.size, &self.theta)
        self.p.first = 0
        team_begin(&self.alone, 1)

    cdef int grow(self, Py_ssize_t m) except -1:
        """Make room for m examples"""
        cdef Py_ssize_t B, panel = f32().panel if self.format == b"f" else f64().panel
        if m > self.B:
            B = ((m + ROUND - 1) // ROUND * ROUND + panel - 1) // panel * panel
            if self.p.units > MOST // B:
                raise MemoryError
            self.B = 0
            self.block = own_room(B * self.p.units * self.size, &self.work)
            self.Xs = own_room(B * self.p.s[0] * self.size, &self.X)
            self.Gs = own_room(B * self.p.s[self.p.L - 1] * self.size, &self.G)
            self.B = B
        return 0

    cdef int end(self, arrays_t *held) except -1:
        desk_leave(&self.desk, held)
        return give_back(held)

    cdef void load(self, const rows_t *rows, Py_ssize_t m, Py_ssize_t s, void *into) noexcept nogil:
        """into (m, s) := the rows, in the network's dtype"""
        if self.format == b"f":
            load_rows(rows, NULL, 0, m, s, <float *>into)
        else:
            load_rows(rows, NULL, 0, m, s, <double *>into)

    cdef void rows_of(self, examples_t *data, Py_ssize_t m) noexcept nogil:
        """data := the rows of the last call"""
        data.order, data.w.data, data.labels, data.Y.data = NULL, NULL, NULL, NULL
        data.X.data, data.X.n, data.X.stride = self.X, m, self.p.s[0] * self.size
        data.X.type = ROWS_F32 if self.format == b"f" else ROWS_F64

    cdef void go_forward(self, floating *_, const void *theta, Py_ssize_t m) noexcept nogil:
        """The forward pass through the rows of the last call"""
        cdef examples_t data
        cdef unsigned callers = enter()
        self.rows_of(&data, m)
        forward_block(&self.p, <const floating *>theta, &data, 0, m, <floating *>self.work, self.B, True, &self.alone)
        leave(callers)

    cdef void go_back(self, floating *Delta, const void *theta, Py_ssize_t m, bint of_h, void *dX) noexcept nogil:
        """The backward pass through the rows of the last call"""
        cdef examples_t data
        cdef unsigned callers = enter()
        self.rows_of(&data, m)
        memset(Delta, 0, self.p.n * sizeof(floating))
        backward_block(&self.p, <const floating *>theta, &data, 0, m, <const floating *>self.G, of_h,
                       <floating *>self.work, self.B, Delta, <floating *>dX, &self.alone)
        leave(callers)

    cdef Py_ssize_t take_examples(
        self, arrays_t *held, examples, Py_ssize_t first, Py_ssize_t last, theta, const void **at
    ) except -1:
        """`take_X` for the examples first .. last of an Examples"""
        cdef sources_t *sources = sources_of(examples, Examples)
        cdef Py_ssize_t m = last - first
        if not desk_take(&self.desk, held):
            return 0
        self.last, self.row = None, False
        if not 0 < m <= self.most or not take_theta(held, theta, at, self.p.n, self.format):
            return 0
        ready(sources, first, last)
        fit(sources, &self.p, False)
        self.grow(m)
        if self.format == b"f":
            load_rows(&sources.data.X, sources.data.order, first, m, self.p.s[0], <float *>self.X)
        else:
            load_rows(&sources.data.X, sources.data.order, first, m, self.p.s[0], <double *>self.X)
        return m

    cdef Py_ssize_t take_X(self, arrays_t *held, X, theta, const void **at) except -1:
        """at := theta; the rows of the last call := X  ->  their number, or 0 if they cannot be taken"""
        cdef rows_t rows
        if type(X) is not self.array or type(theta) is not self.array or not (
            desk_take(&self.desk, held) and take_theta(held, theta, at, self.p.n, self.format)
            and take_rows(held, X, &rows, self.most, self.p.s[0], True, self.format, self.dtype)
        ):
            return 0
        self.last, self.row = None, X.ndim == 1
        self.grow(rows.n)
        self.load(&rows, rows.n, self.p.s[0], self.X)
        return rows.n

    def forward(self, X, theta, uint64_t seed=0, uint64_t step=0, Py_ssize_t first=0, Py_ssize_t last=0):
        """z(L) of the examples, (m, K), or (K,) for one row; seed and step choose the masks of dropout.

        X may be a fastbp._backprop.Examples; then first .. last select the examples, also in `step` and `backward`.
        """
        cdef arrays_t held
        cdef const void *at
        cdef void *into
        cdef Py_ssize_t m, K = self.p.s[self.p.L - 1]
        held.n = 0
        try:
            if type(X) is Examples:
                m = self.take_examples(&held, X, first, last, theta, &at)
            else:
                m = self.take_X(&held, X, theta, &at)
            if m == 0:
                return None
            self.p.seed, self.p.step = seed, step
            if self.row:
                z = self.empty(K, self.dtype)
                into = values(&held, z, "z", self.format, K, WRITE)
            else:
                z = self.empty((m, K), self.dtype)
                into = take(&held, z, "z", self.format, m, m, K, WRITE)
            if self.format == b"f":
                self.go_forward(<float *>NULL, at, m)
                to_rows(m, K, <const float *>self.work + self.B * self.p.z[self.p.L - 1], <float *>into, K)
            else:
                self.go_forward(<double *>NULL, at, m)
                to_rows(m, K, <const double *>self.work + self.B * self.p.z[self.p.L - 1], <double *>into, K)
            if self.keeps:
                memcpy(self.theta, at, self.p.n * self.size)
                self.last, self.m = X, m
            return z
        finally:
            self.end(&held)

    cdef Py_ssize_t resume(self, arrays_t *held, X, theta, const void **at, uint64_t seed, uint64_t step) except -1:
        """at := theta  ->  the number of examples of the kept forward pass, or 0 if it was another one"""
        if not desk_take(&self.desk, held) or self.last is None or X is not self.last or seed != self.p.seed or (
            step != self.p.step or type(theta) is not self.array
            or not take_theta(held, theta, at, self.p.n, self.format)
            or memcmp(at[0], self.theta, self.p.n * self.size) != 0
        ):
            return 0
        return self.m

    cdef Py_ssize_t take_all(
        self, arrays_t *held, X, G, theta, const void **at, uint64_t seed, uint64_t step, bint *again
    ) except -1:
        """at := theta, and G  ->  the number of examples, or 0 if they cannot be taken; again: their forward pass is
        not kept"""
        cdef rows_t rows
        cdef Py_ssize_t m = self.resume(held, X, theta, at, seed, step), K = self.p.s[self.p.L - 1]
        again[0] = m == 0
        if again[0]:
            give_back(held)
            m = 0 if self.p.drop != NULL else self.take_X(held, X, theta, at)
        if m == 0 or G.ndim != (1 if self.row else 2) or not take_rows(
            held, G, &rows, m, K, self.row, self.format, self.dtype
        ) or rows.n != m:
            return 0
        self.load(&rows, m, K, self.G)
        return m

    cdef void go(self, const void *theta, Py_ssize_t m, bint of_h, void *dX, bint again) noexcept:
        """Delta, and dX, of the examples that have been taken"""
        self.last = None        # the backward pass overwrites it
        if self.format == b"f":
            if again:
                self.go_forward(<float *>NULL, theta, m)
            self.go_back(<float *>self.Delta, theta, m, of_h, dX)
        else:
            if again:
                self.go_forward(<double *>NULL, theta, m)
            self.go_back(<double *>self.Delta, theta, m, of_h, dX)

    def backward(self, X, G, theta, bint of_h=False, bint inputs=False, out=None, uint64_t seed=0, uint64_t step=0):
        """D, or (D, dJ/dX), for G = dJ/dz(L), or dJ/dh if of_h is True; G has the shape of the result of `forward`.

        With dropout there must be a kept forward pass.
        """
        cdef arrays_t held
        cdef const void *at
        cdef void *D
        cdef void *dX = NULL
        cdef Py_ssize_t m
        cdef bint again
        held.n = 0
        if type(G) is not self.array or (out is not None and type(out) is not self.array):
            return None
        try:
            m = self.take_all(&held, X, G, theta, &at, seed, step, &again)
            if m == 0:
                return None
            result = self.empty(self.p.n, self.dtype) if out is None else out
            if not self.take_out(&held, result, <const char *>at, &D):
                return None
            if inputs and self.row:
                slopes = self.empty(self.p.s[0], self.dtype)
                dX = values(&held, slopes, "dX", self.format, self.p.s[0], WRITE)
            elif inputs:
                slopes = self.empty((m, self.p.s[0]), self.dtype)
                dX = take(&held, slopes, "dX", self.format, m, m, self.p.s[0], WRITE)
            self.go(at, m, of_h, dX, again)
            memcpy(D, self.Delta, self.p.n * self.size)
            return (result, slopes) if inputs else result
        finally:
            self.end(&held)

    def step(
        self, X, G, theta, rule, double rate, double m_b, uint64_t seed=0, uint64_t step=0, double divisor=1,
        str name="gradient", bint kept=False
    ):
        """Take one step of the rule along D / divisor, with penalties and clipping as in a batch of weight m_b; returns
        True.

        rule : fastbp._epoch.Rule; rate : the learning rate of the step, 0 for the rule's own; name : of G, for errors;
        kept : True takes the step only if the forward pass through X is kept
        """
        cdef arrays_t held
        cdef const void *at
        cdef rule_t *own
        cdef rows_t D
        cdef Py_ssize_t m
        cdef bint again
        if type(rule) is not Rule:
            raise TypeError(f"rule must be fastbp._epoch.Rule; got {type(rule).__name__}")
        own = <rule_t *>PyCapsule_GetPointer(rule.capsule, "fastbp.rule")
        held.n = 0
        if type(G) is not self.array:
            return None
        take_turn(own.turn)
        try:
            m = self.take_all(&held, X, G, theta, &at, seed, step, &again)
            if m == 0 or (kept and again):
                return None
            check_rule(own, &self.p, self.format)
            values(&held, theta, "net.theta", self.format, self.p.n, WRITE)
            self.go(at, m, False, NULL, again)
            D.data, D.stride, D.type = self.Delta, 0, ROWS_F32 if self.format == b"f" else ROWS_F64
            if fastbp_first_nonfinite(&D, 1, self.p.n, LARGEST) >= 0:
                raise ValueError(f"{name} leads to a D that is not finite")
            if self.format == b"f":
                take_step(<float *>at, <float *>self.Delta, &self.p, m_b, divisor, own, &rate if rate != 0 else NULL,
                          &self.alone, 0)
            else:
                take_step(<double *>at, <double *>self.Delta, &self.p, m_b, divisor, own, &rate if rate != 0 else NULL,
                          &self.alone, 0)
            return True
        finally:
            give_turn(own.turn)
            self.end(&held)

    cdef bint take_out(self, arrays_t *held, out, const char *theta, void **D) except -1:
        """D := the array for the result; False if it cannot be taken, or overlaps theta"""
        cdef Py_buffer *view = &held.views[held.n]
        if not got(out, view, WRITE):
            return False
        held.n += 1
        D[0] = view.buf
        return (
            (<const char *>view.buf >= theta + self.p.n * self.size or <const char *>view.buf + view.len <= theta)
            and view.ndim == 1 and view.shape[0] == self.p.n and view.format[0] == self.format and view.format[1] == 0
            and <size_t>view.buf % <size_t>view.itemsize == 0 and shows(owner_of(<PyObject *>out), view, WRITE)
        )
