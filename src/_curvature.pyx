"""Products of the Hessian and of the Gauss-Newton matrix with a vector p: Pearlmutter's R-operator. See
fastbp/engine/curvature.py.

A call works through ranges of examples in blocks of B; _curved.pxd has the layout of their workspaces. `Few` has
everything prepared, for callers that need every microsecond.
"""

import fastbp._kernels  # no-cython-lint  (its capsule is bound below)

from cpython.pycapsule cimport PyCapsule_GetPointer
from cython cimport final, floating
from libc.string cimport memset

from _as_numpy cimport make_D
from _backprop cimport team_begin, team_t
from _checked cimport (
    MOST, READ, WRITE, arrays_t, begin, block, core_t, give_back, own_plan, own_room, refusal, room, values,
)
from _crew cimport crew_of, crew_t
from _curved cimport curved_part, curved_t, lay_out, run_few
from _kernels cimport LOSS_COUNT, bind_kernels, examples_t, f32, f64, plan_t
from _memory cimport is_lent, lend_ready
from _ranges cimport run_ranges, sum_t, take_Delta, take_places, whole_blocks
from _sources cimport fit, ready, sources_t
from _taken cimport is_count, lie, take_penalties, take_rows, take_targets, take_theta, takes_t
from _turn cimport desk_leave, desk_t, desk_take

from fastbp._backprop import Crew, Examples

bind_kernels()
lend_ready()


cdef int begin_curved(
    core_t *core, curved_t *how, sum_t *call, examples, plan, theta, cuts, places, work, Py_ssize_t B
) except -1:
    """Take the arguments that both functions share; how.kept and how.plus are set."""
    cdef Py_ssize_t blocks
    cdef sources_t *sources
    if type(examples) is not Examples:
        raise TypeError(f"examples must be fastbp._backprop.Examples; got {type(examples).__name__}")
    sources = <sources_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")
    begin(core, plan, theta, "theta", READ)
    check_plan(&core.p)
    take_places(&core.held, call, cuts, places)
    ready(sources, call.cuts[0], call.cuts[call.ranges])
    fit(sources, &core.p, True)
    block(core, B)
    call.core, call.sources, call.how, call.run = core, sources, how, B
    call.block, call.Delta = curved_part, NULL
    how.base = call.cuts[0]
    lay_out(&core.p, how)
    blocks = max(1, whole_blocks(call)) if how.kept else call.seats
    if how.kept_units > MOST // B // blocks:
        raise ValueError(f"no room for {blocks} blocks")
    core.work = room(&core.held, work, "work", core.format, B * how.kept_units * blocks)
    return 0


cdef int check_plan(const plan_t *p) except -1:
    if p.drop != NULL:
        raise ValueError("plan has dropout; products with curvature have none")
    if p.loss >= LOSS_COUNT:
        raise ValueError("plan has an own loss, whose second derivatives are not known")
    return 0


def keep(
    plan, theta, examples, cuts, places, work, Py_ssize_t B, bint plus, double budget, crew=None, int n=1,
    bint apart=False,
):
    """Keep what depends on theta alone, for the examples of all ranges, in a workspace for each block  ->  True when
    it is complete.

    cuts, places: as for fastbp._backprop.accumulate. plus: for products with the Gauss-Newton matrix; with
    squared_error they do not need the targets, which all examples have
    """
    cdef core_t core
    cdef curved_t how
    cdef sum_t call
    cdef crew_t alone
    call.crew = crew_of(crew, Crew, n, apart, &alone)
    how.kept, how.plus, how.V, how.spare = True, plus, NULL, NULL
    core.held.n = 0
    try:
        begin_curved(&core, &how, &call, examples, plan, theta, cuts, places, work, B)
        return run_ranges(&call, n, False, apart, budget)
    finally:
        give_back(&core.held)


def product(
    plan, theta, p, examples, cuts, places, Py_ssize_t run_of, work, spare, Py_ssize_t B, bint kept, bint plus, Delta,
    others, double budget, crew=None, int n=1, bint apart=False,
):
    """Delta += the sum over the examples of all ranges of w H p  ->  True when it is complete.

    kept: `keep` has been run on the same work; otherwise this runs it, in a block for every seat. spare: a block for
    every seat. plus: Gauss-Newton. cuts, places, run_of, others: as for fastbp._backprop.accumulate; run_of is a
    multiple of B.
    """
    cdef core_t core
    cdef curved_t how
    cdef sum_t call
    cdef crew_t alone
    call.crew = crew_of(crew, Crew, n, apart, &alone)
    how.kept, how.plus = kept, plus
    core.held.n = 0
    try:
        begin_curved(&core, &how, &call, examples, plan, theta, cuts, places, work, B)
        if run_of < B or run_of % B:
            raise ValueError(f"run_of must be a multiple of {B}; got {run_of}")
        call.run = run_of
        how.V = values(&core.held, p, "p", core.format, core.p.n, READ)
        how.spare = room(&core.held, spare, "spare", core.format, call.seats * B * how.spare_units)
        take_Delta(&core, &call, Delta, others)
        if call.Delta == NULL:
            raise refusal(Delta, "Delta", core.format, core.p.n, core.p.n, 0, WRITE)
        return run_ranges(&call, n, False, apart, budget)
    finally:
        give_back(&core.held)


