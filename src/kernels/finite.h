/* Checks input of one dtype for NaN and infinity. A row passes if all |x| <= limit, which is false for NaN. Only a row
 * that fails is searched value by value. Rows without gaps are treated as one row. */
static ptrdiff_t FN(first_nonfinite)(const rows_t *x, ptrdiff_t m, ptrdiff_t n, double limit)
{
    const real largest = limit < (double)PICK(FLT_MAX, DBL_MAX) ? (real)limit : PICK(FLT_MAX, DBL_MAX);
    const vec top = FN(vset1)(largest);
    if (x->stride == n * (ptrdiff_t)sizeof(real)) {
        n *= m;
        m = 1;
    }
    for (ptrdiff_t i = 0; i < m; i++) {
        const real *row = (const real *)(const void *)((const char *)x->data + i * x->stride);
        ivec fine = (ivec)(top == top);
        ptrdiff_t j = 0;
        for (; j + 4 * VL <= n; j += 4 * VL)
            fine &= (ivec)(FN(vabs)(FN(vload)(row + j)) <= top) & (ivec)(FN(vabs)(FN(vload)(row + j + VL)) <= top) &
                    (ivec)(FN(vabs)(FN(vload)(row + j + 2 * VL)) <= top) &
                    (ivec)(FN(vabs)(FN(vload)(row + j + 3 * VL)) <= top);
        for (; j < n; j += VL)
            fine &= (ivec)(FN(vabs)(FN(vload_part)(row + j, FN(there)(n - j))) <= top);
        bits all = -1;
        for (int lane = 0; lane < VL; lane++)
            all &= fine[lane];
        if (!all)
            for (j = 0; j < n; j++)
                if (!(row[j] <= largest && row[j] >= -largest))
                    return i * n + j;
    }
    return -1;
}
