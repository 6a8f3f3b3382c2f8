/* Each cost directly above its delta(L) = dcost/dz(L), for VL examples at once. Both are computed from z, never from
 * log(h), so that no logit overflows or loses its digits. Where h and y are both near 1, h - y is computed as
 * (1 - y) - (1 - h): 1 - y is exact, and 1 - h also comes from z. z, y, h, delta are panels: unit k of these examples
 * is at k * width. A function adds the costs to `cost`, in double and divided by its COST_ factor; the caller applies
 * the weights. `parameter` is that of the loss, if it has one.
 * To add a pair: a line in names.h, its function here, its line in tests/reference.py. */

#ifndef LOSSES_ONCE
#define LOSSES_ONCE
#define COST_sigmoid_cross_entropy 1
#define COST_softmax_cross_entropy 2 /* cost holds halves: zmax - z_k may overflow where y_k is 0 */
#define COST_exp_poisson 1
#define COST_sigmoid_squared_error 0.5
#define COST_softmax_squared_error 0.5
#define COST_identity_squared_error 0.5
#define COST_tanh_squared_error 0.5
#define COST_identity_absolute_error 1
#define COST_identity_huber 1
#define COST_identity_quantile 1
#endif

/* VL doubles in PARTS vectors: GCC moves longer ones through memory, word by word. EACH_PART runs a statement for each part
 * p of them. */
#undef wide
#undef costs_t
#undef PARTS
#define wide FN(wide)
#define costs_t FN(costs_t)
#define PARTS PICK(2, 1)
#undef EACH_PART
#define EACH_PART for (int p = 0; p < PARTS; p++)
typedef double wide __attribute__((vector_size(VBYTES)));
typedef int64_t FN(wide_bits) __attribute__((vector_size(VBYTES)));
typedef struct { wide part[PARTS]; } costs_t;

/* part p of v in double */
static inline wide FN(widen)(vec v, int p)
{
#if defined(REAL_F64)
    (void)p;
    return v;
#elif defined(__x86_64__) && VBYTES == 64
    return (wide)_mm512_cvtps_pd(p ? _mm512_extractf32x8_ps(v, 1) : _mm512_castps512_ps256(v));
#elif defined(__x86_64__) && VBYTES == 32
    return (wide)_mm256_cvtps_pd(p ? _mm256_extractf128_ps(v, 1) : _mm256_castps256_ps128(v));
#elif defined(__x86_64__)
    return (wide)_mm_cvtps_pd(p ? _mm_movehl_ps(v, v) : (__m128)v);
#else
    return (wide){(double)v[2 * p], (double)v[2 * p + 1]};
#endif
}

/* The sum of VL doubles: adds the upper half to the lower until one is left. */
static inline double FN(sum_of_costs)(const costs_t *v)
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

/* h := softmax(z), zmax := max z, returns log sum_k e^(z_k - zmax). The sum is 1 + S: S leaves out one maximum.
 * others := S / (1 + S): where h_k > 1/2, this is 1 - h_k with all its digits. */
static inline vec FN(softmax_lanes)(ptrdiff_t K, ptrdiff_t width, const real *z, real *h, vec *zmax, vec *others)
{
    vec top = FN(vload)(z), rest = FN(vset1)(0), rest_low = rest, ties = rest;
    for (ptrdiff_t k = 1; k < K; k++)
        top = FN(vmax)(top, FN(vload)(z + k * width));
    for (ptrdiff_t k = 0; k < K; k++)
        FN(vstore)(h + k * width, FN(softmax_exp)(FN(vload)(z + k * width), top, &rest, &rest_low, &ties));
    /* the compensated sum of the rest comes first; then each further maximum adds 1 */
    FN(add_sum)(&rest, &rest_low, ties - (real)1);
    const vec S = rest + rest_low;
    /* 1 / (1 + S), with 1 + S kept as the sum of two terms */
    const vec sum = (real)1 + S, from_S = sum - (real)1;
    const vec low = ((rest - S) + rest_low) + (((real)1 - (sum - from_S)) + (S - from_S));
    for (ptrdiff_t k = 0; k < K; k++)
        FN(vstore)(h + k * width, FN(vdivide)(FN(vload)(h + k * width), FN(vset1)(0), sum, low));
    *zmax = top;
    *others = S * (1 / sum);
    return FN(vlog1p)(S);
}

