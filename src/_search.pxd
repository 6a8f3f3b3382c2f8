"""L-BFGS on a vector x: two loops over the last pairs (s, y), and a line search (Nocedal and Wright, Numerical
Optimization, algorithms 7.4 and 7.5). Its iterates are those of L-BFGS-B without bounds (Byrd, Lu, Nocedal and Zhu,
1995).

The caller computes f and g at x and passes them to `told`, which returns what comes next.
"""

from libc.float cimport DBL_EPSILON
from libc.math cimport fabs, isfinite, isnan, sqrt
from libc.string cimport memcpy
from scipy.linalg.cython_blas cimport daxpy, ddot

from _blas_int cimport blas_int
from _linesearch cimport begin_line, goes_on, line_t

cdef enum:                  # what `told` and `settle` return
    WANTS = 0               # f and g at x
    STEPPED = 1             # an iteration is done
    FLAT = 2                # the end: max |g| <= gtol
    LEVEL = 3               # the end: f has hardly changed
    ABNORMAL = 4            # the end: no step along -g lowers f
    SETTLED = 5             # the pair of the iteration is kept

cdef extern from *:
    """
    #define FASTBP_SHORT 512

    /* x'y over whole groups of 8 numbers: the compiler keeps 8 sums in vectors */
    static inline double fastbp_dot(ptrdiff_t n, const double *x, const double *y)
    {
        double s[8] = {0};
        for (ptrdiff_t i = 0; i < n; i += 8)
            for (int j = 0; j < 8; j++)
                s[j] += x[i + j] * y[i + j];
        return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
    }

    /* y := y + alpha x */
    static inline void fastbp_add(ptrdiff_t n, double alpha, const double *x, double *restrict y)
    {
        for (ptrdiff_t i = 0; i < n; i += 8)
            for (int j = 0; j < 8; j++)
                y[i + j] += alpha * x[i + j];
    }
    """
    const Py_ssize_t SHORT "FASTBP_SHORT"   # numbers up to which a loop is faster than a call of BLAS
    double fastbp_dot(Py_ssize_t n, const double *x, const double *y) noexcept nogil
    void fastbp_add(Py_ssize_t n, double alpha, const double *x, double *y) noexcept nogil

cdef struct search_t:
    Py_ssize_t n            # numbers of a vector, padded with zeros to a multiple of 8
    Py_ssize_t memory       # most pairs
    Py_ssize_t maxls        # most steps of a line search
    double ftol
    double gtol
    double *x               # (n,): where f and g are needed, or were computed last
    double *g
    double *x0              # (n,): x at the start of the iteration
    double *g0
    double *d               # (n,): the direction
    double *S               # (memory, n): changes of x, a ring buffer of the pairs
    double *Y               # (memory, n): changes of g
    double *rho             # (memory,): 1 / s'y
    double *alpha           # (memory,)
    Py_ssize_t pairs
    Py_ssize_t next         # where the next pair goes
    double gamma            # s'y / y'y of the last pair
    double f
    double f0
    double slope            # g'd now
    double slope0           # g'd at the start of the iteration
    double step
    Py_ssize_t steps        # of this line search
    Py_ssize_t iterations
    Py_ssize_t evaluations
    line_t line


cdef inline double dot(Py_ssize_t n, const double *x, const double *y) noexcept nogil:
    """x'y; n is a multiple of 8"""
    cdef blas_int size = <blas_int>n, one = 1
    if n <= SHORT:
        return fastbp_dot(n, x, y)
    return ddot(&size, <double *>x, &one, <double *>y, &one)


cdef inline void add(Py_ssize_t n, double alpha, const double *x, double *y) noexcept nogil:
    """y := y + alpha x; n is a multiple of 8"""
    cdef blas_int size = <blas_int>n, one = 1
    if n <= SHORT:
        fastbp_add(n, alpha, x, y)
        return
    daxpy(&size, &alpha, <double *>x, &one, y, &one)


cdef inline double largest(const search_t *own) noexcept nogil:
    """max |g|; NaN if a value is NaN"""
    cdef double most = 0
    cdef Py_ssize_t i
    for i in range(own.n):
        if isnan(own.g[i]):
            return own.g[i]
        most = max(most, fabs(own.g[i]))
    return most


