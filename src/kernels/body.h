/* All kernels of one dtype for one instruction set, and their table. Included twice by each ISA file,
 * with REAL_F32 and with REAL_F64 defined. */
#undef TABLE
#undef SQRT
#undef ROWS_TYPE
#undef OTHER_REAL
#ifdef REAL_F32
#define TABLE kernels_f32
#define SQRT sqrtf
#define ROWS_TYPE ROWS_F32
#define OTHER_REAL double
#else
#define TABLE kernels_f64
#define SQRT sqrt
#define ROWS_TYPE ROWS_F64
#define OTHER_REAL float
#endif

#include "vector.h"
#include "vmath.h"

#include "panels.h"
#include "column.h"
#include "activations.h"
#include "rows.h"
#include "losses.h"
#include "outputs.h"
#include "curvature.h"
#include "dropout.h"
#include "update.h"
#include "sweeps.h"
#include "online.h"
#include "finite.h"

/* The elementwise functions by name, for the tests of their last bit. */
static int FN(function)(const char *name, ptrdiff_t n, const real *x, real *out)
{
#define X(f)                                                                                                      \
    if (strcmp(name, #f) == 0) {                                                                                  \
        for (ptrdiff_t i = 0; i < n; i += VL) {                                                                   \
            const ptrdiff_t lanes = n - i < VL ? n - i : VL;                                                      \
            FN(vstore_part)(out + i, lanes, FN(v##f)(FN(vload_part)(x + i, lanes)));                              \
        }                                                                                                         \
        return 1;                                                                                                 \
    }
    X(exp) X(expm1) X(log) X(log1p) X(sigmoid) X(tanh) X(normcdf)
#undef X
    if (strcmp(name, "softmax") == 0) {
        real zmax, others;
        FN(softmax_row)(n, x, out, &zmax, &others);
        return 1;
    }
    return 0;
}

static const TABLE FN(table) = {
    .panel = PANEL,
    .lanes = VL,
    .activate = FN(activate),
    .activate_backward = FN(activate_backward),
    .dropout = FN(dropout),
    .cost_and_delta = FN(cost_and_delta),
    .own_cost = FN(own_cost),
    .output = FN(output),
    .output_backward = FN(output_backward),
    .load_rows = FN(load_rows),
    .load_labels = FN(load_labels),
    .load_weights = FN(load_weights),
    .to_panels = FN(to_panels),
    .to_rows = FN(to_rows),
    .layer_forward = FN(layer_forward),
    .one_forward = FN(one_forward),
    .layer_backward = FN(layer_backward),
    .layer_Delta = FN(layer_Delta),
    .narrow_Delta = FN(narrow_Delta),
    .penalty = FN(penalty),
    .regularise = FN(regularise),
    .sum_of_squares = FN(sum_of_squares),
    .unfold = FN(unfold),
    .fold = FN(fold),
    .begin_step = FN(begin_step),
#define X(name, ...) [RULE_##name] = FN(name),
    .update = {RULES(X)},
#undef X
#if VBYTES == 64
    .online_sgd = FN(online_sgd_by_size),
#else
    .online_sgd = FN(online_sgd),
#endif
    .function = FN(function),
    .squares_of_units = FN(squares_of_units),
};
