/* exp, expm1, log, log1p, sigmoid, tanh, the normal distribution function, and softmax of a row.
 *
 * Included after vector.h, once per type. No branches, no tables; the result of a lane depends on its input alone. exp
 * and sigmoid are 0 where they would be below the smallest normal number; NaN stays NaN. The coefficients are our own
 * minimax fits (Remez, 60 digits). A value is kept as high + low where one more rounding would matter.
 * Largest error in ULP, both types, all instruction sets: exp and sigmoid 1, tanh 1.1, expm1 1.4, log 0.9, log1p 1.5,
 * normcdf 4 for z > -5 (48 far below), softmax and its log-sum 3. */

#undef IN_LOOPS
#undef MANT
#undef BIAS
#undef ONE
#undef EXP_MIN
#undef EXP_MAX

#define IN_LOOPS inline __attribute__((always_inline))       /* otherwise some loops call these and reload their constants */
#define MANT PICK(23, 52)                                    /* bits of the mantissa */
#define BIAS PICK(127, 1023)
#define ONE ((uvec) FN(vset1)(1))
#define EXP_MIN PICK(-0x1.5d58ap+6f, -0x1.6232bdd7abcd2p+9)  /* log of the smallest normal number */
#define EXP_MAX PICK(0x1.62e42ep+6f, 0x1.62e42fefa39efp+9)   /* log of the largest number */

/* c[0] + c[1] x + .. + c[n-1] x^(n-1): two short chains, of even and of odd powers, replace a long one. */
static inline __attribute__((always_inline)) vec FN(vpoly)(vec x, const real *c, int n)
{
    vec x2 = x * x, p = FN(vset1)(c[n - 1]), q = FN(vset1)(c[n - 2]);
#pragma GCC unroll 32
    for (int i = n - 3; i >= 0; i -= 2) {
        p = FN(vfma)(p, x2, FN(vset1)(c[i]));
        if (i > 0)
            q = FN(vfma)(q, x2, FN(vset1)(c[i - 1]));
    }
    return n % 2 ? FN(vfma)(q, x, p) : FN(vfma)(p, x, q);
}

/* v with half of its mantissa: the product of two such values is exact */
static inline vec FN(vhalf)(vec v) { return (vec) ((uvec) v & ((uvec) {0} - ((ubits) 1 << PICK(12, 27)))); }

/* (ah + al) / (bh + bl), |al| and |bl| at most an ulp of ah and bh: one division, one rounding that counts. */
static inline vec FN(vdivide)(vec ah, vec al, vec bh, vec bl)
{
    vec w = 1 / bh;
    vec q = ah * w;
#if VFUSED
    vec rest = FN(vnfma)(q, bh, ah);
#else
    vec b1 = FN(vhalf)(bh), b2 = bh - b1;
    q = FN(vhalf)(q);
    vec rest = (ah - q * b1) - q * b2;
#endif
    return FN(vfma)(rest + FN(vnfma)(q, bl, al), w, q);
}

/* exp(hi + lo) = 2^k (1 + r + y), |r| < 0.35, |y| < 0.08; n is k in the bits of the exponent.
 * k = round(hi / log 2), r = hi - k log 2, log 2 as a sum of two terms, the first short enough for an exact
 * product; y is the rounding error of r plus exp(r) - 1 - r. */