/* h - y of a softmax; others comes from softmax_lanes */
static inline vec FN(softmax_error)(vec h, vec y, vec others)
{
    return FN(vselect)((ivec)(h > (real)0.5), ((real)1 - y) - others, h - y);
}

/* Label smoothing a, the parameter of cross_entropy: y becomes (1 - a) y + a / n, where n is the number of classes, 2
 * for a sigmoid. a = 0 leaves y itself. */
#undef SMOOTH
#define SMOOTH(a, n) const real keep = (real)(1 - (a)), share = (real)((a) / (n));

/* -sum_k y log h + (1 - y) log(1 - h) = sum_k max(z, 0) - z y + log(1 + e^-|z|);
 * delta = h - y, or (1 - y) - s(-z) for z >= 0 */
static inline void FN(sigmoid_cross_entropy)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z,
                                             const real *y, real *h, real *delta, costs_t *cost)
{
    SMOOTH(parameter, 2)
    for (ptrdiff_t k = 0; k < K; k++, z += width, y += width, h += width, delta += width) {
        vec e, small, large;
        const vec zk = FN(vload)(z), yk = keep * FN(vload)(y) + share, hk = FN(sigmoid_parts)(zk, &e, &small, &large);
        const ivec left = (ivec)(zk < (real)0);
        /* max(z, 0) - z y = |z| miss, exact where y is 0 or 1 */
        const vec miss = FN(vselect)(left, yk, (real)1 - yk);
        const vec line = FN(vabs)(zk) * miss, bend = FN(vlog1p)(e);
        EACH_PART cost->part[p] += FN(widen)(line, p) + FN(widen)(bend, p);
        FN(vstore)(h, hk);
        FN(vstore)(delta, FN(vselect)(left, hk - yk, miss - small));
    }
}

/* -sum_k y_k log h_k = sum_k y_k ((zmax - z_k) + log sum_j e^(z_j - zmax));  delta = h - y, sum_k y_k = 1 */
static inline void FN(softmax_cross_entropy)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z,
                                             const real *y, real *h, real *delta, costs_t *cost)
{
    SMOOTH(parameter, (double)K)
    vec zmax, others;
    const vec half_log_sum = (real)0.5 * FN(softmax_lanes)(K, width, z, h, &zmax, &others);
    for (ptrdiff_t k = 0; k < K; k++, z += width, y += width, h += width, delta += width) {
        const vec yk = keep * FN(vload)(y) + share;
        const vec half = yk * (((real)0.5 * zmax - (real)0.5 * FN(vload)(z)) + half_log_sum);
        EACH_PART cost->part[p] += FN(widen)(half, p);
        FN(vstore)(delta, FN(softmax_error)(FN(vload)(h), yk, others));
    }
}

#ifdef REAL_F32
/* h = e^z in double, for z whose e^z overflows in float */
static inline double FN(large_exp)(double z)
{
    if (!(z < 710))
        return INFINITY;
    const int k = (int)(z * 0x1.71547652b82fep+0);
    return ldexp((double)FN(vexp)(FN(vset1)((real)(z - k * 0x1.62e42fefa39efp-1)))[0], k);
}
#endif

/* y log(y/h) - y + h = y (e^t - 1 - t) with t = z - log y, h - y (1 + t) for large t or y = 0;  delta = h - y */
static inline void FN(exp_poisson)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z,
                                   const real *y, real *h, real *delta, costs_t *cost)
{
    (void)parameter;
    for (ptrdiff_t k = 0; k < K; k++, z += width, y += width, h += width, delta += width) {
        const vec zk = FN(vload)(z), yk = FN(vload)(y), hk = FN(vexp)(zk);
        const ivec some = (ivec)(yk > (real)0);
        const vec t = zk - FN(vlog)(FN(vselect)(some, yk, FN(vset1)(1)));
        const ivec near = some & (ivec)(t < (real)16);
        const vec high_ = FN(vselect)(near, FN(vexpm1)(t) - t, hk), none = FN(vset1)(0);
        const vec times = FN(vselect)(near, yk, FN(vset1)(1)), less = FN(vselect)(near, none, yk), line = (real)1 + t;
        costs_t high;
        EACH_PART high.part[p] = FN(widen)(high_, p);
#ifdef REAL_F32
        if (FN(vhmax)(zk) > EXP_MAX)
            for (int i = 0; i < VL; i++)
                if (zk[i] > EXP_MAX && !near[i])
                    high.part[i / (VL / 2)][i % (VL / 2)] = FN(large_exp)((double)zk[i]);
#endif
        EACH_PART {
            cost->part[p] += FN(widen)(times, p) * high.part[p];
            cost->part[p] -= FN(widen)(less, p) * FN(widen)(line, p);
        }
        FN(vstore)(h, hk);
        FN(vstore)(delta, hk - yk);
    }
}

