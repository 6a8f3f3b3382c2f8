/* Delta of a layer with one input: a column of sums over the examples, next to that of the biases. In the product of
 * layer_Delta it would fill only one lane of a vector. */

/* Rows i .. i + R of  Delta := (or +=) delta' A: delta in panels (n, width), A (m,), lda apart; Delta is 2 apart */
static inline __attribute__((always_inline)) void FN(column)(const int R, ptrdiff_t P, ptrdiff_t m, ptrdiff_t n,
                                                             ptrdiff_t i, const real *delta, const real *A,
                                                             ptrdiff_t lda, int add, real *Delta)
{
    vec sum[8];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        sum[r] = FN(vset1)(0);
    for (ptrdiff_t e = 0; e < m; e += P) {
        const ptrdiff_t width = FN(width_of)(P, m - e);
        const real *d = delta + e * n + i * width;
        for (ptrdiff_t lane = 0; lane < width; lane += VL) {
            const ptrdiff_t left = m - e - lane, there = left < VL ? left : VL;
            const real *x = A + (e + lane) * lda;
            real some[VL] = {0};
            for (ptrdiff_t t = 0; lda != 1 && t < there; t++)
                some[t] = x[t * lda];
            const vec x_e = lda != 1 ? FN(vload)(some) : there == VL ? FN(vload)(x) : FN(vload_part)(x, there);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++)
                sum[r] = FN(vfma)(x_e, FN(vload)(d + r * width + lane), sum[r]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        Delta[2 * r + 1] = (add ? Delta[2 * r + 1] : 0) + FN(vhsum)(sum[r]);
}

/* Rows i .. j */
static void FN(column_Delta)(ptrdiff_t P, ptrdiff_t m, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, const real *delta,
                             const real *A, ptrdiff_t lda, int add, real *Delta)
{
    for (; i + 8 <= j; i += 8, Delta += 16)
        FN(column)(8, P, m, n, i, delta, A, lda, add, Delta);
    for (; i < j; i++, Delta += 2)
        FN(column)(1, P, m, n, i, delta, A, lda, add, Delta);
}
