"""L-BFGS in compiled code; `fastbp/training/lbfgs.py` decides when it ends."""

import fastbp._kernels  # no-cython-lint  (its capsule is bound below)

from cpython.pycapsule cimport PyCapsule_GetPointer
from cython cimport final, floating
from libc.math cimport INFINITY, NAN
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from _backprop cimport team_begin
from _checked cimport READ, WRITE, arrays_t, give_back, own_plan, own_room, values
from _few cimport few_t, objective
from _kernels cimport bind_kernels, f32, f64, seconds
from _memory cimport lend_ready
from _search cimport SETTLED, STEPPED, WANTS, begin_step, search_t, settle, told
from _sources cimport check_labels, fit, ready, sources_t
from _turn cimport desk_is_taken, desk_leave, desk_t, desk_take

from fastbp._backprop import Examples

bind_kernels()
lend_ready()


cdef inline double evaluate(
    search_t *own, Py_ssize_t n, few_t *few, const sources_t *sources, double weight, double l1, const int64_t *places,
    floating *theta, floating *D
) noexcept nogil:
    """g := D at theta(x)  ->  J, NaN if it or D is not finite"""
    cdef Py_ssize_t i, at
    cdef double J
    if floating is double:
        if places == NULL:      # x is theta, and g is D
            if not objective(few, <const double *>own.x, &sources.data, sources.m, weight, l1, own.g, &J):
                return NAN
            return J
    for i in range(n):
        theta[i if places == NULL else places[i]] = <floating>own.x[i]
    if not objective(few, <const floating *>theta, &sources.data, sources.m, weight, l1, D, &J):
        return NAN
    for i in range(n):
        at = i if places == NULL else <Py_ssize_t>places[i]
        own.g[i] = D[at]
    return J