/* h and g' of the elementwise outputs; returns e = h - y */
static inline vec FN(sigmoid_error)(vec z, vec y, vec *h, vec *slope)
{
    vec e, small, large;
    *h = FN(sigmoid_parts)(z, &e, &small, &large);
    *slope = small * large;
    return FN(vselect)((ivec)(z < (real)0), *h - y, ((real)1 - y) - small);
}
/* where h and y are near the same end, e comes from 1 - |y| and 1 - |h| */
static inline vec FN(tanh_error)(vec z, vec y, vec *h, vec *slope)
{
    vec missing;
    *h = FN(tanh_parts)(z, &missing, slope);
    const uvec sign = FN(vsign)(z);
    const vec along = (vec)((uvec)y ^ sign), e = (vec)((uvec)(((real)1 - along) - missing) ^ sign);
    return FN(vselect)((ivec)(along > (real)0.5), e, *h - y);
}
static inline vec FN(identity_error)(vec z, vec y, vec *h, vec *slope)
{
    *h = z;
    *slope = FN(vset1)(1);
    return z - y;
}

/* 1/2 sum_k e_k^2;  delta = e .* g'(z). For the identity, the cost takes e in double: e may overflow in
 * float32 although its square in double does not. */
#define SQUARED_ERROR(name, wide_e)                                                                               \
    static inline void FN(name##_squared_error)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z,    \
                                                const real *y, real *h, real *delta, costs_t *cost)                  \
    {                                                                                                             \
        (void)parameter;                                                                                          \
        for (ptrdiff_t k = 0; k < K; k++, z += width, y += width, h += width, delta += width) {                   \
            vec hk, slope;                                                                                        \
            const vec yk = FN(vload)(y), e = FN(name##_error)(FN(vload)(z), yk, &hk, &slope);                     \
            EACH_PART {                                                                                           \
                const wide far = wide_e;                                                                          \
                cost->part[p] += far * far;                                                                       \
            }                                                                                                     \
            FN(vstore)(h, hk);                                                                                    \
            FN(vstore)(delta, e * slope);                                                                         \
        }                                                                                                         \
    }
SQUARED_ERROR(sigmoid, FN(widen)(e, p))
SQUARED_ERROR(tanh, FN(widen)(e, p))
SQUARED_ERROR(identity, FN(widen)(hk, p) - FN(widen)(yk, p))
#undef SQUARED_ERROR

/* 1/2 sum_k e_k^2 with e = h - y;  delta = h .* (e - e'h). For h_k > 1/2 most of e'h is e_k h_k, so that
 * e_k - e'h is computed as e_k (1 - h_k) - sum over j != k of e_j h_j */
static inline void FN(softmax_squared_error)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z,
                                             const real *y, real *h, real *delta, costs_t *cost)
{
    (void)parameter;
    vec eh = FN(vset1)(0), eh_others = eh, zmax, others;
    FN(softmax_lanes)(K, width, z, h, &zmax, &others);
    for (ptrdiff_t k = 0; k < K * width; k += width) {
        const vec hk = FN(vload)(h + k), e = FN(softmax_error)(hk, FN(vload)(y + k), others);
        EACH_PART cost->part[p] += FN(widen)(e, p) * FN(widen)(e, p);
        eh += e * hk;
        eh_others += FN(vselect)((ivec)(hk > (real)0.5), FN(vset1)(0), e * hk);
        FN(vstore)(delta + k, e);
    }
    for (ptrdiff_t k = 0; k < K * width; k += width) {
        const vec hk = FN(vload)(h + k), e = FN(vload)(delta + k);
        FN(vstore)(delta + k, hk * FN(vselect)((ivec)(hk > (real)0.5), e * others - eh_others, e - eh));
    }
}

/* sum_k slope_k e_k with e = h - y and one slope on each side of y;  delta = slope, 0 where e = 0 (a subgradient).
 * The losses: |e|, and the pinball loss max(q (y - h), (q - 1) (y - h)) with its parameter q */
