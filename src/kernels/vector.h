/* Vectors of VBYTES bytes of `real`: 16 (baseline, NEON), 32 (AVX2 + FMA), 64 (AVX-512 F/DQ/VL/BW).
 *
 * No include guard: it is included once with REAL_F32 and once with REAL_F64. The instruction set follows from VBYTES,
 * not from __AVX2__ and the like, which clang leaves undefined inside a target attribute. Without FMA vfma rounds
 * twice, so the results of two instruction sets differ in the last bits; the results of two lanes never do. */

#undef real
#undef bits
#undef ubits
#undef FN
#undef PICK
#undef VL
#undef vec
#undef ivec
#undef uvec
#undef MM

#if defined(REAL_F32)
#define real float
#define bits int32_t
#define ubits uint32_t
#define FN(name) name##_f32
#define PICK(f32, f64) f32
#define VL (VBYTES / 4)
#elif defined(REAL_F64)
#define real double
#define bits int64_t
#define ubits uint64_t
#define FN(name) name##_f64
#define PICK(f32, f64) f64
#define VL (VBYTES / 8)
#else
#error "define REAL_F32 or REAL_F64"
#endif

/* intrinsics by name: MM(add) is _mm256_add_pd for VBYTES = 32, REAL_F64 */
#if defined(__x86_64__) && VBYTES == 64
#define MM(name) PICK(_mm512_##name##_ps, _mm512_##name##_pd)
#elif defined(__x86_64__) && VBYTES == 32
#define MM(name) PICK(_mm256_##name##_ps, _mm256_##name##_pd)
#elif defined(__x86_64__)
#define MM(name) PICK(_mm_##name##_ps, _mm_##name##_pd)
#endif

/* arm_neon.h has two-lane functions of these names */
#if defined(__aarch64__) && !defined(VECTOR_NAMES)
#define VECTOR_NAMES
#define vfma_f32 vec_fma_f32
#define vfma_f64 vec_fma_f64
#define vmax_f32 vec_max_f32
#define vmax_f64 vec_max_f64
#define vmin_f32 vec_min_f32
#define vmin_f64 vec_min_f64
#define vabs_f32 vec_abs_f32
#define vabs_f64 vec_abs_f64
#endif

/* is vfma fused? */
#undef VFUSED
#if VBYTES > 16 || defined(__aarch64__)
#define VFUSED 1
#else
#define VFUSED 0
#endif

/* Sanitizers do not see masked loads and stores: under them these go lane by lane. */
#undef MASKED
#if defined(__x86_64__) && VBYTES >= 32 && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define MASKED 1
#else
#define MASKED 0
#endif

#define vec FN(vec)
#define ivec FN(ivec)
#define uvec FN(uvec)

typedef real vec __attribute__((vector_size(VBYTES)));
typedef bits ivec __attribute__((vector_size(VBYTES)));      /* a comparison: -1 true, 0 false */
typedef ubits uvec __attribute__((vector_size(VBYTES)));     /* bit patterns: arithmetic wraps */
typedef real FN(vec_any) __attribute__((vector_size(VBYTES), aligned(1), may_alias));
typedef real FN(real_any) __attribute__((aligned(1), may_alias));

static inline vec FN(vload)(const real *p) { return *(const FN(vec_any) *) p; }
static inline void FN(vstore)(real *p, vec v) { *(FN(vec_any) *) p = v; }

static inline vec FN(vset1)(real x)
{
#ifdef MM
    return (vec) MM(set1)(x);
#elif VBYTES / 4 == VL
    return (vec) {x, x, x, x};
#else
    return (vec) {x, x};
#endif
}