def finish(plan, p, Delta, c, double m):
    """Delta := Delta / m + c_l p (j >= 1), Delta / m (j = 0);  c (L - 1,) float64"""
    cdef core_t core
    cdef void *into
    cdef double *own
    core.held.n = 0
    try:
        begin(&core, plan, p, "p", READ)
        into = values(&core.held, Delta, "Delta", core.format, core.p.n, WRITE)
        own = <double *>values(&core.held, c, "c", b"d", core.p.L - 1, READ)
        with nogil:
            if core.format == b"f":
                make_D(&core.p, <const float *>core.theta, m, own, 0, <float *>into)
            else:
                make_D(&core.p, <const double *>core.theta, m, own, 0, <double *>into)
    finally:
        give_back(&core.held)


@final
cdef class Few:
    """Curvature products over a few examples. `product` returns None, with nothing written, if the layers above must
    check an argument first, or if another call is using this object.

    plan, dtype : of the network; the plan is copied
    most : the largest number of examples in a call
    full : the greatest height of a block; a call with more examples is summed block by block
    lowest, highest, rows_sum_to_1 : the limits of targets
    array, empty : numpy.ndarray, numpy.empty

    It owns its workspaces, which grow on demand, and which one call uses at a time.
    """

    cdef plan_t p
    cdef curved_t how
    cdef takes_t takes
    cdef team_t alone
    cdef desk_t desk
    cdef object dtype, array, empty
    cdef bytes plan, works, spares, cs
    cdef void *work
    cdef void *spare
    cdef double *c
    cdef Py_ssize_t B, most, full, size, panel

    def __cinit__(
        self, plan, dtype, Py_ssize_t most, Py_ssize_t full, double lowest, double highest, bint rows_sum_to_1, array,
        empty,
    ):
        self.plan = own_plan(plan, &self.p)
        if dtype.char not in ("f", "d"):
            raise ValueError(f"dtype must be float32 or float64; got {dtype}")
        check_plan(&self.p)
        lay_out(&self.p, &self.how)
        self.panel = f32().panel if dtype.char == "f" else f64().panel
        if full < 1 or full % self.panel or self.how.kept_units > MOST // full:
            raise ValueError(f"full must be a multiple of {self.panel}; got {full}")
        self.size, self.most, self.full = 4 if dtype.char == "f" else 8, most, full
        self.takes = takes_t(
            self.p.s[0], self.p.s[self.p.L - 1], lowest, highest, rows_sum_to_1, ord(dtype.char)
        )
        self.dtype, self.array, self.empty = dtype, array, empty
        self.cs = own_room(self.p.L * sizeof(double), <void **>&self.c)
        team_begin(&self.alone, 1)

    cdef int grow(self, Py_ssize_t m) except -1:
        """Make room for m examples"""
        cdef Py_ssize_t B = min(self.full, (m + self.panel - 1) // self.panel * self.panel)
        if B > self.B:
            self.B = 0
            self.works = own_room(B * self.how.kept_units * self.size, &self.work)
            self.spares = own_room(B * self.how.spare_units * self.size, &self.spare)
            self.B = B
        return 0

    cdef bint take_all(self, arrays_t *held, X, Y, p, theta, const void **at, examples_t *data) except -1:
        """at := theta, data := X and Y; False if they or p cannot be taken. p and theta come last, since conversions
        run Python."""
        data.order, data.w.data, data.labels, data.Y.data = NULL, NULL, NULL, NULL
        if type(X) is not self.array or type(Y) is not self.array or type(p) is not self.array or (
            type(theta) is not self.array
        ):
            return False
        return (
            desk_take(&self.desk, held)
            and take_rows(held, X, &data.X, self.most, self.takes.inputs, True, self.takes.format, self.dtype)
            and take_targets(held, Y, data, data.X.n, &self.takes, self.dtype)
            and (is_lent(&held.views[1]) or lie(held, 0, X, &data.X, self.takes.inputs))
            and take_theta(held, p, &self.how.V, self.p.n, self.takes.format)
            and take_theta(held, theta, at, self.p.n, self.takes.format)
        )

    cdef void fill(self, floating *D, const void *theta, const examples_t *data) noexcept:
        """D := H p of the rows"""
        memset(D, 0, self.p.n * sizeof(floating))
        run_few(D, &self.p, <const floating *>theta, <floating *>self.work, self.B, &self.how, data, data.X.n,
                &self.alone)
        make_D(&self.p, <const floating *>self.how.V, <double>data.X.n, self.c, 0, D)

    def product(self, X, Y, p, theta, weight_decay, lam, l1, n_threads, bint plus):
        """H p at theta, or G p if plus"""
        cdef arrays_t held
        cdef examples_t data
        cdef const void *at
        cdef void *into
        cdef double own_l1
        held.n = 0
        if not is_count(n_threads):
            return None
        result = self.empty(self.p.n, self.dtype)
        try:
            if not self.take_all(&held, X, Y, p, theta, &at, &data) or not take_penalties(
                weight_decay, lam, l1, self.p.L - 1, <double>data.X.n, self.c, &own_l1
            ):
                return None
            into = values(&held, result, "D", self.takes.format, self.p.n, WRITE)
            self.grow(data.X.n)
            self.how.kept, self.how.plus, self.how.spare = False, plus, self.spare
            if self.size == 4:
                self.fill(<float *>into, at, &data)
            else:
                self.fill(<double *>into, at, &data)
            return result
        finally:
            desk_leave(&self.desk, &held)
            give_back(&held)