static IN_LOOPS void FN(exp_parts)(vec hi, vec lo, uvec *n, vec *r, vec *y)
{
    static const real c[] = {
#if defined(REAL_F32)
        0x1.fffffcp-2f, 0x1.55549p-3f, 0x1.5558fcp-5f, 0x1.123b9ap-7f, 0x1.6a215ap-10f,
#else
        0x1.000000000000ap-1, 0x1.55555555554f7p-3, 0x1.55555555506b7p-5, 0x1.1111111128465p-7,
        0x1.6c16c18494b41p-10, 0x1.a01a012845db3p-13, 0x1.a01998daaf4c2p-16, 0x1.71df281526babp-19,
        0x1.28ae9a6294cd9p-22, 0x1.ad7e0ddfd3496p-26,
#endif
    };
    const vec to_integer = FN(vset1)(PICK(0x1.8p23f, 0x1.8p52));
    vec t = FN(vfma)(hi, FN(vset1)(PICK(0x1.715476p+0f, 0x1.71547652b82fep+0)), to_integer);
    vec k = t - to_integer;
    vec a = FN(vnfma)(k, FN(vset1)(PICK(0x1.62e4p-1f, 0x1.62e42fefa4p-1)), hi);
    vec b = FN(vnfma)(k, FN(vset1)(PICK(0x1.7f7d1cp-20f, -0x1.8432a1b0e2634p-43)), lo);
    *r = a + b;
    *y = FN(vfma)(*r * *r, FN(vpoly)(*r, c, (int) (sizeof c / sizeof *c)), (a - *r) + b);
    *n = (uvec) t << MANT;
}

/* exp(hi + lo), |lo| at most an ulp of hi; lo is ignored where hi alone gives 0 or infinity. */
static inline vec FN(vexp2)(vec hi, vec lo)
{
    uvec n;
    vec r, y;
    FN(exp_parts)(hi, lo, &n, &r, &y);
    vec e = (vec) ((uvec) (1 + (r + y)) + n);
    e = FN(vselect)((ivec) (hi <= FN(vset1)(EXP_MAX)), e, hi + (real) INFINITY);
    return (vec) ((uvec) e & ~(uvec) (hi < FN(vset1)(EXP_MIN)));
}

static inline vec FN(vexp)(vec x) { return FN(vexp2)(x, FN(vset1)(0)); }

/* exp(x) - 1 = 2 ((s - 1/2) + s q),  s = 2^(k-1);  e := exp(x), x not above EXP_MAX */
static IN_LOOPS vec FN(expm1_and_exp)(vec x, vec *e)
{
    uvec n;
    vec r, y;
    FN(exp_parts)(FN(vmax)(FN(vset1)(EXP_MIN), x), FN(vset1)(0), &n, &r, &y);
    vec q = r + y, q_low = (r - q) + y;
    *e = FN(vcut)((vec) ((uvec) (1 + q) + n), FN(vset1)(EXP_MIN), x);
    vec s = (vec) (n + (uvec) FN(vset1)((real) 0.5));
    vec a = s - (real) 0.5, b = s * q;
    vec m = a + b;
    m = 2 * (m + FN(vfma)(s, q_low, (a - m) + b));
    return FN(vselect)((ivec) (x <= FN(vset1)(EXP_MAX)), m, x + (real) INFINITY);
}

static inline vec FN(vexpm1)(vec x)
{
    vec e;
    return FN(expm1_and_exp)(x, &e);
}

/* s(z) = 1 / (1 + e) for z >= 0, e / (1 + e) below, with e = exp(-|z|).
 * Also within 2 ULP: small := s(-|z|), the smaller of s and 1 - s, and large := s(|z|), the larger.
 * s'(z) = small large */
static IN_LOOPS vec FN(sigmoid_parts)(vec z, vec *e, vec *small, vec *large)
{
    uvec n;
    vec r, y;
    vec x = (vec) ((uvec) z | (uvec) FN(vset1)((real) -0.0)), least = FN(vset1)(EXP_MIN);
    FN(exp_parts)(FN(vmax)(least, x), FN(vset1)(0), &n, &r, &y);
    vec scale = FN(vcut)((vec) (n + ONE), least, x);
    vec q = r + y, e_1 = 1 + q;
    vec e_low = ((1 - e_1) + q) * scale;
    *e = e_1 * scale;
    vec s = 1 + *e, s_low = ((1 - s) + *e) + e_low;
    ivec left = (ivec) (z < 0);
    *large = 1 / s;
    *small = *e * *large;
    return FN(vdivide)(FN(vselect)(left, *e, FN(vset1)(1)), (vec) ((ivec) e_low & left), s, s_low);
}

