/* Copies the caller's arrays into the blocks that the kernels work on: gathers rows in an order, converts the dtype,
 * expands labels. It fills one block at a time, so that no copy of the data grows with m. */

/* The row of example i, of n rows. Indices were checked before; row 0 replaces an index that the caller has since moved
 * out of range. */
static inline ptrdiff_t FN(row_of)(const int64_t *order, ptrdiff_t i, ptrdiff_t n)
{
    const ptrdiff_t row = order ? (ptrdiff_t)order[i] : i;
    return (size_t)row < (size_t)n ? row : 0;
}

static void FN(load_rows)(const rows_t *src, const int64_t *order, ptrdiff_t first, ptrdiff_t m, ptrdiff_t n, real *dst)
{
    const ptrdiff_t size = n * (ptrdiff_t)sizeof(real);
    if (!order && src->type == ROWS_TYPE && src->stride == size && m > 0 && first + m <= src->n) {  /* without gaps */
        memcpy(dst, (const char *)src->data + first * size, (size_t)(m * size));
        return;
    }
    for (ptrdiff_t i = 0; i < m; i++, dst += n) {
        const ptrdiff_t row = FN(row_of)(order, first + i, src->n);
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

/* Expands labels into panels (K, width): high at the label of each example, low elsewhere */
static void FN(load_labels)(const examples_t *data, ptrdiff_t first, ptrdiff_t m, ptrdiff_t K, real low, real high,
                            real *y)
{
    for (ptrdiff_t i = 0; i < FN(padded)(m) * K; i += VL)
        FN(vstore)(y + i, FN(vset1)(low));
    for (ptrdiff_t e = 0; e < m; e += PANEL) {
        const ptrdiff_t width = FN(panel_width)(m - e);
        for (ptrdiff_t i = 0; i < PANEL && e + i < m; i++) {
            const int64_t label = data->labels[FN(row_of)(data->order, first + e + i, data->X.n)];
            if ((uint64_t)label < (uint64_t)K)      /* checked before, but the caller may have changed them since */
                y[e * K + label * width + i] = high;
        }
    }
}

/* The weights of the examples, or ones if there are no weights; padded with zeros */
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
