"""The C kernels of the chosen instruction set: each is one fused function; its docstring is the formula."""

from cpython.pycapsule cimport PyCapsule_Import
from cython cimport floating
from libc.stdint cimport int64_t, uint64_t


cdef extern from "kernels.h":
    ctypedef struct rows_t:
        const void *data
        Py_ssize_t stride
        Py_ssize_t n
        int type

    enum:
        ROWS_F32
        ROWS_F64
        ROWS_U8

    ctypedef struct plan_t:
        Py_ssize_t L
        Py_ssize_t n
        Py_ssize_t units
        const int64_t *s
        const int64_t *g
        const int64_t *theta
        const int64_t *a
        const int64_t *z
        const int64_t *delta
        const int64_t *rows
        int loss
        double parameter
        Py_ssize_t own, user
        Py_ssize_t y, w
        int low
        const int64_t *fed
        const int64_t *drop
        uint64_t seed, step
        Py_ssize_t first, panels

    ctypedef struct examples_t:
        rows_t X
        rows_t Y
        const int64_t *labels
        rows_t w
        const int64_t *order

    enum:
        SCALARS
        G_COUNT
        OUTPUT_COUNT
        LOSS_COUNT
        LOSS_OWN_F32
        LOSS_OWN_F64
        LOSS_OWN_PYTHON
        LOSS_CODES

    ctypedef struct step_t:
        int rule
        const double *settings
        double t
        double rate
        double scalars[1]
        double factor[2]

    double seconds "fastbp_seconds"() noexcept nogil
    unsigned enter "fastbp_enter"() noexcept nogil
    void leave "fastbp_leave"(unsigned) noexcept nogil

    ctypedef struct kernels_f32:
        Py_ssize_t panel, lanes
        void (*load_rows)(const rows_t *, const int64_t *, Py_ssize_t, Py_ssize_t, Py_ssize_t, float *) noexcept nogil
        void (*load_labels)(const examples_t *, Py_ssize_t, Py_ssize_t, Py_ssize_t, float, float,
                            float *) noexcept nogil
        void (*load_weights)(const rows_t *, const int64_t *, Py_ssize_t, Py_ssize_t, float *) noexcept nogil
        void (*to_panels)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, float *) noexcept nogil
        void (*to_rows)(Py_ssize_t, Py_ssize_t, const float *, float *, Py_ssize_t) noexcept nogil
        void (*layer_forward)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *,
                              const float *, float *) noexcept nogil
        int (*one_forward)(Py_ssize_t, Py_ssize_t, const float *, const float *, float *) noexcept nogil
        void (*layer_backward)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *,
                               const float *, float *) noexcept nogil
        void (*layer_Delta)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, const float *,
                            Py_ssize_t, int, float *) noexcept nogil
        void (*narrow_Delta)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, const float *,
                             int, float *) noexcept nogil
        void (*activate)(int, Py_ssize_t, const float *, float *, float *) noexcept nogil
        void (*activate_backward)(int, Py_ssize_t, const float *, const float *, float *) noexcept nogil
        void (*dropout)(const plan_t *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, float *) noexcept nogil
        double (*cost_and_delta)(int, int, double, Py_ssize_t, Py_ssize_t, const float *, const float *,
                                 const float *, float *, float *) noexcept nogil
        double (*own_cost)(const plan_t *, const examples_t *, Py_ssize_t, Py_ssize_t, const float *, const float *,
                           float *, float *, float *) noexcept nogil
        void (*output)(int, Py_ssize_t, Py_ssize_t, const float *, float *) noexcept nogil
        void (*output_backward)(int, Py_ssize_t, Py_ssize_t, const float *, float *, float *) noexcept nogil
        double (*penalty)(Py_ssize_t, Py_ssize_t, double, double, const float *) noexcept nogil
        void (*regularise)(Py_ssize_t, Py_ssize_t, double, double, double, double, const float *,
                           float *) noexcept nogil
        double (*sum_of_squares)(Py_ssize_t, const float *) noexcept nogil
        void (*unfold)(Py_ssize_t, Py_ssize_t, double, double, double, const float *, const float *, const float *,
                       float *, float *) noexcept nogil
        void (*fold)(Py_ssize_t, Py_ssize_t, const float *, const float *, float *) noexcept nogil
        void (*begin_step)(step_t *) noexcept nogil
        void (**update)(const step_t *, Py_ssize_t, Py_ssize_t, float, float, const float *, float *, float *,
                        float *, float *) noexcept nogil
        Py_ssize_t (*online_sgd)(const plan_t *, float *, const examples_t *, Py_ssize_t, Py_ssize_t, double,
                                 const double *, const double *, const double *, float *, Py_ssize_t, float *, double,
                                 Py_ssize_t, double *, double *, int64_t *) noexcept nogil
        int (*function)(const char *, Py_ssize_t, const float *, float *) noexcept nogil
        void (*squares_of_units)(Py_ssize_t, Py_ssize_t, const float *, double *) noexcept nogil

    ctypedef struct kernels_f64:
        Py_ssize_t panel, lanes
        void (*load_rows)(const rows_t *, const int64_t *, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                          double *) noexcept nogil
        void (*load_labels)(const examples_t *, Py_ssize_t, Py_ssize_t, Py_ssize_t, double, double,
                            double *) noexcept nogil
        void (*load_weights)(const rows_t *, const int64_t *, Py_ssize_t, Py_ssize_t, double *) noexcept nogil
        void (*to_panels)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, double *) noexcept nogil
        void (*to_rows)(Py_ssize_t, Py_ssize_t, const double *, double *, Py_ssize_t) noexcept nogil
        void (*layer_forward)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *,
                              const double *, double *) noexcept nogil
        int (*one_forward)(Py_ssize_t, Py_ssize_t, const double *, const double *, double *) noexcept nogil
        void (*layer_backward)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *,
                               const double *, double *) noexcept nogil
        void (*layer_Delta)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, const double *,
                            Py_ssize_t, int, double *) noexcept nogil
        void (*narrow_Delta)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, const double *,
                             int, double *) noexcept nogil
        void (*activate)(int, Py_ssize_t, const double *, double *, double *) noexcept nogil
        void (*activate_backward)(int, Py_ssize_t, const double *, const double *, double *) noexcept nogil
        void (*dropout)(const plan_t *, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, double *) noexcept nogil
        double (*cost_and_delta)(int, int, double, Py_ssize_t, Py_ssize_t, const double *, const double *,
                                 const double *, double *, double *) noexcept nogil
        double (*own_cost)(const plan_t *, const examples_t *, Py_ssize_t, Py_ssize_t, const double *, const double *,
                           double *, double *, double *) noexcept nogil
        void (*output)(int, Py_ssize_t, Py_ssize_t, const double *, double *) noexcept nogil
        void (*output_backward)(int, Py_ssize_t, Py_ssize_t, const double *, double *, double *) noexcept nogil
        double (*penalty)(Py_ssize_t, Py_ssize_t, double, double, const double *) noexcept nogil
        void (*regularise)(Py_ssize_t, Py_ssize_t, double, double, double, double, const double *,
                           double *) noexcept nogil
        double (*sum_of_squares)(Py_ssize_t, const double *) noexcept nogil
        void (*unfold)(Py_ssize_t, Py_ssize_t, double, double, double, const double *, const double *, const double *,
                       double *, double *) noexcept nogil
        void (*fold)(Py_ssize_t, Py_ssize_t, const double *, const double *, double *) noexcept nogil
        void (*begin_step)(step_t *) noexcept nogil
        void (**update)(const step_t *, Py_ssize_t, Py_ssize_t, double, double, const double *, double *, double *,
                        double *, double *) noexcept nogil
        Py_ssize_t (*online_sgd)(const plan_t *, double *, const examples_t *, Py_ssize_t, Py_ssize_t, double,
                                 const double *, const double *, const double *, double *, Py_ssize_t, double *, double,
                                 Py_ssize_t, double *, double *, int64_t *) noexcept nogil
        int (*function)(const char *, Py_ssize_t, const double *, double *) noexcept nogil
        void (*squares_of_units)(Py_ssize_t, Py_ssize_t, const double *, double *) noexcept nogil

    ctypedef struct isa_t:
        const char *name
        const kernels_f32 *f32
        const kernels_f64 *f64

    const isa_t *const *fastbp_built() noexcept nogil
    const isa_t *const *fastbp_isas() noexcept nogil
    Py_ssize_t fastbp_first_nonfinite(const rows_t *, Py_ssize_t, Py_ssize_t, double) noexcept nogil
    void fastbp_bind(const isa_t *) noexcept nogil
    const kernels_f32 *f32 "fastbp_f32"() noexcept nogil
    const kernels_f64 *f64 "fastbp_f64"() noexcept nogil


