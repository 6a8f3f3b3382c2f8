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

/* Labels into panels (K, width): high at the label of each example, low elsewhere */
static void FN(load_labels)(const int64_t *labels, const int64_t *order, ptrdiff_t first, ptrdiff_t m, ptrdiff_t K,
                            real low, real high, real *y)
{
    for (ptrdiff_t i = 0; i < FN(padded)(m) * K; i += VL)
        FN(vstore)(y + i, FN(vset1)(low));
    for (ptrdiff_t e = 0; e < m; e += PANEL) {
        const ptrdiff_t width = FN(panel_width)(m - e);
        for (ptrdiff_t i = 0; i < PANEL && e + i < m; i++) {
            const int64_t label = labels[order ? order[first + e + i] : first + e + i];
            if ((uint64_t)label < (uint64_t)K)      /* checked before; their owner may have changed them since */
                y[e * K + label * width + i] = high;
        }
    }
}

/* Weights by example, padded with zeros; ones where there are none */
static void FN(load_weights)(const rows_t *src, const int64_t *order, ptrdiff_t first, ptrdiff_t m, real *w)
{
    const ptrdiff_t padded = FN(padded)(m);
    if (src->data)
        FN(load_rows)(src, order, first, m, 1, w);
    else
        for (ptrdiff_t i = 0; i < m; i++)
            w[i] = 1;
    for (ptrdiff_t i = m; i < padded; i++)
        w[i] = 0;
}