/* The first n lanes true, 0 <= n <= VL. */
static inline ivec FN(vfirst)(ptrdiff_t n)
{
    static const bits number[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    ivec lane;
    memcpy(&lane, number, sizeof lane);
    return (ivec) (lane < (bits) n);
}

/* p[0], .., p[n-1], then zeros; 0 <= n <= VL, nothing at or after p[n] is read. */
static inline vec FN(vload_part)(const real *p, ptrdiff_t n)
{
#if MASKED && VBYTES == 64
    return (vec) MM(maskz_loadu)(PICK((__mmask16), (__mmask8)) ((1u << n) - 1), p);
#elif MASKED
    return (vec) MM(maskload)(p, (__m256i) FN(vfirst)(n));
#else
    const FN(real_any) *q = p;
    vec v = FN(vset1)(0);
    for (int i = 0; i < VL; i++)
        if (i < n)
            v[i] = q[i];
    return v;
#endif
}

/* p[0], .., p[n-1] := the first n lanes; nothing at or after p[n] is written. */
static inline void FN(vstore_part)(real *p, ptrdiff_t n, vec v)
{
#if MASKED && VBYTES == 64
    MM(mask_storeu)(p, PICK((__mmask16), (__mmask8)) ((1u << n) - 1), v);
#elif MASKED
    MM(maskstore)(p, (__m256i) FN(vfirst)(n), v);
#else
    FN(real_any) *q = p;
    for (int i = 0; i < VL; i++)
        if (i < n)
            q[i] = v[i];
#endif
}

/* a b + c */
static inline vec FN(vfma)(vec a, vec b, vec c)
{
#if defined(MM) && VFUSED
    return (vec) MM(fmadd)(a, b, c);
#elif VFUSED
    return (vec) PICK(vfmaq_f32, vfmaq_f64)(c, a, b);
#else
    return a * b + c;
#endif
}

/* c - a b */
static inline vec FN(vnfma)(vec a, vec b, vec c)
{
#if defined(MM) && VFUSED
    return (vec) MM(fnmadd)(a, b, c);
#elif VFUSED
    return (vec) PICK(vfmsq_f32, vfmsq_f64)(c, a, b);
#else
    return c - a * b;
#endif
}

/* mask ? a : b, the lanes of mask all ones or all zeros */
static inline vec FN(vselect)(ivec mask, vec a, vec b)
{
#if defined(__x86_64__) && VBYTES == 64
    return (vec) _mm512_ternarylogic_epi64((__m512i) mask, (__m512i) a, (__m512i) b, 0xCA);
#elif defined(__x86_64__) && VBYTES == 32
    return (vec) MM(blendv)(b, a, (PICK(__m256, __m256d)) mask);
#else
    return (vec) ((mask & (ivec) a) | (~mask & (ivec) b));
#endif
}

/* x > limit ? 0 : v */
static inline vec FN(vcut)(vec v, vec x, vec limit)
{
#if defined(__x86_64__) && VBYTES == 64
    return MM(maskz_mov)(PICK(_mm512_cmp_ps_mask, _mm512_cmp_pd_mask)(x, limit, _CMP_NGT_UQ), v);
#else
    return (vec) ((uvec) v & ~(uvec) (x > limit));
#endif
}

/* a > b ? a : b. A NaN in either gives b: vmax(x, c) drops the NaN of x, vmax(c, x) keeps it. */
static inline vec FN(vmax)(vec a, vec b)
{
#ifdef MM
    return (vec) MM(max)(a, b);
#else
    return FN(vselect)((ivec) (a > b), a, b);
#endif
}

/* a < b ? a : b. A NaN in either gives b. */
static inline vec FN(vmin)(vec a, vec b)
{
#ifdef MM
    return (vec) MM(min)(a, b);
#else
    return FN(vselect)((ivec) (a < b), a, b);
#endif
}

/* the sign bits of v, all other bits zero */
static inline uvec FN(vsign)(vec v) { return (uvec) v & (uvec) FN(vset1)((real) -0.0); }

static inline vec FN(vabs)(vec v) { return (vec) ((uvec) v & ~(uvec) FN(vset1)((real) -0.0)); }

/* Sum of the lanes in double: adds the upper half to the lower until one is left. */
static inline double FN(vhsum_double)(vec v)
{
#if defined(__x86_64__) && VBYTES == 64
    __m512d w = PICK(_mm512_add_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(v)),
                                   _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))), v);
    __m256d x = _mm256_add_pd(_mm512_castpd512_pd256(w), _mm512_extractf64x4_pd(w, 1));
#elif defined(__x86_64__) && VBYTES == 32
    __m256d x = PICK(_mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(v)),
                                   _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))), v);