cdef inline void find_direction(search_t *own) noexcept nogil:
    """d := -H g, with H of the pairs"""
    cdef Py_ssize_t n = own.n, i, k
    cdef double beta
    for i in range(n):
        own.d[i] = -own.g[i]
    for k in range(1, own.pairs + 1):
        i = (own.next - k + own.memory) % own.memory
        own.alpha[i] = own.rho[i] * dot(n, own.S + i * n, own.d)
        add(n, -own.alpha[i], own.Y + i * n, own.d)
    if own.pairs:
        for i in range(n):
            own.d[i] *= own.gamma
    for k in range(own.pairs, 0, -1):
        i = (own.next - k + own.memory) % own.memory
        beta = own.rho[i] * dot(n, own.Y + i * n, own.d)
        add(n, own.alpha[i] - beta, own.S + i * n, own.d)


cdef inline void keep_pair(search_t *own) noexcept nogil:
    """Store s = step d and y = g - g0, unless s'y is too small for H to stay positive definite."""
    cdef Py_ssize_t n = own.n, i
    cdef double *s = own.S + own.next * n
    cdef double *y = own.Y + own.next * n
    cdef double s_y = (own.slope - own.slope0) * own.step
    if not s_y > DBL_EPSILON * -own.slope0 * own.step:
        return
    for i in range(n):
        s[i] = own.step * own.d[i]
        y[i] = own.g[i] - own.g0[i]
    own.rho[own.next] = 1 / s_y
    own.gamma = s_y / dot(n, y, y)
    own.next = (own.next + 1) % own.memory
    own.pairs = min(own.pairs + 1, own.memory)


cdef inline void go_back(search_t *own) noexcept nogil:
    """x, f and g := those at the start of the iteration"""
    memcpy(own.x, own.x0, own.n * sizeof(double))
    memcpy(own.g, own.g0, own.n * sizeof(double))
    own.f = own.f0


cdef inline void move(search_t *own) noexcept nogil:
    """x := x0 + step d"""
    memcpy(own.x, own.x0, own.n * sizeof(double))
    add(own.n, own.step, own.d, own.x)


cdef inline int begin_step(search_t *own) noexcept nogil:
    """Start an iteration at x, f, g."""
    cdef double length
    memcpy(own.x0, own.x, own.n * sizeof(double))
    memcpy(own.g0, own.g, own.n * sizeof(double))
    own.f0 = own.f
    while True:
        find_direction(own)
        own.slope0 = dot(own.n, own.g, own.d)
        if own.slope0 < 0 and isfinite(own.slope0):
            break
        if own.pairs == 0:
            return ABNORMAL
        own.pairs = 0
    length = sqrt(dot(own.n, own.d, own.d))
    own.step = min(1 / length, 1e10) if own.iterations == 0 else 1
    own.steps = 0
    begin_line(&own.line, own.f, own.slope0, own.step)
    move(own)
    return WANTS


cdef inline int told(search_t *own, double f) noexcept nogil:
    """Continue with f and g at x."""
    own.f = f
    own.evaluations += 1
    if own.evaluations == 1:
        if not isfinite(f):
            return ABNORMAL
        return FLAT if largest(own) <= own.gtol else begin_step(own)
    own.steps += 1
    own.slope = dot(own.n, own.g, own.d)
    if not goes_on(&own.line, f, own.slope, &own.step):
        own.iterations += 1
        return STEPPED
    if own.steps >= own.maxls:
        go_back(own)
        if own.pairs == 0:
            return ABNORMAL
        own.pairs = 0               # try again, along -g
        return begin_step(own)
    move(own)
    return WANTS


cdef inline int settle(search_t *own) noexcept nogil:
    """After STEPPED: end, or keep the pair."""
    if largest(own) <= own.gtol:
        return FLAT
    if own.f0 - own.f <= own.ftol * max(max(fabs(own.f0), fabs(own.f)), 1.0):
        return LEVEL
    keep_pair(own)
    return SETTLED
