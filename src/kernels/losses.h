/* Each cost directly above its delta(L) = dcost/dz(L): both from z, never from log(h), so that no
 * logit overflows or loses its digits. One row of K outputs at a time, the cost summed in double in the
 * order of the outputs: the sum over examples does not depend on how they are cut into blocks.
 * To add a pair: a line in names.h, its output and its row function here, a line in tests/reference.py. */

/* Rows are walked in vectors: the body sees `at` (the column), `n` (how many lanes count); LOAD and STORE are
 * whole or part accordingly. Lanes beyond the row are loaded as 0 and never stored. */
#define EACH(K, ...)                                                                                              \
    {                                                                                                             \
        ptrdiff_t at = 0;                                                                                         \
        for (; at + VL <= (K); at += VL) {                                                                        \
            enum { whole = 1 };                                                                                   \
            const ptrdiff_t n = VL;                                                                               \
            (void)n;                                                                                              \
            __VA_ARGS__                                                                                           \
        }                                                                                                         \
        if (at < (K)) {                                                                                           \
            enum { whole = 0 };                                                                                   \
            const ptrdiff_t n = (K) - at;                                                                         \
            (void)n;                                                                                              \
            __VA_ARGS__                                                                                           \
        }                                                                                                         \
    }
#define LOAD(p) (whole ? FN(vload)((p) + at) : FN(vload_part)((p) + at, n))
#define STORE(p, v) (whole ? FN(vstore)((p) + at, v) : FN(vstore_part)((p) + at, n, v))

/* sum of e_k^2 in double: e may be as large as its dtype allows */
static inline double FN(vhsum_squares)(vec e)
{
    real lane[VL];
    double sum[2] = {0, 0};
    FN(vstore)(lane, e);
    for (int i = 0; i < VL; i += 2) {
        sum[0] += (double)lane[i] * (double)lane[i];
        sum[1] += (double)lane[i + 1] * (double)lane[i + 1];
    }
    return sum[0] + sum[1];
}

/* h = g(z) for a whole block: elementwise but for softmax */
static void FN(output)(int output, ptrdiff_t m, ptrdiff_t K, const real *z, real *h)
{
    real zmax;
    switch (output) {
    case OUTPUT_sigmoid: FN(activate_sigmoid)(m * K, z, h); break;
    case OUTPUT_tanh: FN(activate_tanh)(m * K, z, h); break;
    case OUTPUT_identity: if (h != z) memcpy(h, z, (size_t)(m * K) * sizeof(real)); break;
    case OUTPUT_exp: EACH(m * K, STORE(h, FN(vexp)(LOAD(z)));) break;
    case OUTPUT_softmax:
        for (ptrdiff_t i = 0; i < m; i++)
            FN(softmax_row)(K, z + i * K, h + i * K, &zmax);
        break;
    }
}

/* -sum_k y log h + (1 - y) log(1 - h) = sum_k max(z, 0) - z y + log(1 + e^-|z|);  delta = h - y */
static inline double FN(sigmoid_cross_entropy)(ptrdiff_t K, const real *z, const real *y, real *h, real *delta)
{
    double cost = 0;
    EACH(K, {
        vec zk = LOAD(z); vec yk = LOAD(y);
        vec e = FN(vexp)(-FN(vabs)(zk));
        vec hk = FN(vselect)(zk < (real)0, e, FN(vset1)(1)) / ((real)1 + e);
        /* max(z, 0) - z y is |z| times what y leaves to be missed: exact where y is 0 or 1 */
        vec miss = FN(vselect)(zk < (real)0, yk, (real)1 - yk);
        vec c = FN(vabs)(zk) * miss + FN(vlog1p)(e);
        cost += FN(vhsum_double)(FN(vselect)(FN(vfirst)(n), c, FN(vset1)(0)));
        STORE(h, hk);
        STORE(delta, hk - yk);
    })
    return cost;
}

