/* Outputs: h of z(L), and back from dJ/dh to dJ/dz; squares of units for norms. Included by body.h, after losses.h. */

/* h := output(z) in panels (K, width); h must not be z */
static void FN(output)(int output, ptrdiff_t m, ptrdiff_t K, const real *z, real *h)
{
    const ptrdiff_t n = FN(padded)(m) * K;
    vec zmax, others;
    switch (output) {
    case OUTPUT_sigmoid: FN(activate)(G_sigmoid, n, z, h, NULL); break;
    case OUTPUT_tanh: FN(activate)(G_tanh, n, z, h, NULL); break;
    case OUTPUT_identity: memcpy(h, z, (size_t)n * sizeof(real)); break;
    case OUTPUT_exp:
        for (ptrdiff_t i = 0; i < n; i += VL)
            FN(vstore)(h + i, FN(vexp)(FN(vload)(z + i)));
        break;
    case OUTPUT_softmax:
        for (ptrdiff_t e = 0; e < m; e += PANEL) {
            const ptrdiff_t width = FN(panel_width)(m - e);
            for (ptrdiff_t g = 0; g < width; g += VL)
                FN(softmax_lanes)(K, width, z + e * K + g, h + e * K + g, &zmax, &others);
        }
        break;
    }
}

/* sums[e] := the sum over the s units of x^2 of each example, in double, as many as the panels hold; x in panels (s) */
static void FN(squares_of_units)(ptrdiff_t m, ptrdiff_t s, const real *x, double *sums)
{
    for (ptrdiff_t e = 0; e < m; e += PANEL) {
        const ptrdiff_t width = FN(panel_width)(m - e);
        for (ptrdiff_t g = 0; g < width; g += VL) {
            costs_t sum = {{{0}}};
            for (ptrdiff_t u = 0; u < s; u++)
                EACH_PART {
                    const wide v = FN(widen)(FN(vload)(x + e * s + u * width + g), p);
                    sum.part[p] += v * v;
                }
            memcpy(sums + e + g, &sum, sizeof sum);
        }
    }
}

/* g'(z) of an elementwise output */
static inline vec FN(output_slope)(int output, vec z)
{
    vec slope = FN(vset1)(1);
    switch (output) {
    case OUTPUT_sigmoid: FN(g_sigmoid)(z, &slope); break;
    case OUTPUT_tanh: FN(g_tanh)(z, &slope); break;
    case OUTPUT_exp: slope = FN(vexp)(z); break;
    }
    return slope;
}

/* delta := (dh/dz)' delta in panels (K, width): dJ/dh becomes dJ/dz. delta .* g'(z), or h .* (delta - h'delta) of a
 * softmax, with the digits of softmax_squared_error. A delta of 0 stays 0 where g' is infinite. h is overwritten. */
static void FN(output_backward)(int output, ptrdiff_t m, ptrdiff_t K, const real *z, real *h, real *delta)
{
    const ptrdiff_t n = FN(padded)(m) * K;
    const vec none = FN(vset1)(0);
    vec zmax, others;
    if (output != OUTPUT_softmax) {
        for (ptrdiff_t i = 0; output != OUTPUT_identity && i < n; i += VL) {
            const vec d = FN(vload)(delta + i);
            FN(vstore)(delta + i, FN(vselect)(FN(vnonzero)(d), d * FN(output_slope)(output, FN(vload)(z + i)), none));
        }
        return;
    }
    for (ptrdiff_t e = 0; e < m; e += PANEL) {
        const ptrdiff_t width = FN(panel_width)(m - e);
        for (ptrdiff_t g = e * K; g < e * K + width; g += VL) {
            vec dh = none, dh_others = none;
            FN(softmax_lanes)(K, width, z + g, h + g, &zmax, &others);
            for (ptrdiff_t k = g; k < g + K * width; k += width) {
                const vec hk = FN(vload)(h + k), product = hk * FN(vload)(delta + k);
                dh += product;
                dh_others += FN(vselect)((ivec)(hk > (real)0.5), none, product);
            }
            for (ptrdiff_t k = g; k < g + K * width; k += width) {
                const vec hk = FN(vload)(h + k), d = FN(vload)(delta + k);
                FN(vstore)(delta + k, hk * FN(vselect)((ivec)(hk > (real)0.5), d * others - dh_others, d - dh));
            }
        }
    }
}
