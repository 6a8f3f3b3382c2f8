/* Each activation g with its derivative g', on one vector. Where a = g(z) holds the digits of g', dg computes g' from
 * a. Where names.h has keeps = 1, g also computes g', as `slope`, which is kept for the backward pass.
 * To add one: a line in names.h, the functions here, a line in tests/reference.py. */

/* g'(z) = s(z) s(-z); the smaller factor is not computed as 1 - a, which has lost its digits near a = 1 */
static inline vec FN(g_sigmoid)(vec z, vec *slope)
{
    vec e, small, large;
    const vec a = FN(sigmoid_parts)(z, &e, &small, &large);
    *slope = small * large;
    return a;
}

/* g'(z) = 1 - a^2 = (1 - |a|)(1 + |a|), with 1 - |a| from z */
static inline vec FN(g_tanh)(vec z, vec *slope)
{
    vec missing;
    return FN(tanh_parts)(z, &missing, slope);
}

/* max(z, 0), NaN kept; g'(0) = 0 */
static inline vec FN(g_relu)(vec z) { return FN(vselect)(z < (real)0, z * 0, z); }
static inline vec FN(dg_relu)(vec a) { return FN(vselect)(a > (real)0, FN(vset1)(1), FN(vset1)(0)); }

static inline vec FN(g_identity)(vec z) { return z; }
static inline vec FN(dg_identity)(vec a) { (void)a; return FN(vset1)(1); }

/* z > 0 ? z : 0.01 z */
static inline vec FN(g_leaky_relu)(vec z) { return FN(vselect)(z > (real)0, z, (real)0.01 * z); }
static inline vec FN(dg_leaky_relu)(vec a) { return FN(vselect)(a > (real)0, FN(vset1)(1), FN(vset1)((real)0.01)); }

/* z > 0 ? z : e^z - 1;  g'(z) = z > 0 ? 1 : e^z */
static inline vec FN(g_elu)(vec z, vec *slope)
{
    const vec left = FN(expm1_and_exp)(FN(vmin)(FN(vset1)(0), z), slope);
    return FN(vselect)(z > (real)0, z, left);
}

/* log(1 + e^z) = max(z, 0) + log1p(e^-|z|);  g'(z) = s(z) = 1 - e^-a */
static inline vec FN(g_softplus)(vec z)
{
    return FN(vmax)(z, FN(vset1)(0)) + FN(vlog1p)(FN(vexp)(-FN(vabs)(z)));
}
static inline vec FN(dg_softplus)(vec a) { return -FN(vexpm1)(-a); }

/* z s(z);  g'(z) = s(z) (1 + z s(-z)) with the sigmoid s */
static inline vec FN(g_silu)(vec z, vec *slope)
{
    vec e, small, large;
    const vec s = FN(sigmoid_parts)(z, &e, &small, &large);
    *slope = s * ((real)1 + z * FN(vselect)((ivec)(z < (real)0), large, small));
    return z * s;
}

/* z Phi(z), the erf form;  g'(z) = Phi(z) + z phi(z), phi(z) = e^(-z^2/2) / sqrt(2 pi) */
static inline vec FN(g_gelu)(vec z, vec *slope)
{
    vec e;
    const vec Phi = FN(normcdf_and_exp)(z, &e);
    *slope = Phi + z * ((real)0.398942280401432677939946 * e);
    return z * Phi;
}

/* The loops, one per activation; `activate` chooses one. With vectors of 64 bytes, four go through the function side by
 * side: its chain of dependent instructions is longer than the processor's look-ahead, and GCC interleaves independent
 * instructions only on request. The rest runs the same vector code on partial vectors. */
