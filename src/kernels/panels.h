/* Matrix products on panels.
 *
 * A block of m examples is cut into panels of PANEL = 2 VL examples (a last one of at most VL is VL wide). Inside
 * a panel each unit is one row of `width` examples side by side:
 *
 *     the panel that begins at example e of a layer with s units lies at  block + e s,  (s, width), unit by unit
 *
 * Every vector holds one unit of VL examples. No product needs packing or a sum across lanes. Outputs and costs are
 * elementwise, even with few units. The result of an example does not depend on the others: it has the same bits in
 * any batch. Missing examples of the last vector are zeros on input and have weight 0. Each element of a
 * product is one chain of fused multiply-adds in the order of the summed index. The chain stops where the caches
 * require it, and resumes later. */

#ifndef PANELS_ONCE
#define PANELS_ONCE
enum start { FROM_ZERO, ONTO_C, FROM_C, FROM_BIAS };
#define DEPTH 512       /* values of the summed index in a pass */
#define GROUP 64        /* rows of weights in a pass: they stay in cache for all panels */
enum { HALVES = 4 };    /* beside `add`: two members have filled one panel as two of VL examples */
#endif

#undef PANEL
#undef ROWS_AT_ONCE
#define PANEL (2 * VL)
#define ROWS_AT_ONCE (VBYTES == 64 ? 8 : 6)     /* x 2 vectors of sums fill the registers */

static inline ptrdiff_t FN(panel_width)(ptrdiff_t left) { return left > VL ? PANEL : VL; }
static inline ptrdiff_t FN(width_of)(ptrdiff_t P, ptrdiff_t left) { return left > VL ? P : VL; }     /* P: PANEL or VL */

/* m rounded up to the number of examples that its panels hold */
static inline ptrdiff_t FN(padded)(ptrdiff_t m)
{
    const ptrdiff_t last = m % PANEL;
    return m - last + (last ? FN(panel_width)(last) : 0);
}

/* A in a product: row r, summed index p is at  a + r row + p step  for p < n. There are `segments` of these, each
 * `jump` after the one before. The tail follows: n_tail indices from a_tail on, with rows row_tail apart. */
typedef struct {
    ptrdiff_t segments, n, row, step, jump;
    const real *a, *a_tail;
    ptrdiff_t n_tail, row_tail;
} FN(left);

/* C (R, V VL) := A B. ONTO_C: C + A B, so that rounding grows with the number of blocks, not of examples. FROM_C: the
 * chain resumes from C. FROM_BIAS: it starts with bias[r bias_row]. Rows of B are b_row apart, rows of C c_row.
 * masked: the last vector has only `lanes` columns. */
static inline __attribute__((always_inline)) void FN(tile)(
    const int R, const int V, const enum start start, const int masked, const FN(left) *A, ptrdiff_t r0, const real *B,
    ptrdiff_t b_row, real *C, ptrdiff_t c_row, const real *bias, ptrdiff_t bias_row, ptrdiff_t lanes)
{
    vec sum[ROWS_AT_ONCE][2];   /* one size for any R and V, so that it is kept in registers */
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++)
            sum[r][v] = start == FROM_C ? FN(vload)(C + r * c_row + v * VL)
                                        : FN(vset1)(start == FROM_BIAS ? bias[(r0 + r) * bias_row] : 0);
    for (ptrdiff_t s = 0; s <= A->segments; s++) {
        const int tail = s == A->segments;
        const ptrdiff_t n = tail ? A->n_tail : A->n, row = tail ? A->row_tail : A->row, step = A->step;
        const real *x = tail ? A->a_tail + r0 * row : A->a + s * A->jump + r0 * row;
        for (ptrdiff_t p = 0; p < n; p++, x += step, B += b_row) {
            vec b[2];
#pragma GCC unroll 2
            for (int v = 0; v < V; v++)
                b[v] = masked && v == V - 1 ? FN(vload_part)(B + v * VL, lanes) : FN(vload)(B + v * VL);
#pragma GCC unroll 16
            for (int r = 0; r < R; r++) {
                const vec x_r = FN(vset1)(x[r * row]);
#pragma GCC unroll 2
                for (int v = 0; v < V; v++)
                    sum[r][v] = FN(vfma)(x_r, b[v], sum[r][v]);
            }
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int v = 0; v < V; v++) {
            real *c = C + r * c_row + v * VL;
            const int part = masked && v == V - 1;
            if (start == ONTO_C)
                sum[r][v] += part ? FN(vload_part)(c, lanes) : FN(vload)(c);
            if (part)
                FN(vstore_part)(c, lanes, sum[r][v]);
            else
                FN(vstore)(c, sum[r][v]);
        }
}

