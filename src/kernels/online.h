/* Learning from one example at a time: plain gradient steps, batch size 1.
 *
 * Such a step is bound by the traffic of the weights, not by arithmetic: gemv, gemv and ger read each weight three
 * times. Here the first layer is passed once an example (learn from the last example and meet the next one in the same
 * sweep), a deeper layer twice (its product; then delta carried back and the row updated in the same sweep).
 * Theta is (n, k + 1), bias in column 0, keep = 1 - eta c, step = eta delta. */

/* Row r of R:  w := keep w - step_r [1, x_old],  z_r := w [1, x_new] */
static inline __attribute__((always_inline)) void FN(sweep_rows)(
    const int R, const int decays, ptrdiff_t k, real *Theta, real keep, const real *step, const real *x_old,
    const real *x_new, real *z)
{
    const vec keep_ = FN(vset1)(keep);
    vec sum[R], s[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
        s[r] = FN(vset1)(step[r]);
        sum[r] = FN(vset1)(0);
    }
    ptrdiff_t j = 0;
    for (; j + VL <= k; j += VL) {
        const vec old = FN(vload)(x_old + j), new = FN(vload)(x_new + j);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
            real *at = Theta + r * (k + 1) + 1 + j;
            vec w = FN(vload)(at);
            w = FN(vnfma)(s[r], old, decays ? keep_ * w : w);
            FN(vstore)(at, w);
            sum[r] = FN(vfma)(w, new, sum[r]);
        }
    }
    if (j < k) {
        const ptrdiff_t rest = k - j;
        const vec old = FN(vload_part)(x_old + j, rest), new = FN(vload_part)(x_new + j, rest);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
            real *at = Theta + r * (k + 1) + 1 + j;
            vec w = FN(vload_part)(at, rest);
            w = FN(vnfma)(s[r], old, decays ? keep_ * w : w);
            FN(vstore_part)(at, rest, w);
            sum[r] = FN(vfma)(w, new, sum[r]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
        real *bias = Theta + r * (k + 1);
        *bias -= step[r];
        z[r] = *bias + FN(vhsum)(sum[r]);
    }
}

#define SWEEP(name, decays)                                                                                       \
    static void FN(name)(ptrdiff_t n, ptrdiff_t k, real *Theta, real keep, const real *step, const real *x_old,   \
                         const real *x_new, real *z)                                                              \
    {                                                                                                             \
        ptrdiff_t i = 0;                                                                                          \
        for (; i + 4 <= n; i += 4)                                                                                \
            FN(sweep_rows)(4, decays, k, Theta + i * (k + 1), keep, step + i, x_old, x_new, z + i);               \
        for (; i < n; i++)                                                                                        \
            FN(sweep_rows)(1, decays, k, Theta + i * (k + 1), keep, step + i, x_old, x_new, z + i);               \
    }
SWEEP(sweep_keeping, 0)
SWEEP(sweep_decaying, 1)
#undef SWEEP

