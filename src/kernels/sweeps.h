/* The sweeps of online.h over the rows of a layer, W (n, ld) in whole vectors and b (n,). A sum across lanes is the same
 * chain of additions in whichever of these functions. */

/* R rows:  w := keep w - step_r x_old,  z_r := b_r + w x_new */
static inline __attribute__((always_inline)) void FN(sweep_rows)(
    const int R, const int decays, ptrdiff_t ld, real *W, real *b, real keep, const real *step, const real *x_old,
    const real *x_new, real *z)
{
    const vec keep_ = FN(vset1)(keep);
    vec sum[4], s[4];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
        s[r] = FN(vset1)(step[r]);
        sum[r] = FN(vset1)(0);
    }
    for (ptrdiff_t j = 0; j < ld; j += VL) {
        const vec old = FN(vload)(x_old + j), new = FN(vload)(x_new + j);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
            real *at = W + r * ld + j;
            vec w = FN(vload)(at);
            w = FN(vnfma)(s[r], old, decays ? keep_ * w : w);
            FN(vstore)(at, w);
            sum[r] = FN(vfma)(w, new, sum[r]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
        b[r] -= step[r];
        z[r] = b[r] + FN(vhsum)(sum[r]);
    }
}

/* The same for VL short rows: their sums are added up together, and nothing waits for single values to meet in a vector */
static inline __attribute__((always_inline)) void FN(sweep_short_rows)(
    const int decays, ptrdiff_t ld, real *W, real *b, real keep, const real *step, const real *x_old,
    const real *x_new, real *z)
{
    const vec keep_ = FN(vset1)(keep);
    vec sum[VL];
#pragma GCC unroll 16
    for (int r = 0; r < VL; r++) {
        const vec s = FN(vset1)(step[r]);
        sum[r] = FN(vset1)(0);
        for (ptrdiff_t j = 0; j < ld; j += VL) {
            real *at = W + r * ld + j;
            vec w = FN(vload)(at);
            w = FN(vnfma)(s, FN(vload)(x_old + j), decays ? keep_ * w : w);
            FN(vstore)(at, w);
            sum[r] = FN(vfma)(w, FN(vload)(x_new + j), sum[r]);
        }
    }
    const vec b_new = FN(vload)(b) - FN(vload)(step);
    FN(vstore)(b, b_new);
    FN(vstore)(z, b_new + FN(vhsums)(sum));
}

#undef SHORT
#define SHORT (VBYTES == 64 ? VL : 2 * VL)      /* most values of a short row */
#define SWEEP(name, decays)                                                                                       \
    static void FN(name)(ptrdiff_t n, ptrdiff_t ld, real *W, real *b, real keep, const real *step,                \
                         const real *x_old, const real *x_new, real *z)                                           \
    {                                                                                                             \
        ptrdiff_t i = 0;                                                                                          \
        for (; ld <= SHORT && i + VL <= n; i += VL)                                                               \
            FN(sweep_short_rows)(decays, ld, W + i * ld, b + i, keep, step + i, x_old, x_new, z + i);             \
        for (; i + 4 <= n; i += 4)                                                                                \
            FN(sweep_rows)(4, decays, ld, W + i * ld, b + i, keep, step + i, x_old, x_new, z + i);                \
        for (; i < n; i++)                                                                                        \
            FN(sweep_rows)(1, decays, ld, W + i * ld, b + i, keep, step + i, x_old, x_new, z + i);                \
    }
SWEEP(sweep_keeping, 0)
SWEEP(sweep_decaying, 1)
#undef SWEEP