/* The same for any number of rows: as many at once as the registers hold, then 4, 2, 1. */
#define PRODUCT(name, V, start, masked)                                                                           \
    static void FN(name)(ptrdiff_t rows, const FN(left) *A, const real *B, ptrdiff_t b_row, real *C,              \
                         ptrdiff_t c_row, const real *bias, ptrdiff_t bias_row, ptrdiff_t lanes)                  \
    {                                                                                                             \
        ptrdiff_t r = 0;                                                                                          \
        for (; r + ROWS_AT_ONCE <= rows; r += ROWS_AT_ONCE)                                                       \
            FN(tile)(ROWS_AT_ONCE, V, start, masked, A, r, B, b_row, C + r * c_row, c_row, bias, bias_row, lanes);\
        if (r + 4 <= rows) {                                                                                      \
            FN(tile)(4, V, start, masked, A, r, B, b_row, C + r * c_row, c_row, bias, bias_row, lanes);           \
            r += 4;                                                                                               \
        }                                                                                                         \
        if (r + 2 <= rows) {                                                                                      \
            FN(tile)(2, V, start, masked, A, r, B, b_row, C + r * c_row, c_row, bias, bias_row, lanes);           \
            r += 2;                                                                                               \
        }                                                                                                         \
        if (r < rows)                                                                                             \
            FN(tile)(1, V, start, masked, A, r, B, b_row, C + r * c_row, c_row, bias, bias_row, lanes);           \
    }
PRODUCT(product_bias_2, 2, FROM_BIAS, 0)
PRODUCT(product_bias_1, 1, FROM_BIAS, 0)
PRODUCT(product_more_2, 2, FROM_C, 0)
PRODUCT(product_more_1, 1, FROM_C, 0)
PRODUCT(product_zero_2, 2, FROM_ZERO, 0)
PRODUCT(product_zero_1, 1, FROM_ZERO, 0)
PRODUCT(product_zero_2_part, 2, FROM_ZERO, 1)
PRODUCT(product_zero_1_part, 1, FROM_ZERO, 1)
PRODUCT(product_onto_2, 2, ONTO_C, 0)
PRODUCT(product_onto_2_part, 2, ONTO_C, 1)
PRODUCT(product_onto_1_part, 1, ONTO_C, 1)
#undef PRODUCT
static inline ptrdiff_t FN(less)(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* Units i .. j of  Z := [1, A] Theta'  for each panel: Theta (n, k + 1), A (k, width), Z (n, width) */
static void FN(layer_forward)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k, const real *Theta,
                              const real *A, real *Z)
{
    for (ptrdiff_t c = 0; c < k; c += DEPTH) {
        FN(left) weights = {.segments = 1, .n = FN(less)(DEPTH, k - c), .row = k + 1, .step = 1};
        for (ptrdiff_t r = i; r < j; r += GROUP) {
            weights.a = weights.a_tail = Theta + r * (k + 1) + 1 + c;
            for (ptrdiff_t e = 0; e < m; e += PANEL) {
                const ptrdiff_t width = FN(panel_width)(m - e);
                (c ? width == PANEL ? FN(product_more_2) : FN(product_more_1)
                   : width == PANEL ? FN(product_bias_2) : FN(product_bias_1))(
                    FN(less)(GROUP, j - r), &weights, A + e * k + c * width, width, Z + e * n + r * width, width,
                    Theta + r * (k + 1), k + 1, VL);
            }
        }
    }
}

/* Units i .. j of  E := (delta Theta)[without bias]  for each panel: delta (n, width), E (k, width) */
static void FN(layer_backward)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k, const real *Theta,
                               const real *delta, real *E)
{
    for (ptrdiff_t c = 0; c < n; c += DEPTH) {
        FN(left) weights = {.segments = 1, .n = FN(less)(DEPTH, n - c), .row = 1, .step = k + 1};
        for (ptrdiff_t r = i; r < j; r += GROUP) {
            weights.a = weights.a_tail = Theta + c * (k + 1) + 1 + r;
            for (ptrdiff_t e = 0; e < m; e += PANEL) {
                const ptrdiff_t width = FN(panel_width)(m - e);
                (c ? width == PANEL ? FN(product_more_2) : FN(product_more_1)
                   : width == PANEL ? FN(product_zero_2) : FN(product_zero_1))(
                    FN(less)(GROUP, j - r), &weights, delta + e * n + c * width, width, E + e * k + r * width, width,
                    Theta, 0, VL);
            }
        }
    }
}

