/* Each cost directly above its delta(L) = dcost/dz(L), for VL examples at once: both from z, never from log(h), so
 * that no logit overflows or loses its digits. z, y, h, delta are panels: unit k of these examples at k * width.
 * A function adds their costs, in double and in parts of its COST_ factor, to `cost`; weights are applied outside.
 * `parameter` is that of the loss, where it has one.
 * To add a pair: a line in names.h, its function here, its line in tests/reference.py. */

#ifndef LOSSES_ONCE
#define LOSSES_ONCE
#define COST_sigmoid_cross_entropy 1
#define COST_softmax_cross_entropy 2 /* in halves: zmax - z_k may overflow where its y_k is 0 */
#define COST_exp_poisson 1
#define COST_sigmoid_squared_error 0.5
#define COST_softmax_squared_error 0.5
#define COST_identity_squared_error 0.5
#define COST_tanh_squared_error 0.5
#define COST_identity_absolute_error 1
#define COST_identity_huber 1
#define COST_identity_quantile 1
#endif

/* VL doubles */
#undef wide
#define wide FN(wide)
typedef double wide __attribute__((vector_size(VL * 8)));

/* v in double */
static inline wide FN(widen)(vec v) { return PICK(__builtin_convertvector(v, wide), v); }

/* The sum of VL doubles: the upper half onto the lower, until one is left. */
static inline double FN(sum_of_wide)(const wide *v)
{
    double lane[VL];
    memcpy(lane, v, sizeof lane);
#pragma GCC unroll 4
    for (int half = VL / 2; half; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

/* h := softmax(z), zmax := max z, returns log sum_k e^(z_k - zmax): the sum is 1 + S, S without one maximum */
static inline vec FN(softmax_lanes)(ptrdiff_t K, ptrdiff_t width, const real *z, real *h, vec *zmax)
{
    vec top = FN(vload)(z), rest = FN(vset1)(0), rest_low = rest, ties = rest;
    for (ptrdiff_t k = 1; k < K; k++)
        top = FN(vmax)(top, FN(vload)(z + k * width));
    for (ptrdiff_t k = 0; k < K; k++)
        FN(vstore)(h + k * width, FN(softmax_exp)(FN(vload)(z + k * width), top, &rest, &rest_low, &ties));
    /* the other maxima count 1 each, behind the compensated sum of the rest */
    FN(add_sum)(&rest, &rest_low, ties - (real)1);
    const vec S = rest + rest_low;
    /* 1 / (1 + S), 1 + S carried as two terms */
    const vec sum = (real)1 + S, from_S = sum - (real)1;
    const vec low = ((rest - S) + rest_low) + (((real)1 - (sum - from_S)) + (S - from_S));
    for (ptrdiff_t k = 0; k < K; k++)
        FN(vstore)(h + k * width, FN(vdivide)(FN(vload)(h + k * width), FN(vset1)(0), sum, low));
    *zmax = top;
    return FN(vlog1p)(S);
}

/* -sum_k y log h + (1 - y) log(1 - h) = sum_k max(z, 0) - z y + log(1 + e^-|z|);  delta = h - y */
static inline void FN(sigmoid_cross_entropy)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z,
                                             const real *y, real *h, real *delta, wide *cost)
{
    (void)parameter;
    for (ptrdiff_t k = 0; k < K; k++, z += width, y += width, h += width, delta += width) {
        const vec zk = FN(vload)(z), yk = FN(vload)(y), hk = FN(vsigmoid)(zk);
        /* max(z, 0) - z y is |z| times what y leaves to be missed: exact where y is 0 or 1 */
        const vec miss = FN(vselect)((ivec)(zk < (real)0), yk, (real)1 - yk);
        *cost += FN(widen)(FN(vabs)(zk) * miss) + FN(widen)(FN(vlog1p)(FN(vexp)(-FN(vabs)(zk))));
        FN(vstore)(h, hk);
        FN(vstore)(delta, hk - yk);
    }
}

/* -sum_k y_k log h_k = sum_k y_k ((zmax - z_k) + log sum_j e^(z_j - zmax));  delta = h - y, sum_k y_k = 1 */
static inline void FN(softmax_cross_entropy)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z,
                                             const real *y, real *h, real *delta, wide *cost)
{
    (void)parameter;
    vec zmax;
    const vec half_log_sum = (real)0.5 * FN(softmax_lanes)(K, width, z, h, &zmax);
    for (ptrdiff_t k = 0; k < K; k++, z += width, y += width, h += width, delta += width) {
        const vec yk = FN(vload)(y);
        *cost += FN(widen)(yk * (((real)0.5 * zmax - (real)0.5 * FN(vload)(z)) + half_log_sum));
        FN(vstore)(delta, FN(vload)(h) - yk);
    }
}