#undef VALUE_0
#undef VALUE_1
#undef SLOPE_0
#undef SLOPE_1
#undef AT_ONCE
#undef SIDE_BY_SIDE
#define VALUE_0(name, z, s) FN(g_##name)(z)
#define VALUE_1(name, z, s) FN(g_##name)(z, s)
#define SLOPE_0(name, v) FN(dg_##name)(v)
#define SLOPE_1(name, v) v
#if VBYTES == 64
#define AT_ONCE 4
#else
#define AT_ONCE 1
#endif
#if VBYTES == 64 && !defined(__clang__)
#define SIDE_BY_SIDE __attribute__((optimize("schedule-insns", "fp-contract=off")))
#else
#define SIDE_BY_SIDE
#endif
#define LOOP(name, keeps, keep, function)                                                                         \
    SIDE_BY_SIDE static void FN(function)(ptrdiff_t n, const real *z, real *a, real *slope)                       \
    {                                                                                                             \
        vec v[AT_ONCE], s[AT_ONCE];                                                                               \
        ptrdiff_t i = 0;                                                                                          \
        (void)slope;                                                                                              \
        for (; i + AT_ONCE * VL <= n; i += AT_ONCE * VL) {                                                        \
            for (int u = 0; u < AT_ONCE; u++)                                                                     \
                v[u] = VALUE_##keeps(name, FN(vload)(z + i + u * VL), &s[u]);                                     \
            for (int u = 0; u < AT_ONCE; u++) {                                                                   \
                FN(vstore)(a + i + u * VL, v[u]);                                                                 \
                if (keep)                                                                                         \
                    FN(vstore)(slope + i + u * VL, s[u]);                                                         \
            }                                                                                                     \
        }                                                                                                         \
        for (; i < n; i += VL) {                                                                                  \
            const ptrdiff_t lanes = FN(there)(n - i);                                                             \
            v[0] = lanes == VL ? FN(vload)(z + i) : FN(vload_part)(z + i, lanes);                                 \
            FN(vstore_part)(a + i, lanes, VALUE_##keeps(name, v[0], s));                                          \
            if (keep)                                                                                             \
                FN(vstore_part)(slope + i, lanes, s[0]);                                                          \
        }                                                                                                         \
    }
#define KEPT_0(name)
#define KEPT_1(name) LOOP(name, 1, 1, keep_##name)
#define X(name, keeps)                                                                                            \
    LOOP(name, keeps, 0, activate_##name)                                                                         \
    KEPT_##keeps(name)                                                                                            \
    static void FN(activate_backward_##name)(ptrdiff_t n, const real *a, const real *slope, real *delta)          \
    {                                                                                                             \
        const real *from = keeps ? slope : a;                                                                     \
        ptrdiff_t i = 0;                                                                                          \
        for (; i + VL <= n; i += VL)                                                                              \
            FN(vstore)(delta + i, FN(vload)(delta + i) * SLOPE_##keeps(name, FN(vload)(from + i)));               \
        if (i < n)                                                                                                \
            FN(vstore_part)(delta + i, n - i,                                                                     \
                            FN(vload_part)(delta + i, n - i) * SLOPE_##keeps(name, FN(vload_part)(from + i, n - i))); \
    }
ACTIVATIONS(X)
#undef X
#undef LOOP
#undef KEPT_0
#undef KEPT_1

#define KEPT_0(name) FN(activate_##name)
#define KEPT_1(name) FN(keep_##name)
static void FN(activate)(int g, ptrdiff_t n, const real *z, real *a, real *slope)
{
    switch (g) {
#define X(name, keeps) case G_##name: (slope ? KEPT_##keeps(name) : FN(activate_##name))(n, z, a, slope); break;
        ACTIVATIONS(X)
#undef X
    }
}
#undef KEPT_0
#undef KEPT_1

static void FN(activate_backward)(int g, ptrdiff_t n, const real *a, const real *slope, real *delta)
{
    switch (g) {
#define X(name, keeps) case G_##name: FN(activate_backward_##name)(n, a, slope, delta); break;
        ACTIVATIONS(X)
#undef X
    }
}
