/* Second derivatives, for curvature products (src/_curvature.pyx). Each activation has g, g' and g''. Each pair of
 * output and loss has the ingredients of H, the second derivative of its cost with respect to z(L), and of H+: H without
 * terms that can be negative. Where a second derivative jumps or does not exist, docs/math.md defines its value. All
 * arrays are panels of whole vectors.
 *
 * Kept for VL examples, K values each:
 *     any but softmax       q = diag H
 *     softmax               h = softmax(z);  q = 1 - h with all its digits where h > 1/2;  t = e - e'h of squared_error
 * To add an activation: twice_name. To add a pair: curve_output_loss. */

/* a = g(z), slope := g'(z), second := g''(z) */

/* g'' = a (1 - a) (1 - 2a); 1 - 2a is the difference of s(-z) and s(z) */
static inline vec FN(twice_sigmoid)(vec z, vec *slope, vec *second)
{
    vec e, small, large;
    const vec a = FN(sigmoid_parts)(z, &e, &small, &large);
    *slope = small * large;
    *second = *slope * FN(vselect)((ivec)(z < (real)0), large - small, small - large);
    return a;
}

/* g'' = -2 a (1 - a^2) */
static inline vec FN(twice_tanh)(vec z, vec *slope, vec *second)
{
    const vec a = FN(g_tanh)(z, slope);
    *second = (real)-2 * a * *slope;
    return a;
}