/* The sum of unit i over m examples; delta in panels (n) of P examples */
static inline real FN(sum_over_examples)(ptrdiff_t P, ptrdiff_t m, ptrdiff_t n, ptrdiff_t i, const real *delta)
{
    vec sum = FN(vset1)(0);
    for (ptrdiff_t e = 0; e < m; e += P) {
        const ptrdiff_t width = FN(width_of)(P, m - e);
        for (ptrdiff_t lane = 0; lane < width; lane += VL)
            sum += FN(vload)(delta + e * n + i * width + lane);
    }
    return FN(vhsum)(sum);
}

/* the same rows of Delta for one input, without the bias: column.h */
static void FN(column_Delta)(ptrdiff_t P, ptrdiff_t m, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, const real *delta, const real *A,
                             ptrdiff_t lda, int add, real *Delta);

/* Rows i .. j of  Delta := (or +=) delta' [1, A]: delta in panels (n, width), A by rows (m, k), lda apart,
 * Delta (n, k + 1). add = 2: += without the bias column. The last panel is the tail: it may be narrower, and A has no
 * rows beyond m. The bits are those without HALVES. */
static void FN(layer_Delta)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k, const real *delta,
                            const real *A, ptrdiff_t lda, int add, real *Delta)
{
    const ptrdiff_t P = add & HALVES ? VL : PANEL, panels = (m - 1) / P, whole = panels * P;
    const ptrdiff_t width = FN(width_of)(P, m - whole);
    add &= ~HALVES;
    for (ptrdiff_t rows; i < j; i += rows) {
        rows = FN(less)(DEPTH * GROUP / m / 8 * 8 + 8, j - i);
        const FN(left) deltas = {
            .segments = panels, .n = P, .row = P, .step = 1, .jump = n * P, .a = delta + i * P,
            .a_tail = delta + whole * n + i * width, .n_tail = m - whole, .row_tail = width,
        };
        real *D = Delta + i * (k + 1);
        ptrdiff_t c = 0;
        for (; c + PANEL <= k; c += PANEL)
            (add ? FN(product_onto_2) : FN(product_zero_2))(rows, &deltas, A + c, lda, D + 1 + c, k + 1, D, 0, VL);
        if (k == 1)
            FN(column_Delta)(P, m, n, i, i + rows, delta, A, lda, add, D);
        else if (c + VL < k)
            (add ? FN(product_onto_2_part) : FN(product_zero_2_part))(
                rows, &deltas, A + c, lda, D + 1 + c, k + 1, D, 0, k - c - VL);
        else if (c < k)
            (add ? FN(product_onto_1_part) : FN(product_zero_1_part))(
                rows, &deltas, A + c, lda, D + 1 + c, k + 1, D, 0, k - c);
        for (ptrdiff_t r = 0; add < 2 && r < rows; r++, D += k + 1)
            *D = (add ? *D : 0) + FN(sum_over_examples)(P, m, n, i + r, delta);
    }
}

/* The same rows of Delta from A in panels (k, width): each number is a sum over vectors of examples. This is for
 * layers of few units, where converting A to rows would cost more than the product. */
