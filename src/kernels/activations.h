/* Each activation g directly above its derivative, in one vector of z (in) or of a = g(z).
 * To add one: a line in names.h, the two functions here, a line in tests/reference.py. */

/* g'(z) = a (1 - a) */
static inline vec FN(g_sigmoid)(vec z) { return FN(vsigmoid)(z); }
static inline vec FN(dg_sigmoid)(vec a, vec z) { (void)z; return a * ((real)1 - a); }

/* g'(z) = 1 - a^2, as (1 - a)(1 + a): no cancellation near |a| = 1 */
static inline vec FN(g_tanh)(vec z) { return FN(vtanh)(z); }
static inline vec FN(dg_tanh)(vec a, vec z) { (void)z; return ((real)1 - a) * ((real)1 + a); }

/* max(z, 0), NaN kept; g'(0) = 0 */
static inline vec FN(g_relu)(vec z) { return FN(vselect)(z < (real)0, z * 0, z); }
static inline vec FN(dg_relu)(vec a, vec z) { (void)z; return FN(vselect)(a > (real)0, FN(vset1)(1), FN(vset1)(0)); }

static inline vec FN(g_identity)(vec z) { return z; }
static inline vec FN(dg_identity)(vec a, vec z) { (void)a; (void)z; return FN(vset1)(1); }

/* z > 0 ? z : 0.01 z */
static inline vec FN(g_leaky_relu)(vec z) { return FN(vselect)(z > (real)0, z, (real)0.01 * z); }
static inline vec FN(dg_leaky_relu)(vec a, vec z) { (void)z; return FN(vselect)(a > (real)0, FN(vset1)(1), FN(vset1)((real)0.01)); }

/* z > 0 ? z : e^z - 1;  g'(z) = z > 0 ? 1 : a + 1 */
static inline vec FN(g_elu)(vec z) { return FN(vselect)(z > (real)0, z, FN(vexpm1)(FN(vmin)(FN(vset1)(0), z))); }
static inline vec FN(dg_elu)(vec a, vec z) { (void)z; return FN(vselect)(a > (real)0, FN(vset1)(1), a + (real)1); }

/* log(1 + e^z) = max(z, 0) + log1p(e^-|z|);  g'(z) = sigmoid(z) = 1 - e^-a */
static inline vec FN(g_softplus)(vec z)
{
    return FN(vmax)(z, FN(vset1)(0)) + FN(vlog1p)(FN(vexp)(-FN(vabs)(z)));
}
static inline vec FN(dg_softplus)(vec a, vec z) { (void)z; return -FN(vexpm1)(-a); }

/* z s(z);  g'(z) = s (1 + z (1 - s)) with the sigmoid s(z) */
static inline vec FN(g_silu)(vec z) { return z * FN(vsigmoid)(z); }
static inline vec FN(dg_silu)(vec a, vec z)
{
    (void)a;
    vec s = FN(vsigmoid)(z);
    return s * ((real)1 + z * ((real)1 - s));
}

/* z Phi(z), the erf form;  g'(z) = Phi(z) + z phi(z), phi(z) = e^(-z^2/2) / sqrt(2 pi) */
static inline vec FN(g_gelu)(vec z) { return z * FN(vnormcdf)(z); }
static inline vec FN(dg_gelu)(vec a, vec z)
{
    (void)a;
    vec phi = (real)0.398942280401432677939946 * FN(vexp)((real)-0.5 * z * z);
    return FN(vnormcdf)(z) + z * phi;
}

/* The loops, one per activation, chosen outside; the tail runs the same vector code on a part. */
#define X(name, keeps_z)                                                                                          \
    static void FN(activate_##name)(ptrdiff_t n, const real *z, real *a)                                          \
    {                                                                                                             \
        ptrdiff_t i = 0;                                                                                          \
        for (; i + VL <= n; i += VL)                                                                              \
            FN(vstore)(a + i, FN(g_##name)(FN(vload)(z + i)));                                                    \
        if (i < n)                                                                                                \
            FN(vstore_part)(a + i, n - i, FN(g_##name)(FN(vload_part)(z + i, n - i)));                            \
    }                                                                                                             \
    static void FN(activate_backward_##name)(ptrdiff_t n, const real *a, const real *z, real *delta)              \
    {                                                                                                             \
        ptrdiff_t i = 0;                                                                                          \
        for (; i + VL <= n; i += VL)                                                                              \
            FN(vstore)(delta + i, FN(vload)(delta + i) * FN(dg_##name)(FN(vload)(a + i), FN(vload)(z + i)));      \
        if (i < n)                                                                                                \
            FN(vstore_part)(delta + i, n - i, FN(vload_part)(delta + i, n - i) *                                  \
                            FN(dg_##name)(FN(vload_part)(a + i, n - i), FN(vload_part)(z + i, n - i)));           \
    }
ACTIVATIONS(X)
#undef X

static void FN(activate)(int g, ptrdiff_t n, const real *z, real *a)
{
    switch (g) {
#define X(name, keeps_z) case G_##name: FN(activate_##name)(n, z, a); break;
        ACTIVATIONS(X)
#undef X
    }
}

static void FN(activate_backward)(int g, ptrdiff_t n, const real *a, const real *z, real *delta)
{
    switch (g) {
#define X(name, keeps_z) case G_##name: FN(activate_backward_##name)(n, a, z, delta); break;
        ACTIVATIONS(X)
#undef X
    }
}
