/* The check of input for NaN and infinity. A row is fine if all |x| <= limit (NaN is not); only a row that is not is searched value by value. */
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

static ptrdiff_t first_nonfinite(const rows_t *x, ptrdiff_t m, ptrdiff_t n, double limit)
{
    if (x->type == ROWS_F32) {
        FIRST_NONFINITE(float)
    } else if (x->type == ROWS_F64) {
        FIRST_NONFINITE(double)
    }
    return -1;
}