cdef inline Py_ssize_t lanes_of(floating *_) noexcept nogil:
    """VL, the number of lanes of a vector."""
    return f32().lanes if floating is float else f64().lanes


cdef inline Py_ssize_t padded(Py_ssize_t m, floating *_) noexcept nogil:
    """m rounded up to the examples that its panels hold."""
    cdef Py_ssize_t VL = lanes_of(_), last = m % (2 * VL)
    return m - last + (0 if last == 0 else VL if last <= VL else 2 * VL)


cdef inline int bind_kernels() except -1:
    """Let this compiled module use the instruction set that fastbp._kernels chose at import."""
    fastbp_bind(<const isa_t *>PyCapsule_Import("fastbp._kernels.capsule", 0))
    return 0


cdef inline void load_rows(
    const rows_t *src, const int64_t *order, Py_ssize_t first, Py_ssize_t m, Py_ssize_t n, floating *dst
) noexcept nogil:
    """dst (m, n) := the rows order[first .. first + m) of src, or first .. first + m if order is NULL."""
    if floating is float:
        f32().load_rows(src, order, first, m, n, dst)
    else:
        f64().load_rows(src, order, first, m, n, dst)


cdef inline void load_labels(
    const examples_t *data, Py_ssize_t first, Py_ssize_t m, Py_ssize_t K, floating low, floating high, floating *y
) noexcept nogil:
    """y in panels (K) := high at the label of each example, low elsewhere."""
    if floating is float:
        f32().load_labels(data, first, m, K, low, high, y)
    else:
        f64().load_labels(data, first, m, K, low, high, y)


