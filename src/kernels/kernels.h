/* The C kernels as the compiled modules see them: one table of functions per dtype, filled once per
 * instruction set and chosen at import. Kernels are arithmetic on examples: no allocation, no error
 * path, no global state. Shapes are in the comments, matrices are row-major. */
#ifndef FASTBP_KERNELS_H
#define FASTBP_KERNELS_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "names.h"

/* n rows of a caller's array, read in place: row i begins at data + i * stride (bytes), its columns are contiguous
 * and have one of these types. */
enum rows_type { ROWS_F32, ROWS_F64, ROWS_U8 };
typedef struct {
    const void *data;
    ptrdiff_t stride, n;
    int type;
} rows_t;

/* A network, as fastbp/engine/plan.py lays it out: layer l = 0 is the textbook's first. See src/_backprop.pxd. */
typedef struct {
    ptrdiff_t L, n, units;                      /* layers; values of theta; workspace values per example */
    const int64_t *s;                           /* units of each layer */
    const int64_t *g;                           /* activation; the output in the last layer */
    const int64_t *theta;                       /* where the Theta into this layer begins in the flat theta */
    const int64_t *a, *z, *delta, *rows;        /* unit of the workspace at which each begins */
    int loss;
    double parameter;                           /* of the loss, if it has one */
    intptr_t own, user;                         /* a caller's own loss: its address, 0 if there is none; its last argument */
    ptrdiff_t y, w;                             /* unit at which the targets (K) and the weights (1) begin */
    int low;                                    /* target of the outputs other than the label: 0, or -1 for tanh */
    const int64_t *fed;                         /* unit at which the next layer's input begins: a, or a after dropout */
    const int64_t *drop;                        /* dropout rates, as the bits of doubles; NULL without dropout */
    uint64_t seed, step;                        /* of the dropout masks; step counts from 0 */
    ptrdiff_t first;                            /* where the batch of that step begins in the order of examples */
    ptrdiff_t panels;                           /* number of panels that go through a layer together */
} plan_t;

/* The examples that J and D are summed over. */
typedef struct {
    rows_t X, Y;                                /* inputs; targets, if they are dense */
    const int64_t *labels;                      /* one per row; NULL with dense targets */
    rows_t w;                                   /* w.data is NULL without weights */
    const int64_t *order;                       /* of the rows; NULL: 0, 1, 2, ... */
} examples_t;

/* One step of an update rule: update.h. */
enum { SCALARS = 1 };
typedef struct {
    int rule;                                   /* its position in RULES of names.h */
    const double *settings;                     /* of this rule */
    double t, rate;                             /* the number of the step, from 1, and its learning rate */
    double scalars[SCALARS];                    /* numbers that the rule keeps between steps in addition to its slots */
    double now[4];                              /* values computed from t and rate for all parameters */
    double factor[2];                           /* factors of the learning rate of the weights and of the biases */
} step_t;

/* A clock that only goes forward, in seconds. */
#if defined(_WIN32)
#include "windows_only.h"
static inline double fastbp_seconds(void)
{
    LARGE_INTEGER now, each;
    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&each);
    return (double)now.QuadPart / (double)each.QuadPart;
}
#else
static inline double fastbp_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
#endif

/* Sets our floating-point state for a call: round to nearest, subnormal numbers are 0 (on some processors they take a
 * hundred times as long). fastbp_leave restores the caller's state. */
#if defined(__x86_64__)
#include <xmmintrin.h>
static inline unsigned fastbp_enter(void)
{
    const unsigned callers = _mm_getcsr();
    _mm_setcsr(0x1f80 | 0x8040);
    return callers;
}
static inline void fastbp_leave(unsigned callers) { _mm_setcsr(callers); }
#elif defined(__aarch64__)
/* FPCR: bit 24 flushes subnormal numbers, bits 22 and 23 are the rounding, 0 is to nearest; no trap is enabled. */
static inline void fastbp_set_fpcr(uint64_t fpcr) { __asm__ volatile("msr fpcr, %0" : : "r"(fpcr) : "memory"); }
static inline unsigned fastbp_enter(void)
{
    uint64_t callers;
    __asm__ volatile("mrs %0, fpcr" : "=r"(callers) : : "memory");
    fastbp_set_fpcr(1u << 24);
    return (unsigned)callers;   /* the upper half is reserved */
}
static inline void fastbp_leave(unsigned callers) { fastbp_set_fpcr(callers); }
#else
/* C99 cannot flush subnormal numbers: here they are kept. */
#include <fenv.h>
static inline unsigned fastbp_enter(void)
{
    const int callers = fegetround();
    fesetround(FE_TONEAREST);
    return (unsigned)callers;
}
static inline void fastbp_leave(unsigned callers) { fesetround((int)callers); }
#endif