/* y log(y/h) - y + h = y (e^t - 1 - t) with t = z - log y, or h where y = 0;  delta = h - y */
static inline void FN(exp_poisson)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z,
                                   const real *y, real *h, real *delta, wide *cost)
{
    (void)parameter;
    for (ptrdiff_t k = 0; k < K; k++, z += width, y += width, h += width, delta += width) {
        const vec zk = FN(vload)(z), yk = FN(vload)(y), hk = FN(vexp)(zk);
        const ivec some = (ivec)(yk > (real)0);
        const vec t = zk - FN(vlog)(FN(vselect)(some, yk, FN(vset1)(1)));
        *cost += FN(widen)(FN(vselect)(some, yk * (FN(vexpm1)(t) - t), hk));
        FN(vstore)(h, hk);
        FN(vstore)(delta, hk - yk);
    }
}

/* 1/2 sum_k e_k^2 with e = h - y;  delta = e .* g'(z), for every elementwise output */
#define SQUARED_ERROR(name)                                                                                       \
    static inline void FN(name##_squared_error)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z,    \
                                                const real *y, real *h, real *delta, wide *cost)                  \
    {                                                                                                             \
        (void)parameter;                                                                                          \
        for (ptrdiff_t k = 0; k < K; k++, z += width, y += width, h += width, delta += width) {                   \
            const vec zk = FN(vload)(z), hk = FN(g_##name)(zk), e = hk - FN(vload)(y);                            \
            *cost += FN(widen)(e) * FN(widen)(e);                                                                 \
            FN(vstore)(h, hk);                                                                                    \
            FN(vstore)(delta, e * FN(dg_##name)(hk, zk));                                                         \
        }                                                                                                         \
    }
SQUARED_ERROR(sigmoid)
SQUARED_ERROR(tanh)
SQUARED_ERROR(identity)
#undef SQUARED_ERROR

/* 1/2 sum_k e_k^2 with e = h - y;  delta = h .* (e - e'h) */
static inline void FN(softmax_squared_error)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z,
                                             const real *y, real *h, real *delta, wide *cost)
{
    (void)parameter;
    vec eh = FN(vset1)(0), zmax;
    FN(softmax_lanes)(K, width, z, h, &zmax);
    for (ptrdiff_t k = 0; k < K * width; k += width) {
        const vec hk = FN(vload)(h + k), e = hk - FN(vload)(y + k);
        *cost += FN(widen)(e) * FN(widen)(e);
        eh += e * hk;
        FN(vstore)(delta + k, e);
    }
    for (ptrdiff_t k = 0; k < K * width; k += width)
        FN(vstore)(delta + k, FN(vload)(h + k) * (FN(vload)(delta + k) - eh));
}

/* sum_k slope_k e_k with e = h - y and a slope for either side of y;  delta = slope, 0 where e = 0 (a subgradient):
 * |e|, and the pinball loss max(q (y - h), (q - 1) (y - h)) with its parameter q */
#define SLOPES(loss, above, below)                                                                                \
    static inline void FN(identity_##loss)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z,         \
                                           const real *y, real *h, real *delta, wide *cost)                       \
    {                                                                                                             \
        (void)parameter;                                                                                          \
        const vec up = FN(vset1)((real)(above)), down = FN(vset1)((real)(below)), none = FN(vset1)(0);            \
        for (ptrdiff_t k = 0; k < K; k++, z += width, y += width, h += width, delta += width) {                   \
            const vec hk = FN(vload)(z), e = hk - FN(vload)(y);                                                   \
            const vec slope = FN(vselect)((ivec)(e > none), up, FN(vselect)((ivec)(e < none), down, none));       \
            *cost += FN(widen)(slope) * FN(widen)(e);                                                             \
            FN(vstore)(h, hk);                                                                                    \
            FN(vstore)(delta, slope);                                                                             \
        }                                                                                                         \
    }
SLOPES(absolute_error, 1, -1)
SLOPES(quantile, 1 - parameter, -parameter)
#undef SLOPES

/* sum_k e_k^2 / 2 for |e_k| <= d, d (|e_k| - d/2) beyond, e = h - y, d the parameter: c (e - c/2) with c = delta, which
 * is e cut to [-d, d] */
static inline void FN(identity_huber)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z, const real *y,
                                      real *h, real *delta, wide *cost)
{
    const vec d = FN(vset1)((real)parameter);
    for (ptrdiff_t k = 0; k < K; k++, z += width, y += width, h += width, delta += width) {
        const vec hk = FN(vload)(z), e = hk - FN(vload)(y), c = FN(vmax)(-d, FN(vmin)(d, e));
        *cost += FN(widen)(c) * (FN(widen)(e) - 0.5 * FN(widen)(c));
        FN(vstore)(h, hk);
        FN(vstore)(delta, c);
    }
}

/* lanes where w is not 0; an intrinsic where GCC 12 fails on the comparison (doubles under SSE2) */
static inline ivec FN(vnonzero)(vec w)
{
#if VBYTES == 16 && defined(REAL_F64) && defined(__x86_64__)
    return (ivec)_mm_cmpneq_pd(w, _mm_setzero_pd());
#else
    return (ivec)(w != (real)0);
#endif
}

/* h, delta(L) and costs of VL examples by the functions above; returns the factor of the costs */
static inline double FN(cost_of_lanes)(int output, int loss, double parameter, ptrdiff_t K, ptrdiff_t width,
                                       const real *z, const real *y, real *h, real *delta, wide *cost)
{
    switch (output * LOSS_COUNT + loss) {
#define X(output, loss)                                                                                           \
    case OUTPUT_##output * LOSS_COUNT + LOSS_##loss:                                                              \
        FN(output##_##loss)(K, width, parameter, z, y, h, delta, cost);                                           \
        return COST_##output##_##loss;
        PAIRS(X)
#undef X
    }
    return 0;
}

/* h := output(z), delta := w dcost/dz in panels (K, width); returns the sum of w cost, lanes of weight 0 left out */
static double FN(cost_and_delta)(int output, int loss, double parameter, ptrdiff_t m, ptrdiff_t K, const real *z,
                                 const real *y, const real *w, real *h, real *delta)
{
    const vec none = FN(vset1)(0);
    double sum = 0;
    for (ptrdiff_t e = 0; e < m; e += PANEL) {
        const ptrdiff_t width = FN(panel_width)(m - e);
        for (ptrdiff_t g = 0; g < width; g += VL) {
            const ptrdiff_t at = e * K + g;
            const vec we = FN(vload)(w + e + g);
            const ivec live = FN(vnonzero)(we);
            wide cost = {0};
            const double factor = FN(cost_of_lanes)(output, loss, parameter, K, width, z + at, y + at, h + at,
                                                    delta + at, &cost);
            for (int i = 0; i < VL; i++)
                cost[i] = we[i] != 0 ? cost[i] * (double)we[i] : 0;
            sum += factor * FN(sum_of_wide)(&cost);
            for (ptrdiff_t k = at; k < at + K * width; k += width)
                FN(vstore)(delta + k, FN(vselect)(live, we * FN(vload)(delta + k), none));
        }
    }
    return sum;
}

/* h := output(z) in panels (K, width); h is not z */
static void FN(output)(int output, ptrdiff_t m, ptrdiff_t K, const real *z, real *h)
{
    const ptrdiff_t n = FN(padded)(m) * K;
    vec zmax;
    switch (output) {
    case OUTPUT_sigmoid: FN(activate_sigmoid)(n, z, h); break;
    case OUTPUT_tanh: FN(activate_tanh)(n, z, h); break;
    case OUTPUT_identity: memcpy(h, z, (size_t)n * sizeof(real)); break;
    case OUTPUT_exp:
        for (ptrdiff_t i = 0; i < n; i += VL)
            FN(vstore)(h + i, FN(vexp)(FN(vload)(z + i)));
        break;
    case OUTPUT_softmax:
        for (ptrdiff_t e = 0; e < m; e += PANEL) {
            const ptrdiff_t width = FN(panel_width)(m - e);
            for (ptrdiff_t g = 0; g < width; g += VL)
                FN(softmax_lanes)(K, width, z + e * K + g, h + e * K + g, &zmax);
        }
        break;
    }
}