/* z := Theta [1, a], four rows at a time */
static inline __attribute__((always_inline)) void FN(meet_rows)(const int R, ptrdiff_t k, const real *Theta,
                                                                const real *a, real *z)
{
    vec sum[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
        sum[r] = FN(vset1)(0);
    ptrdiff_t j = 0;
    for (; j + VL <= k; j += VL)
#pragma GCC unroll 4
        for (int r = 0; r < R; r++)
            sum[r] = FN(vfma)(FN(vload)(Theta + r * (k + 1) + 1 + j), FN(vload)(a + j), sum[r]);
    if (j < k)
#pragma GCC unroll 4
        for (int r = 0; r < R; r++)
            sum[r] = FN(vfma)(FN(vload_part)(Theta + r * (k + 1) + 1 + j, k - j), FN(vload_part)(a + j, k - j), sum[r]);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
        z[r] = Theta[r * (k + 1)] + FN(vhsum)(sum[r]);
}

static void FN(meet)(ptrdiff_t n, ptrdiff_t k, const real *Theta, const real *a, real *z)
{
    ptrdiff_t i = 0;
    for (; i + 4 <= n; i += 4)
        FN(meet_rows)(4, k, Theta + i * (k + 1), a, z + i);
    for (; i < n; i++)
        FN(meet_rows)(1, k, Theta + i * (k + 1), a, z + i);
}

/* e += sum_r delta_r w_r without the bias, then w_r := keep w_r - eta delta_r [1, a], for R rows */
static inline __attribute__((always_inline)) void FN(learn_rows)(
    const int R, const int first, ptrdiff_t k, real *Theta, real keep, real eta, const real *delta, const real *a, real *e)
{
    const vec keep_ = FN(vset1)(keep);
    vec d[R], s[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
        d[r] = FN(vset1)(delta[r]);
        s[r] = FN(vset1)(eta * delta[r]);
    }
    for (ptrdiff_t j = 0; j < k; j += VL) {
        const ptrdiff_t lanes = k - j;
        const vec aj = lanes >= VL ? FN(vload)(a + j) : FN(vload_part)(a + j, lanes);
        vec ej = first ? FN(vset1)(0) : lanes >= VL ? FN(vload)(e + j) : FN(vload_part)(e + j, lanes);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
            real *at = Theta + r * (k + 1) + 1 + j;
            vec w = lanes >= VL ? FN(vload)(at) : FN(vload_part)(at, lanes);
            ej = FN(vfma)(d[r], w, ej);
            w = FN(vnfma)(s[r], aj, keep_ * w);
            if (lanes >= VL)
                FN(vstore)(at, w);
            else
                FN(vstore_part)(at, lanes, w);
        }
        if (lanes >= VL)
            FN(vstore)(e + j, ej);
        else
            FN(vstore_part)(e + j, lanes, ej);
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; r++)
        Theta[r * (k + 1)] -= eta * delta[r];
}

static void FN(learn)(ptrdiff_t n, ptrdiff_t k, real *Theta, real keep, real eta, const real *delta, const real *a, real *e)
{
    ptrdiff_t i = 0;
    if (n >= 4) {
        FN(learn_rows)(4, 1, k, Theta, keep, eta, delta, a, e);
        i = 4;
    } else {
        FN(learn_rows)(1, 1, k, Theta, keep, eta, delta, a, e);
        i = 1;
    }
    for (; i + 4 <= n; i += 4)
        FN(learn_rows)(4, 0, k, Theta + i * (k + 1), keep, eta, delta + i, a, e);
    for (; i < n; i++)
        FN(learn_rows)(1, 0, k, Theta + i * (k + 1), keep, eta, delta + i, a, e);
}

/* The cost of one example and its delta(L); z, y, h, delta (K,) with room up to a multiple of VL.
 * Elementwise outputs: its outputs stand side by side as the outputs of one unit would for many examples. */
static double FN(cost_of_one)(int output, int loss, ptrdiff_t K, const real *z, const real *y, real *h, real *delta)
{
    double sum = 0;
    if (output == OUTPUT_softmax) {
        real zmax;
        const real log_sum = FN(softmax_row)(K, z, h, &zmax);
        real eh = 0;
        for (ptrdiff_t k = 0; k < K; k++) {
            delta[k] = h[k] - y[k];
            if (loss == LOSS_cross_entropy)
                sum += (double)y[k] * (((double)zmax - (double)z[k]) + (double)log_sum);
            else
                sum += 0.5 * (double)delta[k] * (double)delta[k];
            eh += delta[k] * h[k];
        }
        if (loss == LOSS_squared_error)
            for (ptrdiff_t k = 0; k < K; k++)
                delta[k] = h[k] * (delta[k] - eh);
        return sum;
    }
    for (ptrdiff_t k = 0; k < K; k += VL) {
        wide cost = {0};
        const double factor = FN(cost_of_lanes)(output, loss, 1, VL, z + k, y + k, h + k, delta + k, &cost);
        for (ptrdiff_t lane = 0; lane < VL && k + lane < K; lane++)
            sum += factor * cost[lane];
    }
    return sum;
}

