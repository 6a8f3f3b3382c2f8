/* The instruction sets in this build, and those among them that this processor supports. */
#include "system.h"
#include "kernels.h"

extern const isa_t fastbp_isa_baseline;
static const isa_t none = {0};

#if defined(__x86_64__)
#include <cpuid.h>

extern const isa_t fastbp_isa_avx2, fastbp_isa_avx512;

/* The parts of the processor's state that the system saves, from XCR0. */
static uint32_t saved_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* The number of usable sets among avx512, avx2, baseline, counted from the last one: 3, 2 or 1. It asks the processor
 * itself, since __builtin_cpu_supports is always 0 in some builds of clang. */
static int supported(void)
{
    enum { FMA = 1u << 12, OSXSAVE = 1u << 27, AVX = 1u << 28 };                    /* leaf 1, ecx */
    enum { AVX2 = 1u << 5, F = 1u << 16, DQ = 1u << 17, BW = 1u << 30 };            /* leaf 7, ebx */
    const unsigned VL = 1u << 31, ymm = 0x06, zmm = 0xe6;                           /* XCR0: SSE, AVX; opmask, ZMM */
    const unsigned one = FMA | OSXSAVE | AVX, all = AVX2 | F | DQ | BW | VL;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & one) != one || (saved_state() & ymm) != ymm)
        return 1;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & AVX2))
        return 1;
    return (b & all) == all && (saved_state() & zmm) == zmm ? 3 : 2;
}

static const isa_t *const built[] = {&fastbp_isa_avx512, &fastbp_isa_avx2, &fastbp_isa_baseline, &none};
#else
static int supported(void) { return 1; }

static const isa_t *const built[] = {&fastbp_isa_baseline, &none};
#endif

/* Both lists end with a set without a name. */
const isa_t *const *fastbp_built(void) { return built; }

const isa_t *const *fastbp_isas(void) { return built + sizeof built / sizeof *built - 1 - supported(); }