/* The functions of one dtype. */
#define FASTBP_KERNELS(real, T)                                                                                   \
    typedef struct {                                                                                              \
        /* examples in a panel, and in a vector: see panels.h */                                                  \
        ptrdiff_t panel, lanes;                                                                                   \
        /* dst (m, n) := rows order[first .. first + m), or first .. first + m without an order */                \
        void (*load_rows)(const rows_t *src, const int64_t *order, ptrdiff_t first, ptrdiff_t m, ptrdiff_t n,     \
                          real *dst);                                                                             \
        /* y in panels (K) := high at the label of each example, low elsewhere */                                 \
        void (*load_labels)(const examples_t *data, ptrdiff_t first, ptrdiff_t m, ptrdiff_t K, real low,          \
                            real high, real *y);                                                                  \
        /* w (m,) := weights of the examples, ones without weights; then zeros to the end of the panels */        \
        void (*load_weights)(const rows_t *src, const int64_t *order, ptrdiff_t first, ptrdiff_t m, real *w);     \
        /* converts rows (m, s), ld apart, to panels (s), and back */                                             \
        void (*to_panels)(ptrdiff_t m, ptrdiff_t s, const real *rows, ptrdiff_t ld, real *panels);                \
        void (*to_rows)(ptrdiff_t m, ptrdiff_t s, const real *panels, real *rows, ptrdiff_t ld);                  \
        /* units i .. j of  Z := [1, A] Theta';  A in panels (k), Theta (n, k + 1), Z in panels (n) */            \
        void (*layer_forward)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k, const real *Theta, \
                              const real *A, real *Z);                                                            \
        /* z := Theta [1, a] for one example, a (k,), z (n,), bits as layer_forward; returns: is Theta finite? */ \
        int (*one_forward)(ptrdiff_t n, ptrdiff_t k, const real *Theta, const real *a, real *z);                  \
        /* units i .. j of  E := (delta Theta)[without bias];  delta in panels (n), E in panels (k) */            \
        void (*layer_backward)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k,                   \
                               const real *Theta, const real *delta, real *E);                                    \
        /* rows i .. j of  Delta := delta' [1, A], or += with add, where 2 leaves out the bias column, and 4 more   \
         * if a single panel lies in two halves of VL examples;  delta in panels (n), A by rows (m, k), lda apart */ \
        void (*layer_Delta)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k, const real *delta,   \
                            const real *A, ptrdiff_t lda, int add, real *Delta);                                  \
        /* the same from A in panels (k), for few units n */                                                      \
        void (*narrow_Delta)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k, const real *delta,  \
                             const real *A, int add, real *Delta);                                                \
        /* a := g(z), n elements, a may be z; slope := g'(z) if names.h keeps it and slope is not NULL */          \
        void (*activate)(int g, ptrdiff_t n, const real *z, real *a, real *slope);                                \
        /* delta := delta .* g'(z), from slope if names.h keeps it, else from a = g(z) */                         \
        void (*activate_backward)(int g, ptrdiff_t n, const real *a, const real *slope, real *delta);             \
        /* out := a .* mask / (1 - p), examples e .. e + m of a batch, layer l, in panels (s); out may be a */     \
        void (*dropout)(const plan_t *p, ptrdiff_t l, ptrdiff_t e, ptrdiff_t m, const real *a, real *out);        \
        /* h := output(z); delta := w dcost/dz; returns sum of w cost; panels (K), w (m,) padded with zeros */    \
        double (*cost_and_delta)(int output, int loss, double parameter, ptrdiff_t m, ptrdiff_t K, const real *z, \
                                 const real *y, const real *w, real *h, real *delta);                             \
        /* delta := w dcost/dz of the caller's own loss; returns sum of w cost; m examples from `first` on, z and    \
         * delta in panels (K), w (m,); rows and slopes have room for (m, K) */                                   \
        double (*own_cost)(const plan_t *p, const examples_t *data, ptrdiff_t first, ptrdiff_t m, const real *z,  \
                           const real *w, real *rows, real *slopes, real *delta);                                 \
        /* h := output(z) in panels (K) */                                                                        \
        void (*output)(int output, ptrdiff_t m, ptrdiff_t K, const real *z, real *h);                             \
        /* delta := (dh/dz)' delta in panels (K): dJ/dh becomes dJ/dz; h is overwritten */                        \
        void (*output_backward)(int output, ptrdiff_t m, ptrdiff_t K, const real *z, real *h, real *delta);       \
        /* sum over j >= 1 of c/2 Theta_ij^2 + l1 |Theta_ij|, Theta (rows, columns) */                            \
        double (*penalty)(ptrdiff_t rows, ptrdiff_t columns, double c, double l1, const real *Theta);             \
        /* Delta := D = scale Delta + c Theta + l1 sign(Theta), in the bias column scale Delta; each value is     \
         * clipped to [-clip, clip];  all are (rows, columns) */                                                  \
        void (*regularise)(ptrdiff_t rows, ptrdiff_t columns, double scale, double c, double l1, double clip,     \
                           const real *Theta, real *Delta);                                                       \
        /* sum of x_i^2, n elements */                                                                            \
        double (*sum_of_squares)(ptrdiff_t n, const real *x);                                                     \
        /* a diagonal layer in front of Theta(1): see update.h */                                                 \
        void (*unfold)(ptrdiff_t rows, ptrdiff_t columns, double scale, double c, double clip, const real *Theta, \
                       const real *W, const real *s, real *Delta, real *slopes);                                  \
        void (*fold)(ptrdiff_t rows, ptrdiff_t columns, const real *W, const real *s, real *Theta);               \
        /* sets now and scalars of this step, from t and rate */                                                  \
        void (*begin_step)(step_t *step);                                                                         \
        /* D = scale Delta + c Theta, without c in the bias column; then the rule, one function each. All         \
         * have `size` elements in rows of `columns`; a rule uses as many slots as it has */                      \
        void (*update[RULE_COUNT])(const step_t *step, ptrdiff_t size, ptrdiff_t columns, real scale, real c,     \
                                   const real *Delta, real *slot_1, real *slot_2, real *slot_3, real *theta);     \
        /* one plain gradient step per example: see online.h */                                                   \
        ptrdiff_t (*online_sgd)(const plan_t *p, real *theta, const examples_t *data, ptrdiff_t first,            \
                                ptrdiff_t last, double eta, const double *rates, const double *c,                 \
                                const double *divisors, real *work, ptrdiff_t B, real *packed, double end,        \
                                ptrdiff_t stride, double *cost, double *weight, int64_t *taken);                  \
        /* out := f(x) for the elementwise functions of the tests: n elements, one row for softmax */             \
        int (*function)(const char *name, ptrdiff_t n, const real *x, real *out);                                 \
        /* sums[e] := sum over the s units of x^2 of each of m examples, padded; x in panels (s) */               \
        void (*squares_of_units)(ptrdiff_t m, ptrdiff_t s, const real *x, double *sums);                          \
    } kernels_##T;