static inline vec FN(vsigmoid)(vec z)
{
    vec e, small, large;
    return FN(sigmoid_parts)(z, &e, &small, &large);
}

/* m / d with the sign of x,  m = (exp(2|x|) - 1) / 2 = (s - 1/2) + s q,  s = 2^(k-1),  d = m + 1. Also within 2 ULP:
 * missing := 1 - |tanh x| = 1 / d and slope := 1 - tanh^2 x, both 0 where 1 / d might not be a normal number */
static IN_LOOPS vec FN(tanh_parts)(vec x, vec *missing, vec *slope)
{
    uvec n;
    vec r, y;
    const vec most = FN(vset1)(PICK(44, 354.5)), one = FN(vset1)(1), size = FN(vabs)(x);
    FN(exp_parts)(2 * FN(vmin)(most, size), FN(vset1)(0), &n, &r, &y);
    vec q = r + y, s = (vec) (n + (uvec) FN(vset1)((real) 0.5));
    vec q_low = (r - q) + y;
    vec a = s - (real) 0.5, b = s * q;
    vec m = a + b, m_low = FN(vfma)(s, q_low, (a - m) + b);
    vec d = m + 1;
    vec d_low = ((FN(vmax)(one, m) - d) + FN(vmin)(one, m)) + m_low;
    vec g = FN(vdivide)(m, m_low, d, d_low);
    vec w = 1 / d;
    *missing = FN(vcut)(w, size, most);
    *slope = FN(vcut)(FN(vfma)(w, g, w), size, most);
    return (vec) ((uvec) g | FN(vsign)(x));
}

static inline vec FN(vtanh)(vec x)
{
    vec missing, slope;
    return FN(tanh_parts)(x, &missing, &slope);
}

/* x = 2^k (1 + f), 1 + f in [sqrt(1/2), sqrt(2)), x > 0 and normal; n is k + BIAS, an integer */
static inline vec FN(log_parts)(vec x, uvec *n)
{
    const uvec root = (uvec) FN(vset1)(PICK(0x1.6a09e6p-1f, 0x1.6a09e667f3bcdp-1));
    uvec b = (uvec) x + (ONE - root);
    *n = b >> MANT;
    return (vec) ((b & (((ubits) 1 << MANT) - 1)) + root) - 1;
}

/* log(2^k (1 + f)) with log(1 + f) = f - (h - s (h + R)),  s = f / (2 + f),  h = f^2 / 2,
 * R(s^2) = (2 artanh(s) - 2s) / s */
static inline vec FN(log_sum)(uvec n, vec f)
{
    static const real c[] = {
#if defined(REAL_F32)
        0x1.555554p-1f, 0x1.999a7cp-2f, 0x1.2438a8p-2f, 0x1.e2fdd2p-3f,
#else
        0x1.5555555555593p-1, 0x1.999999997fb32p-2, 0x1.2492494217a06p-2, 0x1.c71c51e7f8075p-3,
        0x1.7466462c7389fp-3, 0x1.39a0f50414717p-3, 0x1.2f0d8e8dc1e78p-3,
#endif
    };
    const real integer = PICK(0x1.8p23f, 0x1.8p52);
    vec k = (vec) (n + (uvec) FN(vset1)(integer)) - (integer + BIAS);
    vec s = f / (2 + f), z = s * s, h = (real) 0.5 * f * f;
    vec R = z * FN(vpoly)(z, c, (int) (sizeof c / sizeof *c));
    vec low = FN(vfma)(s, h + R, k * PICK(0x1.7f7d1cp-20f, -0x1.8432a1b0e2634p-43));
    return FN(vfma)(k, FN(vset1)(PICK(0x1.62e4p-1f, 0x1.62e42fefa4p-1)), f - (h - low));
}

