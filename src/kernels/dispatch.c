/* The instruction sets that this build contains and this processor supports. */
#include "system.h"
#include "kernels.h"

extern const isa_t fastbp_isa_baseline;
#if defined(__x86_64__)
extern const isa_t fastbp_isa_avx2, fastbp_isa_avx512;
#endif

const isa_t *const *fastbp_isas(void)
{
    static const isa_t none = {0};
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