static inline __attribute__((always_inline)) void FN(dots)(const int R, ptrdiff_t P, ptrdiff_t m, ptrdiff_t n,
                                                           ptrdiff_t i, ptrdiff_t k, ptrdiff_t c, const real *delta,
                                                           const real *A, int add, real *Delta)
{
    vec sum[8];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        sum[r] = FN(vset1)(0);
    for (ptrdiff_t e = 0; e < m; e += P) {
        const ptrdiff_t width = FN(width_of)(P, m - e);
        const real *d = delta + e * n + i * width, *a = A + e * k + c * width;
        for (ptrdiff_t lane = 0; lane < width; lane += VL) {
            const vec d_e = FN(vload)(d + lane);
#pragma GCC unroll 8
            for (int r = 0; r < R; r++)
                sum[r] = FN(vfma)(d_e, FN(vload)(a + r * width + lane), sum[r]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        Delta[r] = (add ? Delta[r] : 0) + FN(vhsum)(sum[r]);
}

static void FN(narrow_Delta)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k, const real *delta,
                             const real *A, int add, real *Delta)
{
    const ptrdiff_t P = add & HALVES ? VL : PANEL;
    for (add &= ~HALVES, Delta += i * (k + 1); i < j; i++, Delta += k + 1) {
        ptrdiff_t c = 0;
        if (add < 2)
            *Delta = (add ? *Delta : 0) + FN(sum_over_examples)(P, m, n, i, delta);
        for (; c + 8 <= k; c += 8)
            FN(dots)(8, P, m, n, i, k, c, delta, A, add, Delta + 1 + c);
        for (; c < k; c++)
            FN(dots)(1, P, m, n, i, k, c, delta, A, add, Delta + 1 + c);
    }
}

/* a0 b0 a1 b1 .. of the lower and of the upper halves of a and b */
#undef INTERLEAVE
#if VL == 2
#define INTERLEAVE(h) 0 + h, 2 + h
#elif VL == 4
#define INTERLEAVE(h) 0 + 2 * h, 4 + 2 * h, 1 + 2 * h, 5 + 2 * h
#elif VL == 8
#define INTERLEAVE(h) 0 + 4 * h, 8 + 4 * h, 1 + 4 * h, 9 + 4 * h, 2 + 4 * h, 10 + 4 * h, 3 + 4 * h, 11 + 4 * h
#else
#define INTERLEAVE(h)                                                                                             \
    0 + 8 * h, 16 + 8 * h, 1 + 8 * h, 17 + 8 * h, 2 + 8 * h, 18 + 8 * h, 3 + 8 * h, 19 + 8 * h, 4 + 8 * h,        \
        20 + 8 * h, 5 + 8 * h, 21 + 8 * h, 6 + 8 * h, 22 + 8 * h, 7 + 8 * h, 23 + 8 * h
#endif
static inline vec FN(interleave_low)(vec a, vec b) { return __builtin_shufflevector(a, b, INTERLEAVE(0)); }
static inline vec FN(interleave_high)(vec a, vec b) { return __builtin_shufflevector(a, b, INTERLEAVE(1)); }
/* The VL x VL transpose of r in log2(VL) rounds; each interleaves the first half of the rows with the second. */
static inline void FN(transpose)(vec r[VL])
{
    vec t[VL];
#pragma GCC unroll 4
    for (int round = 1; round < VL; round *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < VL / 2; i++) {
            t[2 * i] = FN(interleave_low)(r[i], r[i + VL / 2]);
            t[2 * i + 1] = FN(interleave_high)(r[i], r[i + VL / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++)
            r[i] = t[i];
    }
}

/* the number of the next VL that exist, if at least one is left */
static inline ptrdiff_t FN(there)(ptrdiff_t left) { return left < VL ? left : VL; }

/* z := Theta [1, a] for one example: a (k,), z (n,), contiguous. VL units are computed at once: their weights are
 * transposed tile by tile, so that each z is the same chain of multiply-adds as in a panel, to the last bit. Up to 4
 * such chains run side by side. Returns whether all of Theta is finite: 0 w is NaN if w is not finite. */
static int FN(one_forward)(ptrdiff_t n, ptrdiff_t k, const real *Theta, const real *a, real *z)
{
    vec zero[2] = {FN(vset1)(0), FN(vset1)(0)};
    for (ptrdiff_t j = 0; j < n; j += 4 * VL) {
        const ptrdiff_t left = n - j, groups = left >= 4 * VL ? 4 : (left + VL - 1) / VL;
        vec sum[4];
        for (ptrdiff_t g = 0; g < groups; g++) {
            real bias[VL] = {0};
            for (ptrdiff_t i = 0; i < VL && g * VL + i < left; i++)
                bias[i] = Theta[(j + g * VL + i) * (k + 1)];
            sum[g] = FN(vload)(bias);
            zero[0] = FN(vfma)(sum[g], FN(vset1)(0), zero[0]);
        }
        for (ptrdiff_t c = 0; c < k; c += VL)
            for (ptrdiff_t g = 0; g < groups; g++) {
                const ptrdiff_t rows = FN(there)(left - g * VL), columns = FN(there)(k - c);
                const real *W = Theta + (j + g * VL) * (k + 1) + 1 + c;
                vec r[VL], s = sum[g];
                if (rows == VL && columns == VL)
#pragma GCC unroll 16
                    for (int i = 0; i < VL; i++)
                        r[i] = FN(vload)(W + i * (k + 1));
                else
                    for (int i = 0; i < VL; i++)
                        r[i] = i < rows ? FN(vload_part)(W + i * (k + 1), columns) : FN(vset1)(0);
#pragma GCC unroll 16
                for (int i = 0; i < VL; i++)
                    zero[i % 2] = FN(vfma)(r[i], FN(vset1)(0), zero[i % 2]);
                FN(transpose)(r);
                if (columns == VL)
#pragma GCC unroll 16
                    for (int i = 0; i < VL; i++)
                        s = FN(vfma)(FN(vset1)(a[c + i]), r[i], s);
                else
                    for (int i = 0; i < columns; i++)
                        s = FN(vfma)(FN(vset1)(a[c + i]), r[i], s);
                sum[g] = s;
            }
        for (ptrdiff_t g = 0; g < groups; g++)
            FN(vstore_part)(z + j + g * VL, FN(there)(left - g * VL), sum[g]);
    }
    return FN(vhsum)(zero[0] + zero[1]) == 0;
}

/* Rows (m, s), ld apart, into panels (s, width); missing examples become zeros */
static void FN(to_panels)(ptrdiff_t m, ptrdiff_t s, const real *rows, ptrdiff_t ld, real *panels)
{
    for (ptrdiff_t e = 0; e < m; e += PANEL) {
        const ptrdiff_t width = FN(panel_width)(m - e);
        if (s == 1 && ld == 1) {    /* one column: the same numbers in the same order */
            for (ptrdiff_t g = 0; g < width; g += VL)
                FN(vstore)(panels + e + g, FN(vload_part)(rows + e + g, FN(there)(m - e - g)));
            continue;
        }
        for (ptrdiff_t g = 0; g < width; g += VL) {
            const ptrdiff_t there = FN(there)(m - e - g);
            const real *from = rows + (e + g) * ld;
            real *to = panels + e * s + g;
            for (ptrdiff_t c = 0; c < s; c += VL) {
                const ptrdiff_t lanes = s - c < VL ? s - c : VL;
                vec r[VL];
                if (there == VL && lanes == VL)
#pragma GCC unroll 16
                    for (int i = 0; i < VL; i++)
                        r[i] = FN(vload)(from + i * ld + c);
                else
                    for (int i = 0; i < VL; i++)
                        r[i] = i < there ? FN(vload_part)(from + i * ld + c, lanes) : FN(vset1)(0);
                FN(transpose)(r);
                if (lanes == VL)
#pragma GCC unroll 16
                    for (int i = 0; i < VL; i++)
                        FN(vstore)(to + (c + i) * width, r[i]);
                else
                    for (int i = 0; i < lanes; i++)
                        FN(vstore)(to + (c + i) * width, r[i]);
            }
        }
    }
}

/* Panels (s, width) into rows (m, s), ld apart */
static void FN(to_rows)(ptrdiff_t m, ptrdiff_t s, const real *panels, real *rows, ptrdiff_t ld)
{
    for (ptrdiff_t e = 0; e < m; e += PANEL) {
        const ptrdiff_t width = FN(panel_width)(m - e);
        for (ptrdiff_t g = 0; g < width; g += VL) {
            const ptrdiff_t there = FN(there)(m - e - g);
            const real *from = panels + e * s + g;
            real *to = rows + (e + g) * ld;
            for (ptrdiff_t c = 0; c < s; c += VL) {
                const ptrdiff_t lanes = s - c < VL ? s - c : VL;
                vec r[VL];
                if (lanes == VL)
#pragma GCC unroll 16
                    for (int i = 0; i < VL; i++)
                        r[i] = FN(vload)(from + (c + i) * width);
                else
                    for (int i = 0; i < VL; i++)
                        r[i] = i < lanes ? FN(vload)(from + (c + i) * width) : FN(vset1)(0);
                FN(transpose)(r);
                if (there == VL && lanes == VL)
#pragma GCC unroll 16
                    for (int i = 0; i < VL; i++)
                        FN(vstore)(to + i * ld + c, r[i]);
                else
                    for (int i = 0; i < there; i++)
                        FN(vstore_part)(to + i * ld + c, lanes, r[i]);
            }
        }
    }
}