/* z := b + W a for R rows */
static inline __attribute__((always_inline)) void FN(meet_rows)(const int R, ptrdiff_t ld, const real *W, const real *b,
                                                                const real *a, real *z)
{
    vec sum[8];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        sum[r] = FN(vset1)(0);
    for (ptrdiff_t j = 0; j < ld; j += VL) {
        const vec aj = FN(vload)(a + j);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++)
            sum[r] = FN(vfma)(FN(vload)(W + r * ld + j), aj, sum[r]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        z[r] = b[r] + FN(vhsum)(sum[r]);
}

/* The same for up to VL short rows; the last one stands in for those that are missing, and zeros follow in z. */
static inline __attribute__((always_inline)) void FN(meet_short_rows)(ptrdiff_t rows, ptrdiff_t ld, const real *W,
                                                                      const real *b, const real *a, real *z)
{
    vec sum[VL];
#pragma GCC unroll 16
    for (int r = 0; r < VL; r++) {
        const real *w = W + (r < rows ? r : rows - 1) * ld;
        sum[r] = FN(vset1)(0);
        for (ptrdiff_t j = 0; j < ld; j += VL)
            sum[r] = FN(vfma)(FN(vload)(w + j), FN(vload)(a + j), sum[r]);
    }
    const vec all = FN(vload)(b) + FN(vhsums)(sum);
    FN(vstore)(z, rows < VL ? FN(vselect)(FN(vfirst)(rows), all, FN(vset1)(0)) : all);   /* a takes the place of z */
}

static void FN(meet)(ptrdiff_t n, ptrdiff_t ld, const real *W, const real *b, const real *a, real *z)
{
    ptrdiff_t i = 0;
    for (; ld <= SHORT && 4 * (n - i) > VL; i += VL)
        FN(meet_short_rows)(n - i, ld, W + i * ld, b + i, a, z + i);
    for (; i + 8 <= n; i += 8)
        FN(meet_rows)(8, ld, W + i * ld, b + i, a, z + i);
    for (; i + 2 <= n; i += 2)
        FN(meet_rows)(2, ld, W + i * ld, b + i, a, z + i);
    if (i < n)
        FN(meet_rows)(1, ld, W + i * ld, b + i, a, z + i);
}

/* e := (or +=) sum_r delta_r w_r, then w_r := keep w_r - eta delta_r a, for R rows */
static inline __attribute__((always_inline)) void FN(learn_rows)(
    const int R, const int first, ptrdiff_t ld, real *W, real *b, real keep, real eta, const real *delta, const real *a,
    real *e)
{
    const vec keep_ = FN(vset1)(keep);
    vec d[4], s[4];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
        d[r] = FN(vset1)(delta[r]);
        s[r] = FN(vset1)(eta * delta[r]);
        b[r] -= eta * delta[r];
    }
    for (ptrdiff_t j = 0; j < ld; j += VL) {
        const vec aj = FN(vload)(a + j);
        vec ej = first ? FN(vset1)(0) : FN(vload)(e + j);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
            real *at = W + r * ld + j;
            const vec w = FN(vload)(at);
            ej = FN(vfma)(d[r], w, ej);
            FN(vstore)(at, FN(vnfma)(s[r], aj, keep_ * w));
        }
        FN(vstore)(e + j, ej);
    }
}

/* The same for all n short rows: e stays in a register. */
static inline void FN(learn_short_rows)(ptrdiff_t n, ptrdiff_t ld, real *W, real *b, real keep, real eta,
                                        const real *delta, const real *a, real *e)
{
    for (ptrdiff_t r = 0; r < n; r++)
        b[r] -= eta * delta[r];
    for (ptrdiff_t j = 0; j < ld; j += VL) {
        const vec aj = FN(vload)(a + j), keep_ = FN(vset1)(keep);
        vec ej = FN(vset1)(0);
        for (ptrdiff_t r = 0; r < n; r++) {
            real *at = W + r * ld + j;
            const vec w = FN(vload)(at);
            ej = FN(vfma)(FN(vset1)(delta[r]), w, ej);
            FN(vstore)(at, FN(vnfma)(FN(vset1)(eta * delta[r]), aj, keep_ * w));
        }
        FN(vstore)(e + j, ej);
    }
}

static void FN(learn)(ptrdiff_t n, ptrdiff_t ld, real *W, real *b, real keep, real eta, const real *delta, const real *a,
                      real *e)
{
    if (ld <= SHORT) {
        FN(learn_short_rows)(n, ld, W, b, keep, eta, delta, a, e);
        return;
    }
    ptrdiff_t i = n >= 4 ? 4 : 1;
    if (n >= 4)
        FN(learn_rows)(4, 1, ld, W, b, keep, eta, delta, a, e);
    else
        FN(learn_rows)(1, 1, ld, W, b, keep, eta, delta, a, e);
    for (; i + 4 <= n; i += 4)
        FN(learn_rows)(4, 0, ld, W + i * ld, b + i, keep, eta, delta + i, a, e);
    for (; i < n; i++)
        FN(learn_rows)(1, 0, ld, W + i * ld, b + i, keep, eta, delta + i, a, e);
}