#endif
#if defined(__x86_64__) && VBYTES >= 32
    __m128d y = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
    return _mm_cvtsd_f64(_mm_add_sd(y, _mm_unpackhi_pd(y, y)));
#else
    return PICK(((double) v[0] + v[2]) + ((double) v[1] + v[VL - 1]), v[0] + v[1]);
#endif
}

/* Sum of the lanes: adds the upper half to the lower until one is left. */
static inline real FN(vhsum)(vec v)
{
#if defined(REAL_F64)
    return FN(vhsum_double)(v);
#else
#if defined(__x86_64__) && VBYTES == 64
    __m256 x = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
#elif defined(__x86_64__) && VBYTES == 32
    __m256 x = v;
#endif
#if defined(__x86_64__) && VBYTES >= 32
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
#elif defined(__x86_64__)
    __m128 y = v;
#endif
#ifdef MM
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_shuffle_ps(y, y, 1)));
#else
    return (v[0] + v[2]) + (v[1] + v[3]);
#endif
#endif
}

/* Largest lane; a NaN may be dropped. */
static inline real FN(vhmax)(vec v)
{
#if defined(__x86_64__) && VBYTES == 64
    PICK(__m256, __m256d) x = PICK(_mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)),
                                   _mm256_max_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1)));
#elif defined(__x86_64__) && VBYTES == 32
    PICK(__m256, __m256d) x = v;
#endif
#if defined(__x86_64__) && VBYTES >= 32
    PICK(__m128, __m128d) y = PICK(_mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)),
                                   _mm_max_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1)));
#elif defined(__x86_64__)
    PICK(__m128, __m128d) y = v;
#endif
#if defined(MM) && defined(REAL_F32)
    y = _mm_max_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_max_ss(y, _mm_shuffle_ps(y, y, 1)));
#elif defined(MM)
    return _mm_cvtsd_f64(_mm_max_sd(y, _mm_unpackhi_pd(y, y)));
#else
    real m = v[0];
    for (int i = 1; i < VL; i++)
        m = v[i] > m ? v[i] : m;
    return m;
#endif
}

/* Lane j := vhsum(v[j]), by the same additions in the same order. v is overwritten. HALVES(s, h): of segments of s lanes
 * of two vectors the halves h, in turn of the first and of the second vector. */
#undef HALF
#undef HALVES
#undef ADD_HALVES
#define HALF(p, s, h) (p) / ((s) / 2) % 2 * VL + (p) / (s) * (s) + (p) % ((s) / 2) + (h) * ((s) / 2)
#if VL == 2
#define HALVES(s, h) HALF(0, s, h), HALF(1, s, h)
#elif VL == 4
#define HALVES(s, h) HALF(0, s, h), HALF(1, s, h), HALF(2, s, h), HALF(3, s, h)
#elif VL == 8
#define HALVES(s, h)                                                                                              \
    HALF(0, s, h), HALF(1, s, h), HALF(2, s, h), HALF(3, s, h), HALF(4, s, h), HALF(5, s, h), HALF(6, s, h),      \
        HALF(7, s, h)
#else
#define HALVES(s, h)                                                                                              \
    HALF(0, s, h), HALF(1, s, h), HALF(2, s, h), HALF(3, s, h), HALF(4, s, h), HALF(5, s, h), HALF(6, s, h),      \
        HALF(7, s, h), HALF(8, s, h), HALF(9, s, h), HALF(10, s, h), HALF(11, s, h), HALF(12, s, h),              \
        HALF(13, s, h), HALF(14, s, h), HALF(15, s, h)
#endif
#define ADD_HALVES(s)                                                                                             \
    for (int i = 0; i < (s) / 2; i++)                                                                             \
        v[i] = __builtin_shufflevector(v[i], v[i + (s) / 2], HALVES(s, 0))                                        \
             + __builtin_shufflevector(v[i], v[i + (s) / 2], HALVES(s, 1));
static inline __attribute__((always_inline)) vec FN(vhsums)(vec v[VL])
{
#if VL == 16
    ADD_HALVES(16)
#endif
#if VL >= 8
    ADD_HALVES(8)
#endif
#if VL >= 4
    ADD_HALVES(4)
#endif
    ADD_HALVES(2)
    return v[0];
}