cdef inline void load_weights(
    const rows_t *src, const int64_t *order, Py_ssize_t first, Py_ssize_t m, floating *w
) noexcept nogil:
    """w (m,) := the weights of the examples, or ones if there are no weights; zeros follow them."""
    if floating is float:
        f32().load_weights(src, order, first, m, w)
    else:
        f64().load_weights(src, order, first, m, w)


cdef inline void to_panels(
    Py_ssize_t m, Py_ssize_t s, const floating *rows, Py_ssize_t ld, floating *panels
) noexcept nogil:
    """panels (s) := rows (m, s), ld apart."""
    if floating is float:
        f32().to_panels(m, s, rows, ld, panels)
    else:
        f64().to_panels(m, s, rows, ld, panels)


cdef inline void to_rows(
    Py_ssize_t m, Py_ssize_t s, const floating *panels, floating *rows, Py_ssize_t ld
) noexcept nogil:
    """rows (m, s), ld apart := panels (s)."""
    if floating is float:
        f32().to_rows(m, s, panels, rows, ld)
    else:
        f64().to_rows(m, s, panels, rows, ld)


cdef inline void layer_forward(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t i, Py_ssize_t j, Py_ssize_t k, const floating *Theta, const floating *A,
    floating *Z
) noexcept nogil:
    """Units i .. j of  Z := [1, A] Theta';  A in panels (k), Theta (n, k + 1), Z in panels (n)."""
    if floating is float:
        f32().layer_forward(m, n, i, j, k, Theta, A, Z)
    else:
        f64().layer_forward(m, n, i, j, k, Theta, A, Z)


cdef inline bint one_forward(
    Py_ssize_t n, Py_ssize_t k, const floating *Theta, const floating *a, floating *z
) noexcept nogil:
    """z := Theta [1, a] for one example, a (k,), z (n,), same bits as layer_forward  ->  True if Theta is finite."""
    if floating is float:
        return f32().one_forward(n, k, Theta, a, z)
    else:
        return f64().one_forward(n, k, Theta, a, z)


cdef inline void layer_backward(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t i, Py_ssize_t j, Py_ssize_t k, const floating *Theta, const floating *delta,
    floating *E
) noexcept nogil:
    """Units i .. j of  E := (delta Theta)[without bias];  delta in panels (n), E in panels (k)."""
    if floating is float:
        f32().layer_backward(m, n, i, j, k, Theta, delta, E)
    else:
        f64().layer_backward(m, n, i, j, k, Theta, delta, E)


cdef inline void layer_Delta(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t i, Py_ssize_t j, Py_ssize_t k, const floating *delta, const floating *A,
    Py_ssize_t lda, int add, floating *Delta
) noexcept nogil:
    """Rows i .. j of  Delta (n, k + 1) := (or +=) delta' [1, A]; delta in panels (n), A by rows (m, k), lda apart.
    add = 2: += without the bias column."""
    if floating is float:
        f32().layer_Delta(m, n, i, j, k, delta, A, lda, add, Delta)
    else:
        f64().layer_Delta(m, n, i, j, k, delta, A, lda, add, Delta)


cdef inline void narrow_Delta(
    Py_ssize_t m, Py_ssize_t n, Py_ssize_t i, Py_ssize_t j, Py_ssize_t k, const floating *delta, const floating *A,
    int add, floating *Delta
) noexcept nogil:
    """The same Delta from A in panels (k): faster for few units n."""
    if floating is float:
        f32().narrow_Delta(m, n, i, j, k, delta, A, add, Delta)
    else:
        f64().narrow_Delta(m, n, i, j, k, delta, A, add, Delta)