#define SLOPES(loss, above, below)                                                                                \
    static inline void FN(identity_##loss)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z,         \
                                           const real *y, real *h, real *delta, costs_t *cost)                       \
    {                                                                                                             \
        (void)parameter;                                                                                          \
        const vec up = FN(vset1)((real)(above)), down = FN(vset1)((real)(below)), none = FN(vset1)(0);            \
        for (ptrdiff_t k = 0; k < K; k++, z += width, y += width, h += width, delta += width) {                   \
            const vec hk = FN(vload)(z), yk = FN(vload)(y), e = hk - yk;                                          \
            const vec slope = FN(vselect)((ivec)(e > none), up, FN(vselect)((ivec)(e < none), down, none));       \
            EACH_PART cost->part[p] += FN(widen)(slope, p) * (FN(widen)(hk, p) - FN(widen)(yk, p));               \
            FN(vstore)(h, hk);                                                                                    \
            FN(vstore)(delta, slope);                                                                             \
        }                                                                                                         \
    }
SLOPES(absolute_error, 1, -1)
SLOPES(quantile, 1 - parameter, -parameter)
#undef SLOPES

/* sum_k e_k^2 / 2 for |e_k| <= d, else d (|e_k| - d/2), with e = h - y and the parameter d. Both are c (e - c/2), where
 * c = delta is e clipped to [-d, d] */
static inline void FN(identity_huber)(ptrdiff_t K, ptrdiff_t width, double parameter, const real *z, const real *y,
                                      real *h, real *delta, costs_t *cost)
{
    const vec d = FN(vset1)((real)parameter);
    for (ptrdiff_t k = 0; k < K; k++, z += width, y += width, h += width, delta += width) {
        const vec hk = FN(vload)(z), yk = FN(vload)(y), c = FN(vmax)(-d, FN(vmin)(d, hk - yk));
        EACH_PART cost->part[p] += FN(widen)(c, p) * ((FN(widen)(hk, p) - FN(widen)(yk, p)) - 0.5 * FN(widen)(c, p));
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
                                       const real *z, const real *y, real *h, real *delta, costs_t *cost)
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

/* h := output(z), delta := w dcost/dz in panels (K, width); returns the sum of w cost without lanes of weight 0 */
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
            costs_t cost = {{{0}}};
            const double factor = FN(cost_of_lanes)(output, loss, parameter, K, width, z + at, y + at, h + at,
                                                    delta + at, &cost);
            EACH_PART {     /* weights are at least 0 */
                const wide wide_w = FN(widen)(we, p), product = cost.part[p] * wide_w;
                const FN(wide_bits) some = (FN(wide_bits))(wide_w > 0.0);
                cost.part[p] = (wide)(some & (FN(wide_bits))product);
            }
            sum += factor * FN(sum_of_costs)(&cost);
            for (ptrdiff_t k = at; k < at + K * width; k += width)
                FN(vstore)(delta + k, FN(vselect)(live, we * FN(vload)(delta + k), none));
        }
    }
    return sum;
}

/* The caller's own loss: returns cost(z, y) of one example and writes delta := dcost/dz; z, delta (K,), y in place */
typedef double (*FN(own_loss))(int K, const real *z, const real *y, real *delta, void *user);

static double FN(own_cost_of_one)(const plan_t *p, const examples_t *data, ptrdiff_t i, const real *z, real *delta)
{
    const ptrdiff_t row = FN(row_of)(data->order, i, data->Y.n);
    const char *y = (const char *)data->Y.data + row * data->Y.stride;
    return ((FN(own_loss))p->own)((int)p->s[p->L - 1], z, (const real *)(const void *)y, delta, (void *)p->user);
}

/* delta := w dcost/dz of m examples by the caller's own loss; returns the sum of w cost without those of weight 0 */
static double FN(own_cost)(const plan_t *p, const examples_t *data, ptrdiff_t first, ptrdiff_t m, const real *z,
                           const real *w, real *rows, real *slopes, real *delta)
{
    const ptrdiff_t K = p->s[p->L - 1];
    double sum = 0;
    FN(to_rows)(m, K, z, rows, K);
    for (ptrdiff_t i = 0; i < m; i++) {
        real *slope = slopes + i * K;
        if (w[i] != 0 && p->own)
            sum += (double)w[i] * FN(own_cost_of_one)(p, data, first + i, rows + i * K, slope);
        else
            memset(slope, 0, (size_t)K * sizeof(real));
        for (ptrdiff_t k = 0; w[i] != 1 && k < K; k++)
            slope[k] *= w[i];
    }
    FN(to_panels)(m, K, slopes, K, delta);
    return sum;
}
