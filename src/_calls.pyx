"""Calls on a few examples, with everything prepared: for callers that need every microsecond.

It is the fused twin of network.py with engine/data.py, sums.py and objective.py: the same sums in the same order.
"""

import fastbp._kernels  # no-cython-lint  (its capsule is bound below)

from cpython.pycapsule cimport PyCapsule_GetPointer
from cython cimport final
from libc.float cimport DBL_MAX as LARGEST
from libc.string cimport memcpy, memset

from _as_numpy cimport right
from _backprop cimport team_begin
from _checked cimport READ, WRITE, arrays_t, give_back, own_plan, own_room, take, values
from _few cimport costs, few_t, objective, outputs
from _kernels cimport (
    ROWS_F32, ROWS_F64, bind_kernels, examples_t, f32, f64, fastbp_first_nonfinite, load_rows, rows_t, to_rows,
)
from _memory cimport PyObject, covers, is_lent, lend_ready
from _norms cimport norms_of_few
from _sources cimport check_labels, fit, ready, sources_t
from _taken cimport (
    is_count, lie, take_out, take_penalties, take_rows, take_targets, take_theta, takes_t, targets_lie,
)
from _turn cimport desk_leave, desk_t, desk_take

from fastbp._backprop import Examples

bind_kernels()
lend_ready()

cdef extern from "names.h":
    enum:
        LOSS_cross_entropy

cdef enum:
    ROUND = 64      # examples by which blocks grow


