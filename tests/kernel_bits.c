/* One line for each instruction set of this processor: its name, and a hash of its kernels' results. A set
 * has the same hash on every system and by every compiler, and NEON that of avx512: tools/wheels.py compares them. Linked
 * with all of src/kernels. */
#include "system.h"

#include <fenv.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels.h"

enum { N = 1003, ROWS = 37, INPUTS = 23, UNITS = 19, ROOM = 64 * 64 };

static uint64_t hashed(uint64_t hash, const void *data, size_t size)     /* FNV-1a */
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)data)[i]) * 1099511628211u;
    return hash;
}

static uint64_t state;
static double uniform(void)     /* in -8 .. 8 */
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)(state >> 11) / (double)(1ll << 49) - 8;
}

#define HASH(real, T)                                                                                             \
    static uint64_t hash_##T(const kernels_##T *k, uint64_t hash)                                                 \
    {                                                                                                             \
        static _Alignas(64) real x[N], out[N], slope[N], Theta[UNITS * (INPUTS + 1)], A[ROOM], Z[ROOM], E[ROOM];  \
        static _Alignas(64) real rows[ROWS * INPUTS], z[ROWS * UNITS], back[ROWS * INPUTS], one[UNITS];           \
        static const char *const names[] = {"exp", "expm1", "log", "log1p", "sigmoid", "tanh", "normcdf"};        \
        state = 1;                                                                                                \
        for (int i = 0; i < N; i++)                                                                               \
            x[i] = (real)uniform();                                                                               \
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {                                               \
            const int logarithm = names[i][0] == 'l';                                                             \
            for (int j = 0; j < N; j++)                                                                           \
                slope[j] = logarithm && x[j] < 0 ? -x[j] : x[j];                                                  \
            k->function(names[i], N, slope, out);                                                                 \
            hash = hashed(hash, out, sizeof out);                                                                 \
        }                                                                                                         \
        for (int g = 0; g < G_COUNT; g++) {                                                                       \
            memset(slope, 0, sizeof slope);                                                                       \
            k->activate(g, N, x, out, slope);                                                                     \
            hash = hashed(hashed(hash, out, sizeof out), slope, sizeof slope);                                    \
        }                                                                                                         \
        for (int i = 0; i < UNITS * (INPUTS + 1); i++)                                                            \
            Theta[i] = (real)uniform();                                                                           \
        for (int i = 0; i < ROWS * INPUTS; i++)                                                                   \
            rows[i] = (real)uniform();                                                                            \
        k->to_panels(ROWS, INPUTS, rows, INPUTS, A);                                                              \
        k->layer_forward(ROWS, UNITS, 0, UNITS, INPUTS, Theta, A, Z);                                             \
        k->to_rows(ROWS, UNITS, Z, z, UNITS);                                                                     \
        k->layer_backward(ROWS, UNITS, 0, UNITS, INPUTS, Theta, Z, E);                                            \
        k->to_rows(ROWS, INPUTS, E, back, INPUTS);                                                                \
        k->one_forward(UNITS, INPUTS, Theta, rows, one);                                                          \
        hash = hashed(hashed(hash, z, sizeof z), back, sizeof back);                                              \
        return hashed(hash, one, sizeof one);                                                                     \
    }
HASH(float, f32)
HASH(double, f64)

/* The hash in a call that the caller enters with this rounding; the rounding must come back (fault 81). */
static uint64_t hash_in(int rounding, const isa_t *isa)
{
    uint64_t hash;
    fesetround(rounding);
    const unsigned callers = fastbp_enter();
    hash = hash_f64(isa->f64, hash_f32(isa->f32, 14695981039346656037u));
    fastbp_leave(callers);
    if (fegetround() != rounding)
        hash = 0;
    fesetround(FE_TONEAREST);
    return hash;
}

int main(void)
{
    static const int others[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (const isa_t *const *each = fastbp_isas(); (*each)->name; each++) {
        const uint64_t hash = hash_in(FE_TONEAREST, *each);
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            if (hash_in(others[i], *each) != hash)
                return 1;
        printf("%s %016llx\n", (*each)->name, (unsigned long long)hash);
    }
    return 0;
}