FASTBP_KERNELS(float, f32)
FASTBP_KERNELS(double, f64)

/* The functions of one dtype for second derivatives: curvature.h. Arrays are panels of whole vectors. */
#define FASTBP_CURVATURE(real, T)                                                                                 \
    typedef struct {                                                                                              \
        /* a := g(z), slope := g'(z), second := g''(z), n values; a may be z */                                   \
        void (*activate_twice)(int g, ptrdiff_t n, const real *z, real *a, real *slope, real *second);            \
        /* second := delta .* second, then delta := delta .* slope */                                             \
        void (*backward_twice)(ptrdiff_t n, const real *slope, real *second, real *delta);                        \
        /* out := slope .* x; out may be x */                                                                     \
        void (*times)(ptrdiff_t n, const real *slope, const real *x, real *out);                                  \
        /* E := E .* slope + bend .* Rz */                                                                        \
        void (*bend)(ptrdiff_t n, const real *slope, const real *bend, const real *Rz, real *E);                  \
        /* units i .. j of  C += B W';  B in panels (k), C in panels (n), W_rc at W + r row + c step */           \
        void (*product_onto)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t i, ptrdiff_t j, ptrdiff_t k, const real *W,      \
                             ptrdiff_t row, ptrdiff_t step, const real *B, real *C);                              \
        /* h, q, t := what H, or H+, of the costs is made of; panels (K), w (m,) padded with zeros */             \
        void (*keep_curve)(int output, int loss, double parameter, int plus, ptrdiff_t m, ptrdiff_t K,            \
                           const real *z, const real *y, const real *w, real *h, real *q, real *t);               \
        /* R := w H R, or w H+ R, in panels (K) */                                                                \
        void (*curve)(int output, int loss, int plus, ptrdiff_t m, ptrdiff_t K, const real *h, const real *q,     \
                      const real *t, const real *w, real *R);                                                     \
    } curvature_##T;

FASTBP_CURVATURE(float, f32)
FASTBP_CURVATURE(double, f64)

/* One instruction set: its name, its tables, and the check of float32 or float64 input. The check returns the flat
 * index (row * n + column) of the first value that is NaN, infinite or above `limit` in absolute value, else -1. */
typedef struct {
    const char *name;
    const kernels_f32 *f32;
    const kernels_f64 *f64;
    ptrdiff_t (*first_nonfinite)(const rows_t *x, ptrdiff_t m, ptrdiff_t n, double limit);
    const curvature_f32 *c32;
    const curvature_f64 *c64;
} isa_t;

/* The instruction sets that were built, best first, and those of them that this processor has; end with name NULL. */
const isa_t *const *fastbp_built(void);
const isa_t *const *fastbp_isas(void);

/* Each compiled module keeps the chosen set here; _kernels.pxd binds it at import. */
static const isa_t *fastbp_isa;
static inline void fastbp_bind(const isa_t *isa) { fastbp_isa = isa; }
static inline const kernels_f32 *fastbp_f32(void) { return fastbp_isa->f32; }
static inline const kernels_f64 *fastbp_f64(void) { return fastbp_isa->f64; }
static inline const curvature_f32 *fastbp_c32(void) { return fastbp_isa->c32; }
static inline const curvature_f64 *fastbp_c64(void) { return fastbp_isa->c64; }
static inline ptrdiff_t fastbp_first_nonfinite(const rows_t *x, ptrdiff_t m, ptrdiff_t n, double limit)
{
    return fastbp_isa->first_nonfinite(x, m, n, limit);
}

#endif
