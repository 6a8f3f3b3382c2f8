/* Includes body.h for both dtypes and names the set. An ISA file selects the target, then defines
 * ISA (its name) and VBYTES (bytes of a vector). */
#include "kernels.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define STRING_(a) #a
#define STRING(a) STRING_(a)

#define REAL_F32
#include "body.h"
#undef REAL_F32
#define REAL_F64
#include "body.h"
#undef REAL_F64

static ptrdiff_t first_nonfinite(const rows_t *x, ptrdiff_t m, ptrdiff_t n, double limit)
{
    return x->type == ROWS_F32 ? first_nonfinite_f32(x, m, n, limit) : first_nonfinite_f64(x, m, n, limit);
}

const isa_t PASTE(fastbp_isa_, ISA) = {STRING(ISA), &table_f32, &table_f64, first_nonfinite, &curvatures_f32,
                                        &curvatures_f64};