cdef inline void activate(int g, Py_ssize_t n, const floating *z, floating *a, floating *slope) noexcept nogil:
    """a := g(z);  slope := g'(z) if g keeps it, unless slope is NULL."""
    if floating is float:
        f32().activate(g, n, z, a, slope)
    else:
        f64().activate(g, n, z, a, slope)


cdef inline void activate_backward(
    int g, Py_ssize_t n, const floating *a, const floating *slope, floating *delta
) noexcept nogil:
    """delta := delta .* g'(z)."""
    if floating is float:
        f32().activate_backward(g, n, a, slope, delta)
    else:
        f64().activate_backward(g, n, a, slope, delta)


cdef inline void dropout(
    const plan_t *p, Py_ssize_t l, Py_ssize_t e, Py_ssize_t m, const floating *a, floating *out
) noexcept nogil:
    """out := a .* mask / (1 - p) of layer l, for the examples e .. e + m of a batch, in panels."""
    if floating is float:
        f32().dropout(p, l, e, m, a, out)
    else:
        f64().dropout(p, l, e, m, a, out)


cdef inline double cost_and_delta(
    int output, int loss, double parameter, Py_ssize_t m, Py_ssize_t K, const floating *z, const floating *y,
    const floating *w, floating *h, floating *delta
) noexcept nogil:
    """h := output(z), delta := w dcost/dz  ->  sum of w cost;  z, y, h, delta in panels (K), w (m,)."""
    if floating is float:
        return f32().cost_and_delta(output, loss, parameter, m, K, z, y, w, h, delta)
    else:
        return f64().cost_and_delta(output, loss, parameter, m, K, z, y, w, h, delta)


cdef inline void output_of(int output, Py_ssize_t m, Py_ssize_t K, const floating *z, floating *h) noexcept nogil:
    """h := output(z) in panels (K)."""
    if floating is float:
        f32().output(output, m, K, z, h)
    else:
        f64().output(output, m, K, z, h)


cdef inline void output_backward(
    int output, Py_ssize_t m, Py_ssize_t K, const floating *z, floating *h, floating *delta
) noexcept nogil:
    """delta := (dh/dz)' delta in panels (K); h is overwritten."""
    if floating is float:
        f32().output_backward(output, m, K, z, h, delta)
    else:
        f64().output_backward(output, m, K, z, h, delta)


cdef inline double penalty(
    Py_ssize_t rows, Py_ssize_t columns, double c, double l1, const floating *Theta
) noexcept nogil:
    """The sum of c/2 Theta_ij^2 + l1 |Theta_ij|, j >= 1;  Theta (rows, columns)."""
    if floating is float:
        return f32().penalty(rows, columns, c, l1, Theta)
    else:
        return f64().penalty(rows, columns, c, l1, Theta)


cdef inline void regularise(
    Py_ssize_t rows, Py_ssize_t columns, double scale, double c, double l1, double clip, const floating *Theta,
    floating *Delta
) noexcept nogil:
    """Delta := scale Delta + c Theta + l1 sign(Theta) (j >= 1), scale Delta (j = 0), clipped to [-clip, clip]."""
    if floating is float:
        f32().regularise(rows, columns, scale, c, l1, clip, Theta, Delta)
    else:
        f64().regularise(rows, columns, scale, c, l1, clip, Theta, Delta)


cdef inline double sum_of_squares(Py_ssize_t n, const floating *x) noexcept nogil:
    """The sum of x_i^2."""
    if floating is float:
        return f32().sum_of_squares(n, x)
    else:
        return f64().sum_of_squares(n, x)


cdef inline void begin_step(step_t *step, floating *_) noexcept nogil:
    """Compute the values of the step that its rule derives from t and the learning rate."""
    if floating is float:
        f32().begin_step(step)
    else:
        f64().begin_step(step)


cdef inline void update(
    const step_t *step, Py_ssize_t rows, Py_ssize_t columns, double scale, double c, const floating *Delta,
    floating *slot_1, floating *slot_2, floating *slot_3, floating *theta
) noexcept nogil:
    """D = scale Delta + c Theta (j >= 1), scale Delta (j = 0), then the step of the rule along D."""
    if floating is float:
        f32().update[step.rule](
            step, rows * columns, columns, <float>scale, <float>c, Delta, slot_1, slot_2, slot_3, theta
        )
    else:
        f64().update[step.rule](step, rows * columns, columns, scale, c, Delta, slot_1, slot_2, slot_3, theta)
