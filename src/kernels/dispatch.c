/* Which instruction sets this build holds and this processor has; and what needs no vectors. */
#include "system.h"
#include "kernels.h"

extern const isa_t fastbp_isa_baseline;
#if defined(__x86_64__)
extern const isa_t fastbp_isa_avx2, fastbp_isa_avx512;
#endif

const isa_t *const *fastbp_isas(void)
{
    static const isa_t none = {NULL, NULL, NULL};
    static const isa_t *found[4];
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma"))
        found[n++] = &fastbp_isa_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found[n++] = &fastbp_isa_avx2;
#endif
    found[n++] = &fastbp_isa_baseline;
    found[n] = &none;
    return found;
}

/* A block is fine if all |x| <= limit (NaN is not); only a block that is not is searched value by value. */
#define FIRST_NONFINITE(real)                                                                                     \
    for (ptrdiff_t i = 0; i < m; i++) {                                                                           \
        const real *row = (const real *)(const void *)((const char *)x->data + i * x->stride);                    \
        const real largest = limit < (double)MAX_##real ? (real)limit : MAX_##real;                               \
        int fine = 1;                                                                                             \
        for (ptrdiff_t j = 0; j < n; j++)                                                                         \
            fine &= row[j] <= largest && row[j] >= -largest;                                                      \
        if (!fine)                                                                                                \
            for (ptrdiff_t j = 0; j < n; j++)                                                                     \
                if (!(row[j] <= largest && row[j] >= -largest))                                                   \
                    return i * n + j;                                                                             \
    }
#define MAX_float FLT_MAX
#define MAX_double DBL_MAX

ptrdiff_t fastbp_first_nonfinite(const rows_t *x, ptrdiff_t m, ptrdiff_t n, double limit)
{
    if (x->type == ROWS_F32) {
        FIRST_NONFINITE(float)
    } else if (x->type == ROWS_F64) {
        FIRST_NONFINITE(double)
    }
    return -1;
}
