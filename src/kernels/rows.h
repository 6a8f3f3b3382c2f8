/* Between the caller's arrays and the blocks the kernels work on: gather by an order, convert the dtype,
 * expand labels. One block at a time, so that no copy of the data grows with m. */

static void FN(load_rows)(const rows_t *src, const int64_t *order, ptrdiff_t first, ptrdiff_t m, ptrdiff_t n, real *dst)
{
    for (ptrdiff_t i = 0; i < m; i++, dst += n) {
        const ptrdiff_t row = order ? (ptrdiff_t)order[first + i] : first + i;
        const char *from = (const char *)src->data + row * src->stride;
        if (src->type == ROWS_TYPE) {
            memcpy(dst, from, (size_t)n * sizeof(real));
        } else if (src->type == ROWS_U8) {
            for (ptrdiff_t j = 0; j < n; j++)
                dst[j] = (real)((const uint8_t *)from)[j];
        } else {
            for (ptrdiff_t j = 0; j < n; j++)
                dst[j] = (real)((const OTHER_REAL *)(const void *)from)[j];
        }
    }
}

static void FN(load_labels)(const int64_t *labels, const int64_t *order, ptrdiff_t first, ptrdiff_t m, ptrdiff_t K,
                            real low, real high, real *y)
{
    for (ptrdiff_t i = 0; i < m; i++, y += K) {
        for (ptrdiff_t k = 0; k < K; k++)
            y[k] = low;
        y[labels[order ? order[first + i] : first + i]] = high;
    }
}