/* y where 0 < u < inf; -inf for u = 0, NaN for u < 0, u itself for inf and NaN */
static inline vec FN(log_ends)(vec u, vec y)
{
    vec end = FN(vselect)((ivec) (u == 0), FN(vset1)(-(real) INFINITY), FN(vset1)((real) NAN));
    y = FN(vselect)((ivec) (u < (real) INFINITY), y, u);
    return FN(vselect)((ivec) (u > 0), y, end);
}

static inline vec FN(vlog)(vec x)
{
    uvec n;
    ivec tiny = (ivec) (x < FN(vset1)(PICK(FLT_MIN, DBL_MIN)));
    vec f = FN(log_parts)(FN(vselect)(tiny, x * PICK(0x1p24f, 0x1p54), x), &n);
    return FN(log_ends)(x, FN(log_sum)(n - ((uvec) tiny & PICK(24, 54)), f));
}

/* log(u + c), u = 1 + x rounded and c its rounding error; x > -1; the sign of -0 is lost */
static inline vec FN(vlog1p)(vec x)
{
    uvec n;
    vec u = 1 + x, v = u - 1;
    vec c = (1 - (u - v)) + (x - v);
    vec f = FN(log_parts)(u, &n);
    f += (real) 0.5 * c * (vec) ((2 * BIAS + 1 - n) << MANT);
    return FN(log_ends)(u, FN(log_sum)(n, f));
}

/* Phi(z) = erfc(-z / sqrt 2) / 2. Let a = |z| and G(a) = Phi(-a) exp(a^2 / 2), a fit in t = (a - c) / (a + c). Phi(z)
 * is exp(-a^2 / 2) G(a) for z <= 0 and one minus that for z > 0. The rounded t belongs to c (1 + t) / (1 - t), not
 * exactly to a: a step along G' = a G - 1 / sqrt(2 pi) corrects this. e := exp(-z^2 / 2), within an ULP */
static IN_LOOPS vec FN(normcdf_and_exp)(vec z, vec *e)
{
    static const real G[] = {
#if defined(REAL_F32)
        0x1.b396fap-4f, -0x1.7f431ap-3f, 0x1.01c066p-3f, -0x1.f8f352p-5f, 0x1.385f3ep-6f, -0x1.993c5ep-10f,
        -0x1.6a33bap-10f, 0x1.97fa3ep-12f, 0x1.18809p-13f, -0x1.aa8fep-15f, -0x1.529cc8p-16f,
#else
        0x1.3b0fbcb4c77bep-4, -0x1.25cd1321c8cb5p-3, 0x1.db6af8722ce4ap-4, -0x1.4b4ce479f83bdp-4,
        0x1.8807f29ff85fep-5, -0x1.7f9d04377446fp-6, 0x1.26a1153b024b6p-7, -0x1.37ccc56d78a02p-9,
        0x1.cc6e679c2abb3p-13, 0x1.199954bb6f3a1p-13, -0x1.fae707ed762a7p-15, 0x1.020ca7abd6b86p-20,
        0x1.bde6490ad9727p-18, -0x1.54ef859486c93p-20, -0x1.6a6e35441d6a0p-21, 0x1.054eff8c1a2eap-22,
        0x1.4b308c57fcf95p-24, -0x1.509cb54a86b10p-25, -0x1.7a0644f9aa63dp-27, 0x1.87d5cf139ccf4p-28,
        0x1.f787c95d688e3p-30, -0x1.3b3f167cba2c1p-31, -0x1.013ad0d5b8d4bp-32,
#endif
    };
    const real c = PICK(3.5f, 5.0);
    vec a = FN(vmin)(FN(vset1)(PICK(14, 40)), FN(vabs)(z));
    vec a1 = FN(vhalf)(a), a2 = a - a1;
    vec square = a * a, low = (a1 * a1 - square) + a2 * (a + a1);
    *e = FN(vexp2)((real) -0.5 * square, (real) -0.5 * low);
    const vec grid = FN(vset1)(0x1.8p3f);                    /* few enough bits for exact 1 - t and c (1 + t) */
    vec t = ((a - c) / (a + c) + grid) - grid, left = 1 - t, right = c * (1 + t);
    vec g = FN(vpoly)(t, G, (int) (sizeof G / sizeof *G));
#if VFUSED
    vec rest = FN(vfma)(a, left, -right);
#else
    vec left1 = FN(vhalf)(left);
    vec rest = ((a1 * left1 - right) + a1 * (left - left1)) + a2 * left;
#endif
    vec step = rest * (a + c) * ((real) 0.5 / c);
    vec slope = FN(vfma)(a, g, FN(vset1)(PICK(-0x1.988454p-2f, -0x1.9884533d43651p-2)));
    vec tail = FN(vfma)(*e, g, *e * (step * slope));
    return FN(vselect)((ivec) (z > 0), 1 - tail, tail);
}