/* g'' = 0, at the kink too */
#define STRAIGHT(name)                                                                                            \
    static inline vec FN(twice_##name)(vec z, vec *slope, vec *second)                                            \
    {                                                                                                             \
        const vec a = FN(g_##name)(z);                                                                            \
        *slope = FN(dg_##name)(a);                                                                                \
        *second = FN(vset1)(0);                                                                                   \
        return a;                                                                                                 \
    }
STRAIGHT(relu)
STRAIGHT(identity)
STRAIGHT(leaky_relu)
#undef STRAIGHT

/* g'' = z > 0 ? 0 : e^z */
static inline vec FN(twice_elu)(vec z, vec *slope, vec *second)
{
    const vec a = FN(g_elu)(z, slope);
    *second = FN(vselect)((ivec)(z > (real)0), FN(vset1)(0), *slope);
    return a;
}

/* g' = s(z) = 1 - e^-a, g'' = s(z) s(-z) = g' e^-a */
static inline vec FN(twice_softplus)(vec z, vec *slope, vec *second)
{
    vec e;
    const vec a = FN(g_softplus)(z);
    *slope = -FN(expm1_and_exp)(-a, &e);
    *second = *slope * e;
    return a;
}

/* g'' = s(z) s(-z) (2 + z (s(-z) - s(z))) */
static inline vec FN(twice_silu)(vec z, vec *slope, vec *second)
{
    vec e, small, large;
    const vec a = FN(g_silu)(z, slope);
    FN(sigmoid_parts)(z, &e, &small, &large);
    *second = small * large * ((real)2 - FN(vabs)(z) * (large - small));
    return a;
}

/* g'' = phi(z) (2 - z^2), written so that z^2 cannot overflow where phi is 0 */
static inline vec FN(twice_gelu)(vec z, vec *slope, vec *second)
{
    vec e;
    const vec Phi = FN(normcdf_and_exp)(z, &e), phi = (real)0.398942280401432677939946 * e;
    *slope = Phi + z * phi;
    *second = 2 * phi - z * (z * phi);
    return z * Phi;
}

/* a := g(z), slope := g'(z), second := g''(z) of n values, whole vectors; a may be z */
static void FN(activate_twice)(int g, ptrdiff_t n, const real *z, real *a, real *slope, real *second)
{
    switch (g) {
#define X(name, keeps)                                                                                            \
    case G_##name:                                                                                                \
        for (ptrdiff_t i = 0; i < n; i += VL) {                                                                   \
            vec d, dd;                                                                                            \
            const vec value = FN(twice_##name)(FN(vload)(z + i), &d, &dd);                                        \
            FN(vstore)(a + i, value);                                                                             \
            FN(vstore)(slope + i, d);                                                                             \
            FN(vstore)(second + i, dd);                                                                           \
        }                                                                                                         \
        break;
        ACTIVATIONS(X)
#undef X
    }
}

/* second := u .* second, delta := u .* slope with u = delta: n values, whole vectors */
static void FN(backward_twice)(ptrdiff_t n, const real *slope, real *second, real *delta)
{
    for (ptrdiff_t i = 0; i < n; i += VL) {
        const vec u = FN(vload)(delta + i);
        FN(vstore)(second + i, u * FN(vload)(second + i));
        FN(vstore)(delta + i, u * FN(vload)(slope + i));
    }
}

/* out := slope .* x of n values, whole vectors; out may be x */
static void FN(times)(ptrdiff_t n, const real *slope, const real *x, real *out)
{
    for (ptrdiff_t i = 0; i < n; i += VL)
        FN(vstore)(out + i, FN(vload)(slope + i) * FN(vload)(x + i));
}

/* E := E .* slope + bend .* Rz of n values, whole vectors: R delta of a hidden layer, with bend = u .* g'' */
static void FN(bend)(ptrdiff_t n, const real *slope, const real *bend, const real *Rz, real *E)
{
    for (ptrdiff_t i = 0; i < n; i += VL)
        FN(vstore)(E + i, FN(vload)(E + i) * FN(vload)(slope + i) + FN(vload)(bend + i) * FN(vload)(Rz + i));
}

/* Units i .. j of  C += B W'  for each panel, the chains of multiply-adds resumed: B has k units, C has n, and W_rc is
 * at  W + r row + c step. */
static void FN(product_onto)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k, const real *W,
                             ptrdiff_t row, ptrdiff_t step, const real *B, real *C)
{
    for (ptrdiff_t c = 0; c < k; c += DEPTH) {
        FN(left) weights = {.segments = 1, .n = FN(less)(DEPTH, k - c), .row = row, .step = step};
        for (ptrdiff_t r = i; r < j; r += GROUP) {
            weights.a = weights.a_tail = W + r * row + c * step;
            for (ptrdiff_t e = 0; e < m; e += PANEL) {
                const ptrdiff_t width = FN(panel_width)(m - e);
                (width == PANEL ? FN(product_more_2) : FN(product_more_1))(
                    FN(less)(GROUP, j - r), &weights, B + e * k + c * width, width, C + e * n + r * width, width, W,
                    0, VL);
            }
        }
    }
}

/* ---------------------------------------------------------------- outputs and losses */

/* The values kept for VL examples, for each pair; plus: those of H+. The weights are applied later. */
#define CURVE(output, loss, diagonal)                                                                             \
    static inline void FN(curve_##output##_##loss)(ptrdiff_t K, ptrdiff_t width, double parameter, int plus,      \
                                                   const real *z, const real *y, real *h, real *q, real *t)       \
    {                                                                                                             \
        (void)parameter, (void)plus, (void)h, (void)t;                                                            \
        for (ptrdiff_t k = 0; k < K * width; k += width) {                                                        \
            const vec zk = FN(vload)(z + k), yk = FN(vload)(y + k);                                               \
            (void)zk, (void)yk;                                                                                   \
            FN(vstore)(q + k, diagonal);                                                                          \
        }                                                                                                         \
    }

/* g'^2 + e g'', or only g'^2: for squared error, H+ leaves out e g'' */
#define SQUARED(name)                                                                                             \
    static inline vec FN(bent_##name)(int plus, vec z, vec y)                                                     \
    {                                                                                                             \
        vec h, slope, second;                                                                                     \
        const vec e = FN(name##_error)(z, y, &h, &slope);                                                         \
        FN(twice_##name)(z, &slope, &second);                                                                     \
        return plus ? slope * slope : slope * slope + e * second;                                                 \
    }
SQUARED(sigmoid)
SQUARED(tanh)
#undef SQUARED

CURVE(sigmoid, cross_entropy, FN(output_slope)(OUTPUT_sigmoid, zk))
CURVE(exp, poisson, FN(vexp)(zk))
CURVE(sigmoid, squared_error, FN(bent_sigmoid)(plus, zk, yk))
CURVE(tanh, squared_error, FN(bent_tanh)(plus, zk, yk))
CURVE(identity, squared_error, FN(vset1)(1))
CURVE(identity, absolute_error, FN(vset1)(0))
CURVE(identity, quantile, FN(vset1)(0))
CURVE(identity, huber, FN(vselect)((ivec)(FN(vabs)(zk - yk) > FN(vset1)((real)parameter)), FN(vset1)(0), FN(vset1)(1)))
#undef CURVE

static inline void FN(curve_softmax_cross_entropy)(ptrdiff_t K, ptrdiff_t width, double parameter, int plus,
                                                   const real *z, const real *y, real *h, real *q, real *t)
{
    (void)parameter, (void)plus, (void)y, (void)t;
    vec zmax, others;
    FN(softmax_lanes)(K, width, z, h, &zmax, &others);
    for (ptrdiff_t k = 0; k < K * width; k += width)
        FN(vstore)(q + k, others);
}

/* sum_k h_k x_k, and that sum without h_k > 1/2 */
static inline vec FN(mean_of_lanes)(ptrdiff_t K, ptrdiff_t width, const real *h, const real *x, vec *rest)
{
    vec sum = FN(vset1)(0);
    *rest = sum;
    for (ptrdiff_t k = 0; k < K * width; k += width) {
        const vec hk = FN(vload)(h + k), product = hk * FN(vload)(x + k);
        sum += product;
        *rest += FN(vselect)((ivec)(hk > (real)0.5), FN(vset1)(0), product);
    }
    return sum;
}

/* x - h'x; for h_k > 1/2 as x_k (1 - h_k) - sum over j != k of h_j x_j, with 1 - h_k = q_k. out may be x */
static inline void FN(centre)(ptrdiff_t K, ptrdiff_t width, const real *h, const real *q, const real *x, real *out)
{
    vec rest;
    const vec mean = FN(mean_of_lanes)(K, width, h, x, &rest);
    for (ptrdiff_t k = 0; k < K * width; k += width) {
        const vec xk = FN(vload)(x + k);
        FN(vstore)(out + k, FN(vselect)((ivec)(FN(vload)(h + k) > (real)0.5), xk * FN(vload)(q + k) - rest, xk - mean));
    }
}

static inline void FN(curve_softmax_squared_error)(ptrdiff_t K, ptrdiff_t width, double parameter, int plus,
                                                   const real *z, const real *y, real *h, real *q, real *t)
{
    FN(curve_softmax_cross_entropy)(K, width, parameter, plus, z, y, h, q, t);
    for (ptrdiff_t k = 0; k < K * width; k += width)
        FN(vstore)(t + k, FN(softmax_error)(FN(vload)(h + k), FN(vload)(y + k), FN(vload)(q + k)));
    FN(centre)(K, width, h, q, t, t);
}

/* h, q, t of m examples: z, y, h, q, t in panels (K), w (m,) padded with zeros; q of an elementwise output holds w too */
static void FN(keep_curve)(int output, int loss, double parameter, int plus, ptrdiff_t m, ptrdiff_t K, const real *z,
                           const real *y, const real *w, real *h, real *q, real *t)
{
    for (ptrdiff_t e = 0; e < m; e += PANEL) {
        const ptrdiff_t width = FN(panel_width)(m - e);
        for (ptrdiff_t g = 0; g < width; g += VL) {
            const ptrdiff_t at = e * K + g;
            const vec we = FN(vload)(w + e + g);
            const ivec live = FN(vnonzero)(we);
            switch (output * LOSS_COUNT + loss) {
#define X(output, loss)                                                                                           \
            case OUTPUT_##output * LOSS_COUNT + LOSS_##loss:                                                      \
                FN(curve_##output##_##loss)(K, width, parameter, plus, z + at, y + at, h + at, q + at, t + at);   \
                break;
                PAIRS(X)
#undef X
            }
            for (ptrdiff_t k = at; output != OUTPUT_softmax && k < at + K * width; k += width)
                FN(vstore)(q + k, FN(vselect)(live, we * FN(vload)(q + k), FN(vset1)(0)));
        }
    }
}

/* R := w H R of VL examples with softmax; h, q, t, R at their unit 0 */
static inline void FN(softmax_curve)(int squared, int plus, ptrdiff_t K, ptrdiff_t width, const real *h, const real *q,
                                     const real *t, vec w, real *R)
{
    const vec none = FN(vset1)(0);
    const ivec live = FN(vnonzero)(w);
    vec tRh = none, mean = none, rest = none;
    FN(centre)(K, width, h, q, R, R);
    for (ptrdiff_t k = 0; k < K * width; k += width) {      /* R := Rh = h .* (R - h'R) */
        const vec Rh = FN(vload)(h + k) * FN(vload)(R + k);
        if (squared && !plus)
            tRh += FN(vload)(t + k) * Rh;
        FN(vstore)(R + k, Rh);
    }
    if (squared)
        mean = FN(mean_of_lanes)(K, width, h, R, &rest);
    for (ptrdiff_t k = 0; k < K * width; k += width) {
        vec hk = FN(vload)(h + k), r = FN(vload)(R + k), out = r;
        if (squared) {      /* h .* (Rh - h'Rh) + Rh .* (e - e'h) - h .* (e'Rh) */
            out = hk * FN(vselect)((ivec)(hk > (real)0.5), r * FN(vload)(q + k) - rest, r - mean);
            if (!plus)
                out += r * FN(vload)(t + k) - hk * tRh;
        }
        FN(vstore)(R + k, FN(vselect)(live, w * out, none));
    }
}

/* R := w H R, or w H+ R, in panels (K), from the result of keep_curve */
static void FN(curve)(int output, int loss, int plus, ptrdiff_t m, ptrdiff_t K, const real *h, const real *q,
                      const real *t, const real *w, real *R)
{
    if (output != OUTPUT_softmax) {
        FN(times)(FN(padded)(m) * K, q, R, R);
        return;
    }
    for (ptrdiff_t e = 0; e < m; e += PANEL) {
        const ptrdiff_t width = FN(panel_width)(m - e);
        for (ptrdiff_t g = 0; g < width; g += VL) {
            const ptrdiff_t at = e * K + g;
            FN(softmax_curve)(loss == LOSS_squared_error, plus, K, width, h + at, q + at, t + at,
                              FN(vload)(w + e + g), R + at);
        }
    }
}

static const FN(curvature) FN(curvatures) = {
    .activate_twice = FN(activate_twice),
    .backward_twice = FN(backward_twice),
    .times = FN(times),
    .bend = FN(bend),
    .product_onto = FN(product_onto),
    .keep_curve = FN(keep_curve),
    .curve = FN(curve),
};