@final
cdef class Search:
    """A search from x. It owns all its arrays.

    x : (n,) float64
    memory : int, most pairs (s, y)
    ftol, gtol : float, see `scipy.optimize.minimize`, method L-BFGS-B
    maxls : int, most steps of a line search

    Every method returns 0: f and g are needed at x; 1: an iteration is done; 2: max |g| is gtol or less; 3: f has
    hardly changed; 4: no step lowers f; 5: as 1, and the pair (s, y) is kept.
    """

    cdef search_t s
    cdef few_t few
    cdef bytes vectors, plan, block, panels, squares, cs, whole, Delta, where
    cdef object examples
    cdef sources_t *sources
    cdef void *theta
    cdef void *D
    cdef int64_t *places
    cdef Py_ssize_t n           # values of x; the vectors of `s` are padded with zeros
    cdef double weight, l1, most
    cdef char format
    cdef int status
    cdef desk_t desk            # of `run`
    cdef readonly bint asks     # `run` has met costs that the caller must compute

    def __cinit__(self, x, Py_ssize_t memory, double ftol, double gtol, Py_ssize_t maxls):
        cdef arrays_t held
        cdef double *at
        cdef Py_ssize_t n, size
        held.n = 0
        if memory < 1 or maxls < 1:
            raise ValueError(f"memory and maxls must be 1 or more; got {memory} and {maxls}")
        n = len(x)
        if n < 1 or memory > 2**50 // n:
            raise ValueError(f"x must have 1 value or more, and memory for {memory} pairs; got {n} values")
        memset(&self.s, 0, sizeof(search_t))
        self.n, size, n = n, n, (n + 7) // 8 * 8
        self.vectors = own_room((n * (2 * memory + 5) + 2 * memory) * sizeof(double), <void **>&at)
        memset(at, 0, 5 * n * sizeof(double))
        self.s.n, self.s.memory, self.s.maxls, self.s.ftol, self.s.gtol = n, memory, maxls, ftol, gtol
        self.s.x, self.s.g, self.s.x0, self.s.g0, self.s.d = at, at + n, at + 2 * n, at + 3 * n, at + 4 * n
        self.s.S, self.s.Y = at + 5 * n, at + (5 + memory) * n
        self.s.rho, self.s.alpha = at + (5 + 2 * memory) * n, at + (5 + 2 * memory) * n + memory
        try:
            memcpy(self.s.x, values(&held, x, "x", b"d", size, READ), size * sizeof(double))
        finally:
            give_back(&held)
        self.sources, self.status = NULL, WANTS

    @property
    def f(self):
        """f at x"""
        return self.s.f

    @property
    def f0(self):
        """f at the start of the iteration"""
        return self.s.f0

    @property
    def iterations(self):
        return self.s.iterations

    @property
    def evaluations(self):
        return self.s.evaluations

    @property
    def pairs(self):
        return self.s.pairs

    @property
    def gamma(self):
        """s'y / y'y of the last pair"""
        return self.s.gamma

    def read(self, str what, out):
        """out := x, g or x0 (n,), where x0 is x at the start of the iteration; or, of the pairs, oldest first, S or Y
        (pairs n,) or rho (pairs,)"""
        cdef arrays_t held
        cdef Py_ssize_t width = self.n, apart = self.s.n, k, at
        cdef Py_ssize_t rows = self.s.pairs, begin = self.s.next - self.s.pairs + self.s.memory
        cdef double *into
        cdef const double *source
        if what == "S" or what == "Y":
            source = self.s.S if what == "S" else self.s.Y
        elif what == "rho":
            source, width, apart = self.s.rho, 1, 1
        elif what in ("x", "g", "x0"):
            source, rows = self.s.g if what == "g" else self.s.x if what == "x" else self.s.x0, 1
            begin = 0
        else:
            raise ValueError(f"what must be x, g, x0, S, Y or rho; got {what!r}")
        self.rest()
        held.n = 0
        try:
            into = <double *>values(&held, out, "out", b"d", rows * width, WRITE)
            for k in range(rows):
                at = (begin + k) % self.s.memory
                memcpy(into + k * width, source + at * apart, width * sizeof(double))
        finally:
            give_back(&held)

    cdef int rest(self) except -1:
        """Raise an error while another thread runs the search."""
        if desk_is_taken(&self.desk):
            raise RuntimeError("the search is running in another thread")
        return 0

    # ------------------------------------------------------------ by the caller's f and g

    def tell(self, double f, g):
        """Take f and g (n,) float64 at x."""
        cdef arrays_t held
        held.n = 0
        self.rest()
        if self.status != WANTS:
            raise RuntimeError("no value is wanted")
        try:
            memcpy(self.s.g, values(&held, g, "g", b"d", self.n, READ), self.n * sizeof(double))
        finally:
            give_back(&held)
        self.asks, self.status = False, told(&self.s, f)
        return self.status

    def settle(self):
        """After 1: end, or keep the pair."""
        self.rest()
        if self.status == STEPPED:
            self.status = settle(&self.s)
        return self.status

    def go_on(self):
        """After 1 or 5: end, or start the next iteration."""
        if self.settle() == SETTLED:
            self.status = begin_step(&self.s)
        return self.status

    def load(self, S, Y, rho, double gamma, Py_ssize_t iterations):
        """Before the first value: continue with these pairs, oldest first (pairs n,), (pairs n,), (pairs,)."""
        cdef arrays_t held
        cdef Py_ssize_t pairs = len(rho), n = self.n, k
        cdef const double *s
        cdef const double *y
        self.rest()
        held.n = 0
        if self.s.evaluations or pairs > self.s.memory or iterations < 0:
            raise ValueError(f"{pairs} pairs and {iterations} iterations cannot be taken; there is memory for "
                             f"{self.s.memory}, before the first value")
        try:
            s = <const double *>values(&held, S, "S", b"d", pairs * n, READ)
            y = <const double *>values(&held, Y, "Y", b"d", pairs * n, READ)
            memcpy(self.s.rho, values(&held, rho, "rho", b"d", pairs, READ), pairs * sizeof(double))
            memset(self.s.S, 0, pairs * self.s.n * sizeof(double))
            memset(self.s.Y, 0, pairs * self.s.n * sizeof(double))
            for k in range(pairs):
                memcpy(self.s.S + k * self.s.n, s + k * n, n * sizeof(double))
                memcpy(self.s.Y + k * self.s.n, y + k * n, n * sizeof(double))
        finally:
            give_back(&held)
        self.s.pairs, self.s.next, self.s.gamma = pairs, pairs % self.s.memory, gamma
        self.s.iterations = iterations

    # ------------------------------------------------------------ by the network's J and D

    def attach(
        self, plan, theta, places, examples, Py_ssize_t height, double weight, c, double l1, double most=INFINITY
    ):
        """f := J and g := D of a few examples.

        plan : code of the network
        theta : (n_parameters,), copied; its dtype is the network's
        places : (n,) int64, the index of each x_i in theta; None: x is theta
        height : examples of a block
        weight, c, l1 : sum of the weights, decay of each Theta, l1
        most : a panel that costs more makes `run` ask the caller; then all examples must lie in one block
        """
        cdef arrays_t held
        cdef Py_ssize_t i, size, panel
        cdef sources_t *sources
        cdef const int64_t *given
        self.rest()
        if type(examples) is not Examples or type(c) is not tuple:
            raise TypeError(f"examples must be fastbp._backprop.Examples, c a tuple; got {type(examples).__name__} "
                            f"and {c!r:.100}")
        self.sources = NULL
        self.plan = own_plan(plan, &self.few.p)
        if self.few.p.drop != NULL:
            raise ValueError("plan has dropout; a search has none")
        if len(c) != self.few.p.L - 1:
            raise ValueError(f"c must have {self.few.p.L - 1} values; got {len(c)}")
        held.n = 0
        try:
            values(&held, theta, "theta", 0, self.few.p.n, READ)
            self.format = held.views[0].format[0]
            size = held.views[0].itemsize
            panel = f32().panel if self.format == b"f" else f64().panel
            if height < 1 or height % panel or self.few.p.units > 2**56 // height:
                raise ValueError(f"height must be a multiple of the {panel} examples of a panel; got {height}")
            self.whole = own_room(self.few.p.n * size, &self.theta)
            memcpy(self.theta, held.views[0].buf, self.few.p.n * size)
            self.Delta = own_room(self.few.p.n * size, &self.D)
            self.places = NULL
            if places is None:
                if self.n != self.few.p.n:
                    raise ValueError(f"x has {self.n} values; theta has {self.few.p.n}")
            else:
                given = <const int64_t *>values(&held, places, "places", b"q", self.n, READ)
                for i in range(self.n):
                    if not 0 <= given[i] < self.few.p.n:
                        raise ValueError(f"places must be 0 to {self.few.p.n - 1}; got {given[i]}")
                self.where = own_room(self.n * sizeof(int64_t), <void **>&self.places)
                memcpy(self.places, given, self.n * sizeof(int64_t))
        finally:
            give_back(&held)
        self.few.B = height
        self.block = own_room(height * self.few.p.units * size, &self.few.work)
        self.panels = own_room(height // panel * sizeof(double), <void **>&self.few.costs)
        self.squares = own_room(self.few.p.n * sizeof(double), <void **>&self.few.room)
        self.cs = own_room(self.few.p.L * sizeof(double), <void **>&self.few.c)
        for i in range(self.few.p.L - 1):
            self.few.c[i] = c[i]
        self.weight, self.l1, self.most, self.asks = weight, l1, most, False
        team_begin(&self.few.alone, 1)
        sources = <sources_t *>PyCapsule_GetPointer(examples.capsule, "fastbp.examples")
        ready(sources, 0, sources.m)
        if sources.m > height and most < INFINITY:
            raise ValueError(f"{sources.m} examples do not lie in a block of {height}")
        fit(sources, &self.few.p, True, self.format)
        self.examples, self.sources = examples, sources

    def run(self, double budget, Py_ssize_t iterations, Py_ssize_t evaluations):
        """Continue with `attach`'s network for about `budget` seconds, until the caller must compute f and g, or until
        an iteration ends with this many iterations, or more evaluations, in total."""
        cdef double J, end = seconds() + budget
        cdef int status
        cdef search_t *s = &self.s
        if self.sources == NULL and not self.asks:
            raise RuntimeError("no network is attached")
        if not desk_take(&self.desk, &status):
            raise RuntimeError("the search is running in another thread")
        status = self.status
        try:
            if self.asks:
                return status
            ready(self.sources, 0, self.sources.m)
            check_labels(self.sources, self.sources.m, self.few.p.s[self.few.p.L - 1])
            with nogil:
                while True:
                    if status == WANTS:
                        J = self.value()
                        if self.is_dear():
                            self.asks = True
                            break
                        status = told(s, J)
                        if seconds() > end:
                            break
                    elif status == STEPPED and s.iterations < iterations and s.evaluations <= evaluations:
                        status = settle(s)
                    elif status == SETTLED:
                        status = begin_step(s)
                    else:
                        break
        finally:
            self.status = status
            desk_leave(&self.desk, &status)
        return status

    cdef double value(self) noexcept nogil:
        """`evaluate` in the network's dtype"""
        if self.format == b"f":
            return evaluate(&self.s, self.n, &self.few, self.sources, self.weight, self.l1, self.places,
                            <float *>self.theta, <float *>self.D)
        return evaluate(&self.s, self.n, &self.few, self.sources, self.weight, self.l1, self.places,
                        <double *>self.theta, <double *>self.D)

    cdef bint is_dear(self) noexcept nogil:
        """True if a panel costs more than `most`, or NaN"""
        cdef Py_ssize_t i, panel = f32().panel if self.format == b"f" else f64().panel
        if self.most == INFINITY:
            return False
        for i in range((self.sources.m + panel - 1) // panel):
            if not self.few.costs[i] <= self.most:
                return True
        return False