/* -sum_k y_k log h_k = sum_k y_k ((zmax - z_k) + log sum_j e^(z_j - zmax));  delta = h - y, sum_k y_k = 1 */
static inline double FN(softmax_cross_entropy)(ptrdiff_t K, const real *z, const real *y, real *h, real *delta)
{
    double cost = 0;
    real zmax;
    const real log_sum = FN(softmax_row)(K, z, h, &zmax);
    /* in halves: zmax - z_k may overflow where its y_k is 0 */
    const vec half_zmax = FN(vset1)((real)0.5 * zmax), half_log_sum = FN(vset1)((real)0.5 * log_sum);
    EACH(K, {
        vec yk = LOAD(y);
        cost += FN(vhsum_double)(yk * ((half_zmax - (real)0.5 * LOAD(z)) + half_log_sum));
        STORE(delta, LOAD(h) - yk);
    })
    return 2 * cost;
}

/* y log(y/h) - y + h = y (e^t - 1 - t) with t = z - log y, or h where y = 0;  delta = h - y */
static inline double FN(exp_poisson)(ptrdiff_t K, const real *z, const real *y, real *h, real *delta)
{
    double cost = 0;
    EACH(K, {
        vec zk = LOAD(z); vec yk = LOAD(y);
        vec hk = FN(vexp)(zk);
        vec t = zk - FN(vlog)(FN(vselect)(yk > (real)0, yk, FN(vset1)(1)));
        vec c = FN(vselect)(yk > (real)0, yk * (FN(vexpm1)(t) - t), hk);
        cost += FN(vhsum_double)(FN(vselect)(FN(vfirst)(n), c, FN(vset1)(0)));
        STORE(h, hk);
        STORE(delta, hk - yk);
    })
    return cost;
}

/* 1/2 sum_k e_k^2 with e = h - y;  delta = e .* g'(z), for every elementwise output */
#define SQUARED_ERROR(name)                                                                                       \
    static inline double FN(name##_squared_error)(ptrdiff_t K, const real *z, const real *y, real *h, real *delta)\
    {                                                                                                             \
        double cost = 0;                                                                                          \
        EACH(K, {                                                                                                 \
            vec zk = LOAD(z);                                                                                     \
            vec hk = FN(g_##name)(zk);                                                                            \
            vec e = FN(vselect)(FN(vfirst)(n), hk - LOAD(y), FN(vset1)(0));                                  \
            cost += FN(vhsum_squares)(e);                                                                         \
            STORE(h, hk);                                                                                         \
            STORE(delta, e * FN(dg_##name)(hk, zk));                                                              \
        })                                                                                                        \
        return 0.5 * cost;                                                                                        \
    }
SQUARED_ERROR(sigmoid)
SQUARED_ERROR(tanh)
SQUARED_ERROR(identity)
#undef SQUARED_ERROR

/* 1/2 sum_k e_k^2 with e = h - y;  delta = h .* (e - e'h) */
static inline double FN(softmax_squared_error)(ptrdiff_t K, const real *z, const real *y, real *h, real *delta)
{
    double cost = 0, eh = 0;
    real zmax;
    FN(softmax_row)(K, z, h, &zmax);
    EACH(K, {
        vec hk = LOAD(h);
        vec e = hk - LOAD(y);
        cost += FN(vhsum_squares)(e);
        eh += FN(vhsum_double)(e * hk);
        STORE(delta, e);
    })
    EACH(K, STORE(delta, LOAD(h) * (LOAD(delta) - (real)eh));)
    return 0.5 * cost;
}

static double FN(cost_and_delta)(int output, int loss, ptrdiff_t m, ptrdiff_t K, const real *z, const real *y,
                                 const real *w, real *h, real *delta)
{
    double cost = 0;
    switch (output * LOSS_COUNT + loss) {
#define X(output, loss)                                                                                           \
    case OUTPUT_##output * LOSS_COUNT + LOSS_##loss:                                                              \
        for (ptrdiff_t i = 0; i < m; i++) {                                                                       \
            const ptrdiff_t row = i * K;                                                                          \
            const double one = FN(output##_##loss)(K, z + row, y + row, h + row, delta + row);                    \
            cost += w ? (w[i] == 0 ? 0 : (double)w[i] * one) : one;                                               \
            if (w)                                                                                                \
                EACH(K, STORE(delta + row, w[i] * LOAD(delta + row));)                                            \
        }                                                                                                         \
        break;
        PAIRS(X)
#undef X
    }
    return cost;
}

#undef EACH
#undef LOAD
#undef STORE