@final
cdef class Evaluator:
    """The calls of a network on a few examples. Every method returns None, with nothing written, if the layers above
    must check an argument first, if its result is not finite, or if another call is using this object.

    plan, dtype : of the network; the plan is copied
    most : the largest number of examples in a call
    full : the greatest height of a block; a call with more examples is summed block by block
    lowest, highest, rows_sum_to_1 : the limits of targets
    softmax : True if softmax is the output
    array, empty : numpy.ndarray, numpy.empty

    It owns its workspace, which grows on demand, and which one call uses at a time.
    """

    cdef few_t few
    cdef takes_t takes
    cdef desk_t desk
    cdef object dtype, array, empty
    cdef bytes plan, block, panels, Deltas, hs, squares, cs, norms
    cdef double *norm       # B values
    cdef void *Delta
    cdef void *h
    cdef Py_ssize_t h_size, most, full, panel, size
    cdef bint softmax
    cdef char format

    def __cinit__(
        self, plan, dtype, Py_ssize_t most, Py_ssize_t full, double lowest, double highest, bint rows_sum_to_1,
        bint softmax, array, empty,
    ):
        self.plan = own_plan(plan, &self.few.p)
        if dtype.char not in ("f", "d"):
            raise ValueError(f"dtype must be float32 or float64; got {dtype}")
        self.format = ord(dtype.char)
        self.panel = f32().panel if self.format == b"f" else f64().panel
        self.size = 4 if self.format == b"f" else 8
        if full < 1 or full % ROUND or self.few.p.units > 2**56 // full:
            raise ValueError(f"full must be a multiple of {ROUND}; got {full}")
        self.most, self.full, self.softmax = most, full, softmax
        self.takes = takes_t(
            self.few.p.s[0], self.few.p.s[self.few.p.L - 1], lowest, highest, rows_sum_to_1, self.format
        )
        self.dtype, self.array, self.empty = dtype, array, empty
        self.cs = own_room(self.few.p.L * sizeof(double), <void **>&self.few.c)
        team_begin(&self.few.alone, 1)

    # ------------------------------------------------------------ arguments

    cdef bint begin(
        self, arrays_t *held, X, Y, bint targets, theta, const void **at, examples_t *data
    ) except -1:
        """at := theta, data := X and Y, and the desk is taken; False if they cannot be taken. theta comes last, since
        conversions run Python. `end` releases everything."""
        data.order, data.w.data, data.labels, data.Y.data = NULL, NULL, NULL, NULL
        if type(X) is not self.array or (targets and type(Y) is not self.array):
            return False
        return (
            type(theta) is self.array
            and take_rows(held, X, &data.X, self.most, self.takes.inputs, True, self.format, self.dtype)
            and (not targets or take_targets(held, Y, data, data.X.n, &self.takes, self.dtype))
            and (not targets or is_lent(&held.views[1]) or lie(held, 0, X, &data.X, self.takes.inputs))
            and take_theta(held, theta, at, self.few.p.n, self.format) and desk_take(&self.desk, held)
        )

    cdef int end(self, arrays_t *held) except -1:
        desk_leave(&self.desk, held)
        return give_back(held)

    cdef bint lies(self, arrays_t *held, X, Y, theta, const void *at, const examples_t *data) except -1:
        """True if the arguments that `begin` took in place are still there; Y is None without targets."""
        return (
            lie(held, 0, X, &data.X, self.takes.inputs)
            and (Y is None or targets_lie(held, 1, Y, data, self.takes.K))
            and covers(<PyObject *>theta, <const char *>at, <const char *>at + self.few.p.n * self.size, READ)
        )

    cdef int grow(self, Py_ssize_t m) except -1:
        """Make room for m examples"""
        cdef Py_ssize_t B
        if m > self.few.B and self.few.B < self.full:
            B = min((m + ROUND - 1) // ROUND * ROUND, (max(m, self.most) + self.panel - 1) // self.panel * self.panel)
            B = min(B, self.full)
            self.few.B = 0
            self.block = own_room(B * self.few.p.units * self.size, &self.few.work)
            self.norms = own_room(B * sizeof(double), <void **>&self.norm)
            self.panels = own_room(B // self.panel * sizeof(double), <void **>&self.few.costs)
            if self.Deltas is None:
                self.Deltas = own_room(self.few.p.n * self.size, &self.Delta)
            self.few.B = B
        return 0

    cdef int grow_room(self, double l1) except -1:
        """Make room for penalties, if there are any"""
        cdef Py_ssize_t l
        cdef bint penalised = l1 != 0
        for l in range(self.few.p.L - 1):
            penalised |= self.few.c[l] != 0
        if penalised and self.squares is None:
            self.squares = own_room(self.few.p.n * sizeof(double), <void **>&self.few.room)
        return 0

    # ------------------------------------------------------------ by dtype

    cdef int fill(self, const void *theta, const examples_t *data, Py_ssize_t m, void *h) except -1:
        """`outputs` in the network's dtype"""
        self.grow(m)
        if self.format == b"f":
            outputs(&self.few, <const float *>theta, data, m, <float *>h)
        else:
            outputs(&self.few, <const double *>theta, data, m, <double *>h)
        return 0

    cdef int copy_layer(self, Py_ssize_t unit, Py_ssize_t m, Py_ssize_t s, array) except -1:
        """array (m, s) := the values in panels at this unit of the workspace"""
        cdef arrays_t held
        cdef void *into
        held.n = 0
        try:
            into = take(&held, array, "out", self.format, m, m, s, WRITE)
            if self.format == b"f":
                to_rows(m, s, <const float *>self.few.work + self.few.B * unit, <float *>into, s)
            else:
                to_rows(m, s, <const double *>self.few.work + self.few.B * unit, <double *>into, s)
        finally:
            give_back(&held)
        return 0

    cdef bint J_of(self, const void *theta, const examples_t *data, Py_ssize_t rows, double m, double l1, void *D,
                   double *J) except -1:
        """`objective` in the network's dtype, after making room for it"""
        self.grow(rows)
        self.grow_room(l1)
        if self.format == b"f":
            return objective(&self.few, <const float *>theta, data, rows, m, l1, <float *>D, J)
        return objective(&self.few, <const double *>theta, data, rows, m, l1, <double *>D, J)

    # ------------------------------------------------------------ calls

    def cost_and_gradient(self, X, Y, theta, weight_decay, lam, l1, out, n_threads):
        """`Network.cost_and_gradient` at theta: (J, D)"""
        cdef arrays_t held
        cdef examples_t data
        cdef const void *at
        cdef void *D
        cdef void *into
        cdef double J, own_l1
        held.n = 0
        if not is_count(n_threads) or (out is not None and type(out) is not self.array):
            return None
        result = self.empty(self.few.p.n, self.dtype) if out is None else None
        try:
            if not self.begin(&held, X, Y, True, theta, &at, &data) or not take_penalties(
                weight_decay, lam, l1, self.few.p.L - 1, <double>data.X.n, self.few.c, &own_l1
            ):
                return None
            self.grow(data.X.n)
            D = self.Delta if result is None else values(&held, result, "D", self.format, self.few.p.n, WRITE)
            if not self.J_of(at, &data, data.X.n, <double>data.X.n, own_l1, D, &J):
                return None
            if out is None:
                return J, result
            into = take_out(&held, out, 1, 1, self.few.p.n, self.format)
            if into == NULL:
                return None
            memcpy(into, D, self.few.p.n * self.size)
            return J, out
        finally:
            self.end(&held)

    def cost(self, X, Y, theta, weight_decay, lam, l1, n_threads):
        """`Network.cost` at theta"""
        cdef arrays_t held
        cdef examples_t data
        cdef const void *at
        cdef double J, own_l1
        held.n = 0
        if not is_count(n_threads):
            return None
        try:
            if self.begin(&held, X, Y, True, theta, &at, &data) and take_penalties(
                weight_decay, lam, l1, self.few.p.L - 1, <double>data.X.n, self.few.c, &own_l1
            ) and self.J_of(at, &data, data.X.n, <double>data.X.n, own_l1, NULL, &J):
                return J
            return None
        finally:
            self.end(&held)

    def of_examples(self, examples, Py_ssize_t m, double weight, theta, c, double l1, bint gradient):
        """J, or (J, D), of m examples of this weight that have been checked; c : tuple, one for each Theta"""
        cdef arrays_t held
        cdef sources_t *sources
        cdef const void *at
        cdef void *D = NULL
        cdef double J
        cdef Py_ssize_t l
        if type(examples) is not Examples or type(c) is not tuple or len(c) != self.few.p.L - 1:
            raise TypeError(f"examples must be fastbp._backprop.Examples, c a tuple of {self.few.p.L - 1}; "
                            f"got {type(examples).__name__} and {c!r:.100}")
        sources = <sources_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")
        result = self.empty(self.few.p.n, self.dtype) if gradient else None
        held.n = 0
        try:
            if m < 1 or m > self.most or type(theta) is not self.array or not take_theta(
                &held, theta, &at, self.few.p.n, self.format
            ) or not desk_take(&self.desk, &held):
                return None
            if gradient:
                D = values(&held, result, "D", self.format, self.few.p.n, WRITE)
            for l in range(self.few.p.L - 1):
                self.few.c[l] = c[l]
            ready(sources, 0, m)
            fit(sources, &self.few.p, True, self.format)
            check_labels(sources, m, self.takes.K)
            if not self.J_of(at, &sources.data, m, weight, l1, D, &J):
                return None
            return (J, result) if gradient else J
        finally:
            self.end(&held)

    def evaluate(self, X, Y, theta):
        """(cost, accuracy) of `Network.evaluate`; the cost is without label smoothing"""
        cdef arrays_t held
        cdef examples_t data
        cdef const void *at
        cdef rows_t row
        cdef Py_ssize_t found, m, size
        cdef double J, parameter
        cdef bint fine
        held.n = 0
        try:
            if not self.begin(&held, X, Y, True, theta, &at, &data):
                return None
            parameter, m = self.few.p.parameter, data.X.n
            size = m * self.takes.K
            memset(self.few.c, 0, (self.few.p.L - 1) * sizeof(double))
            if size > self.h_size:
                self.h_size = 0
                self.hs = own_room(size * self.size, &self.h)
                self.h_size = size
            if self.few.p.loss == LOSS_cross_entropy:
                self.few.p.parameter = 0
            fine = self.J_of(at, &data, m, <double>m, 0, NULL, &J)
            self.few.p.parameter = parameter
            if not fine:
                return None
            row.data, row.stride, row.type = self.h, 0, ROWS_F32 if self.format == b"f" else ROWS_F64
            self.fill(at, &data, m, self.h)
            if self.format == b"f":
                found = right(&data, m, &self.takes, self.softmax, <const float *>self.h)
            else:
                found = right(&data, m, &self.takes, self.softmax, <const double *>self.h)
            if fastbp_first_nonfinite(&row, 1, size, LARGEST) >= 0:
                return None
            return J, (None if found < 0 else <double>found / <double>m)
        finally:
            self.end(&held)

    def predict(self, X, theta, out=None):
        """`Network.predict`; out may overlap X, but not theta"""
        cdef arrays_t held
        cdef examples_t data
        cdef const void *at
        cdef void *into
        cdef Py_ssize_t m, K = self.takes.K
        cdef bint one
        held.n = 0
        try:
            if not self.begin(&held, X, None, False, theta, &at, &data) or (
                out is not None and (type(out) is not self.array or data.X.n > self.full)    # not read in one block
            ):
                return None
            m, one = data.X.n, X.ndim == 1
            if out is None:
                out = self.empty(K, self.dtype) if one else self.empty((m, K), self.dtype)
            into = take_out(&held, out, 1 if one else 2, m, K, self.format)
            if into == NULL or not self.lies(&held, X, None, theta, at, &data) or (
                -m * K * self.size < <char *>into - <char *>at < self.few.p.n * self.size       # overlaps theta
            ):
                return None
            self.fill(at, &data, m, into)
            return out
        finally:
            self.end(&held)

    def activations(self, X, theta):
        """`Network.activations`"""
        cdef arrays_t held
        cdef examples_t data
        cdef const void *at
        cdef void *into
        cdef Py_ssize_t l, m, last = self.few.p.L - 1
        held.n = 0
        try:
            if not self.begin(&held, X, None, False, theta, &at, &data) or data.X.n > self.full:
                return None
            m = data.X.n
            layers = [self.empty((m, self.few.p.s[l]), self.dtype) for l in range(last + 1)]
            if not self.lies(&held, X, None, theta, at, &data):
                return None
            into = take(&held, layers[0], "a", self.format, m, m, self.few.p.s[0], WRITE)
            if self.format == b"f":
                load_rows(&data.X, NULL, 0, m, self.few.p.s[0], <float *>into)
            else:
                load_rows(&data.X, NULL, 0, m, self.few.p.s[0], <double *>into)
            self.fill(at, &data, m, take(&held, layers[last], "a", self.format, m, m, self.few.p.s[last], WRITE))
            for l in range(1, last):
                self.copy_layer(self.few.p.a[l], m, self.few.p.s[l], layers[l])
            return layers
        finally:
            self.end(&held)

    def gradient_norms(self, X, Y, theta):
        """`Network.gradient_norms`"""
        cdef arrays_t held
        cdef examples_t data
        cdef const void *at
        cdef void *into
        cdef bint fine
        held.n = 0
        try:
            if not self.begin(&held, X, Y, True, theta, &at, &data):
                return None
            out = self.empty(data.X.n, self.dtype)
            if not self.lies(&held, X, Y, theta, at, &data):
                return None
            into = values(&held, out, "out", self.format, data.X.n, WRITE)
            self.grow(data.X.n)
            if self.format == b"f":
                fine = norms_of_few(&self.few, <const float *>at, &data, data.X.n, self.norm, <float *>into)
            else:
                fine = norms_of_few(&self.few, <const double *>at, &data, data.X.n, self.norm, <double *>into)
            return out if fine else None
        finally:
            self.end(&held)

    def deltas(self, X, Y, theta):
        """`Network.deltas`"""
        cdef arrays_t held
        cdef examples_t data
        cdef const void *at
        cdef Py_ssize_t l, m
        held.n = 0
        try:
            if not self.begin(&held, X, Y, True, theta, &at, &data) or data.X.n > self.full:
                return None
            m = data.X.n
            layers = [self.empty((m, self.few.p.s[l]), self.dtype) for l in range(1, self.few.p.L)]
            if not self.lies(&held, X, Y, theta, at, &data):
                return None
            self.grow(m)
            if self.format == b"f":
                costs(&self.few, <const float *>at, &data, m, <float *>self.Delta)
            else:
                costs(&self.few, <const double *>at, &data, m, <double *>self.Delta)
            for l in range(1, self.few.p.L):
                self.copy_layer(self.few.p.delta[l], m, self.few.p.s[l], layers[l - 1])
            return layers
        finally:
            self.end(&held)
