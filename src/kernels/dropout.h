/* Dropout in the inverted form (Srivastava et al. 2014, section 10): a .* mask / (1 - p) in training, else a itself.
 *
 * A bit of the mask depends only on five numbers: the seed of the masks, the step, the layer, the index of the
 * example in its batch, and the unit. It is therefore the same in any vector, block or thread, and the backward pass
 * computes it again instead of storing it. The finaliser of SplitMix64 (Steele, Lea & Flood 2014) hashes the first
 * three and the unit, one by one, into a key of 64 bits. A draw is a hash of the example's index in the three rounds
 * of Wellons' triple32; one half of the key enters before the first round, the other half before the last. */

#ifndef DROPOUT_ONCE
#define DROPOUT_ONCE
static inline uint64_t fastbp_absorb(uint64_t key, uint64_t word)
{
    uint64_t x = key + (word + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}
#endif

/* VL draws of 32 bits, the same for both dtypes */
#undef draws
#define draws FN(draws)
typedef uint32_t draws __attribute__((vector_size(VL * 4)));
typedef int32_t FN(kept) __attribute__((vector_size(VL * 4)));

/* out := a .* mask / (1 - p) for m examples of layer l, the first of which is example e of its batch; in panels
 * (s), out may be a */
static void FN(dropout)(const plan_t *p, ptrdiff_t l, ptrdiff_t e, ptrdiff_t m, const real *a, real *out)
{
    static const uint32_t number[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const uint64_t key = fastbp_absorb(fastbp_absorb(fastbp_absorb(0, p->seed), p->step), (uint64_t)l);
    const ptrdiff_t s = p->s[l];
    draws lane;
    double rate;
    memcpy(&lane, number, sizeof lane);
    memcpy(&rate, p->drop + l, sizeof rate);
    const uint32_t below = (uint32_t)(rate * 0x1p32);
    const vec scale = FN(vset1)((real)(1 / (1 - rate)));
    for (ptrdiff_t i = 0; i < m; i += PANEL) {
        const ptrdiff_t width = FN(panel_width)(m - i);
        for (ptrdiff_t u = 0; u < s; u++) {
            const uint64_t of_unit = fastbp_absorb(key, (uint64_t)u);
            for (ptrdiff_t g = 0; g < width; g += VL, a += VL, out += VL) {
                draws x = lane + ((uint32_t)(e + i + g) + (uint32_t)of_unit);
                x = (x ^ x >> 17) * 0xed5ad4bbu;
                x = (x ^ x >> 11) * 0xac4c1b51u;
                x ^= (uint32_t)(of_unit >> 32);
                x = (x ^ x >> 15) * 0x31848babu;
                x ^= x >> 14;
                const FN(kept) kept = (FN(kept))(x >= below);
                const ivec mask = PICK((ivec)kept, __builtin_convertvector(kept, ivec));
                FN(vstore)(out, FN(vselect)(mask, scale * FN(vload)(a), FN(vset1)(0)));
            }
        }
    }
}