/* Example i: x as it lies, or loaded into `into`; y into y (K,) */
static inline const real *FN(load_one)(const plan_t *p, const examples_t *data, ptrdiff_t i, real *into, real *y)
{
    const ptrdiff_t row = data->order ? (ptrdiff_t)data->order[i] : i, K = p->s[p->L - 1];
    if (data->labels) {
        for (ptrdiff_t k = 0; k < K; k++)
            y[k] = (real)p->low;
        y[data->labels[row]] = 1;
    } else {
        FN(load_rows)(&data->Y, NULL, row, 1, K, y);
    }
    if (data->X.type == ROWS_TYPE)
        return (const real *)(const void *)((const char *)data->X.data + row * data->X.stride);
    FN(load_rows)(&data->X, NULL, row, 1, p->s[0], into);
    return into;
}

/* theta learns from the examples first .. last, one step each, until the clock passes `end` (looked at every
 * `stride` examples). Returns the first example not done; *cost the sum of w cost before each step, penalty
 * included, *weight the sum of w. work: units of the plan, each VL wide or more. */
static ptrdiff_t FN(online_sgd)(const plan_t *p, real *theta, const examples_t *data, ptrdiff_t first, ptrdiff_t last,
                                double eta_, double c, real *work, ptrdiff_t B, double end, ptrdiff_t stride,
                                double *cost, double *weight)
{
    const ptrdiff_t L = p->L, K = p->s[L - 1], n1 = p->s[1], k1 = p->s[0];
    const real eta = (real)eta_, keep = (real)(1 - eta_ * c);
    real *y = work + B * p->y, *step = work + B * p->delta[1], *into[2] = {work + B * p->rows[0], work + B * p->a[0]};
    const real *x_old = NULL;
    void (*sweep)(ptrdiff_t, ptrdiff_t, real *, real, const real *, const real *, const real *, real *) =
        c != 0 ? FN(sweep_decaying) : FN(sweep_keeping);
    ptrdiff_t i = first;
    for (int turn = 0; i < last; i++) {
        real w = 1;
        if (data->w.data)
            FN(load_rows)(&data->w, data->order, i, 1, 1, &w);
        if (w == 0)
            continue;
        const real *x = FN(load_one)(p, data, i, into[turn], y);
        if (x_old) {
            sweep(n1, k1, theta, keep, step, x_old, x, work + B * p->z[1]);
        } else {    /* the opening product: the same sums in the same order, nothing to learn yet */
            for (ptrdiff_t j = 0; j < n1; j++)
                step[j] = 0;
            FN(sweep_keeping)(n1, k1, theta, 1, step, x, x, work + B * p->z[1]);
        }
        for (ptrdiff_t l = 1; l < L - 1; l++) {
            FN(activate)((int)p->g[l], p->s[l], work + B * p->z[l], work + B * p->a[l]);
            FN(meet)(p->s[l + 1], p->s[l], theta + p->theta[l + 1], work + B * p->a[l], work + B * p->z[l + 1]);
        }
        double penalty = 0;
        if (c != 0)
            for (ptrdiff_t l = 1; l < L; l++)
                penalty += FN(sum_of_squares)(p->s[l], p->s[l - 1] + 1, theta + p->theta[l]);
        *cost += (double)w * (FN(cost_of_one)((int)p->g[L - 1], p->loss, K, work + B * p->z[L - 1], y,
                                              work + B * p->a[L - 1], work + B * p->delta[L - 1]) + 0.5 * c * penalty);
        *weight += (double)w;
        for (ptrdiff_t l = L - 1; l > 1; l--) {
            real *a = work + B * p->a[l - 1], *e = work + B * p->delta[l - 1];
            FN(learn)(p->s[l], p->s[l - 1], theta + p->theta[l], keep, eta, work + B * p->delta[l], a, e);
            FN(activate_backward)((int)p->g[l - 1], p->s[l - 1], a, work + B * p->z[l - 1], e);
        }
        for (ptrdiff_t j = 0; j < n1; j++)
            step[j] *= eta;
        x_old = x;
        turn = !turn;
        if ((i + 1) % stride == 0 && fastbp_seconds() > end) {
            i++;
            break;
        }
    }
    if (x_old)  /* the closing update; its product is not needed */
        sweep(n1, k1, theta, keep, step, x_old, x_old, work + B * p->z[1]);
    return i;
}