static inline vec FN(vnormcdf)(vec z)
{
    vec e;
    return FN(normcdf_and_exp)(z, &e);
}

/* s + s_low += e; the only error is the rounding of s_low */
static inline void FN(add_sum)(vec *s, vec *s_low, vec e)
{
    vec t = *s + e, v = t - *s;
    *s_low += (*s - (t - v)) + (e - v);
    *s = t;
}

/* exp(z - zmax), corrected for the rounding error of the difference; `rest` collects the sum over z < zmax,
 * `ties` counts z = zmax */
static inline vec FN(softmax_exp)(vec z, vec zmax, vec *rest, vec *rest_low, vec *ties)
{
    vec hi = z - zmax, v = hi - z;
    vec e = FN(vexp2)(hi, (z - (hi - v)) - (zmax + v));
    ivec top = (ivec) (z == zmax);
    *ties += (vec) (top & (ivec) ONE);
    FN(add_sum)(rest, rest_low, (vec) (~top & (ivec) e));
    return e;
}

/* h := softmax(z),  zmax := max z,  returns log(sum exp(z - zmax));  z, h (K,), K >= 1, h may be z.
 * The sum is 1 + S: S leaves out one maximum, so that it keeps its digits however small it is. A NaN in z or an
 * infinite maximum makes all of h and the result NaN; zmax is the largest value that is not NaN.
 * others := S / (1 + S): where h_k > 1/2, this is 1 - h_k with all its digits. */
static inline real FN(softmax_row)(ptrdiff_t K, const real *z, real *h, real *zmax, real *others)
{
    const vec none = FN(vset1)(-(real) INFINITY);
    ptrdiff_t k, body = K - K % VL, tail = K - body;
    vec last = FN(vselect)(FN(vfirst)(tail), FN(vload_part)(z + body, tail), none);
    vec top = FN(vmax)(last, none);
    for (k = 0; k < body; k += VL)
        top = FN(vmax)(FN(vload)(z + k), top);
    *zmax = FN(vhmax)(top);
    top = FN(vset1)(*zmax);

    vec rest = FN(vset1)(0), rest_low = rest, ties = rest;
    for (k = 0; k < body; k += VL)
        FN(vstore)(h + k, FN(softmax_exp)(FN(vload)(z + k), top, &rest, &rest_low, &ties));
    last = FN(softmax_exp)(last, top, &rest, &rest_low, &ties);

    real S = (real) (FN(vhsum_double)(rest) + FN(vhsum_double)(rest_low) + (FN(vhsum_double)(ties) - 1));
    S += *zmax - *zmax;                                      /* 0, or NaN where the maximum is infinite */
    vec w = FN(vset1)((real) (1 / (1 + (double) S)));
    *others = S * w[0];
    for (k = 0; k < body; k += VL)
        FN(vstore)(h + k, FN(vload)(h + k) * w);
    FN(vstore_part)(h + body, tail, last * w);
    return FN(vlog1p)(FN(vset1)(S))[0];
}
