/* Plain gradient steps of batch size 1.
 *
 * Such a step is bound by the memory traffic of the weights, not by arithmetic: gemv, gemv and ger read each weight
 * three times.
 * Here an example takes one sweep through the first layer: it learns from the last example and computes the product
 * for the next one. A deeper layer takes two sweeps: the first computes its product, the second carries delta back and
 * updates the row. During a call the weights are stored in rows of whole, aligned vectors, W (n, ld) with zeros behind
 * column k, and the biases apart. The vectors that multiply them (x, a) have zeros there too. keep = 1 - eta c and
 * step = eta delta belong to one step: eta and c may differ from step to step and from layer to layer. sweeps.h has the
 * sweeps. */

/* The cost of one example and its delta(L); z, y, h, delta (K,) with room up to a multiple of VL.
 * Elementwise outputs are computed as if they were one unit's outputs for K examples. */
static double FN(cost_of_one)(int output, int loss, double parameter, ptrdiff_t K, const real *z, const real *y,
                              real *h, real *delta)
{
    double sum = 0;
    if (output == OUTPUT_softmax) {
        real zmax, others, eh = 0, eh_others = 0;
        const real log_sum = FN(softmax_row)(K, z, h, &zmax, &others);
        SMOOTH(parameter, (double)K)    /* parameter is 0 without cross_entropy */
        for (ptrdiff_t k = 0; k < K; k++) {
            const real yk = keep * y[k] + share;
            delta[k] = h[k] > (real)0.5 ? ((real)1 - yk) - others : h[k] - yk;
            if (loss == LOSS_cross_entropy)
                sum += (double)yk * (((double)zmax - (double)z[k]) + (double)log_sum);
            else
                sum += 0.5 * (double)delta[k] * (double)delta[k];
            eh += delta[k] * h[k];
            if (!(h[k] > (real)0.5))
                eh_others += delta[k] * h[k];
        }
        if (loss == LOSS_squared_error)
            for (ptrdiff_t k = 0; k < K; k++)
                delta[k] = h[k] * (h[k] > (real)0.5 ? delta[k] * others - eh_others : delta[k] - eh);
        return sum;
    }
    for (ptrdiff_t k = 0; k < K; k += VL) {
        costs_t cost = {{{0}}};
        double each[VL];
        const double factor = FN(cost_of_lanes)(output, loss, parameter, 1, VL, z + k, y + k, h + k, delta + k,
                                                &cost);
        memcpy(each, &cost, sizeof each);
        for (ptrdiff_t lane = 0; lane < VL && k + lane < K; lane++)
            sum += factor * each[lane];
    }
    return sum;
}

/* sum of w^2 over whole vectors, in double */
static double FN(squares)(ptrdiff_t n, const real *w)
{
    costs_t sum = {{{0}}};
    for (ptrdiff_t i = 0; i < n; i += VL)
        EACH_PART {
            const wide wi = FN(widen)(FN(vload)(w + i), p);
            sum.part[p] += wi * wi;
        }
    return FN(sum_of_costs)(&sum);
}

static inline ptrdiff_t FN(whole)(ptrdiff_t n) { return (n + VL - 1) / VL * VL; }

/* x (k,) of example i in whole vectors: in place, or loaded into `into`, which has zeros behind k. It also loads y (K,).
 */
static inline const real *FN(load_one)(const plan_t *p, const examples_t *data, ptrdiff_t i, real *into, real *y)
{
    const ptrdiff_t row = FN(row_of)(data->order, i, data->X.n), K = p->s[p->L - 1], k = p->s[0];
    if (p->loss >= LOSS_COUNT) {    /* an own loss reads y in place */
    } else if (data->labels) {
        for (ptrdiff_t j = 0; j < K; j++)
            y[j] = (real)p->low;
        if ((uint64_t)data->labels[row] < (uint64_t)K)
            y[data->labels[row]] = 1;
    } else if (data->Y.type == ROWS_TYPE) {
        const char *from = (const char *)data->Y.data + row * data->Y.stride;
        for (ptrdiff_t j = 0; j < K; j += VL)
            FN(vstore)(y + j, FN(vload_part)((const real *)(const void *)from + j, FN(there)(K - j)));
    } else {
        FN(load_rows)(&data->Y, NULL, row, 1, K, y);
    }
    const char *x = (const char *)data->X.data + row * data->X.stride;
    if (data->X.type == ROWS_TYPE && k % VL == 0)
        return (const real *)(const void *)x;
    if (data->X.type == ROWS_TYPE) {
        for (ptrdiff_t j = 0; j < k; j += VL)
            FN(vstore)(into + j, FN(vload_part)((const real *)(const void *)x + j, FN(there)(k - j)));
        return into;
    }
    FN(load_rows)(&data->X, NULL, row, 1, k, into);
    return into;
}

/* Theta (n, k + 1) into W (n, ld) and b (n,), or back */
static void FN(unpack_layer)(ptrdiff_t n, ptrdiff_t k, const real *Theta, real *W, real *b)
{
    const ptrdiff_t ld = FN(whole)(k);
    for (ptrdiff_t i = n; i < FN(whole)(n); i++)
        b[i] = 0;
    for (ptrdiff_t i = 0; i < n; i++, Theta += k + 1, W += ld) {
        b[i] = Theta[0];
        memcpy(W, Theta + 1, (size_t)k * sizeof(real));
        for (ptrdiff_t j = k; j < ld; j++)
            W[j] = 0;
    }
}
static void FN(pack_layer)(ptrdiff_t n, ptrdiff_t k, const real *W, const real *b, real *Theta)
{
    const ptrdiff_t ld = FN(whole)(k);
    for (ptrdiff_t i = 0; i < n; i++, Theta += k + 1, W += ld) {
        Theta[0] = b[i];
        memcpy(Theta + 1, W, (size_t)k * sizeof(real));
    }
}

/* Takes one step for each of the examples first .. last, until the clock passes `end` (read every `stride` examples).
 * The learning rate is eta_, or rates[t] in step t if rates are given; c has a value for each Theta. The delta of
 * example i is multiplied by w / divisors[i]; without divisors by 1, as if it were divided by its own w. Returns the
 * first example not done. *cost grows by w cost before each step, penalty included, *weight by w, *taken by the number
 * of steps. work: the units of the plan, each B wide, B >= VL, initially zero; packed: W and b of each layer,
 * n (whole(k) + 1) values rounded up to whole vectors, aligned to a cache line. */
static ptrdiff_t FN(online_sgd)(const plan_t *p, real *theta, const examples_t *data, ptrdiff_t first, ptrdiff_t last,
                                double eta_, const double *rates, const double *c, const double *divisors,
                                real *work, ptrdiff_t B, real *packed, double end, ptrdiff_t stride, double *cost,
                                double *weight, int64_t *taken)
{
    const ptrdiff_t L = p->L, K = p->s[L - 1], n1 = p->s[1], ld1 = FN(whole)(p->s[0]);
    real eta, keep = 1;     /* keep: of the first layer, whose update waits for the next example */
    int64_t steps = 0;
    real *y = work + B * p->y, *step = work + B * p->delta[1], *into[2] = {work + B * p->rows[0], work + B * p->a[0]};
    const real *x_old = NULL;
    void (*sweep)(ptrdiff_t, ptrdiff_t, real *, real *, real, const real *, const real *, const real *, real *) =
        c[0] != 0 ? FN(sweep_decaying) : FN(sweep_keeping);
#define W_OF(l) (W + FN(whole)(p->s[l]))     /* b (n,), then W (n, ld) */
    real *W = packed;
    for (ptrdiff_t l = 1; l < L; W = W_OF(l) + p->s[l] * FN(whole)(p->s[l - 1]), l++)
        FN(unpack_layer)(p->s[l], p->s[l - 1], theta + p->theta[l], W_OF(l), W);

    ptrdiff_t i = first;
    for (int turn = 0; i < last; i++) {
        real w = 1;
        if (data->w.data)
            FN(load_rows)(&data->w, data->order, i, 1, 1, &w);
        if (w == 0)
            continue;
        const real *x = FN(load_one)(p, data, i, into[turn], y);
        W = packed;
        if (x_old) {
            sweep(n1, ld1, W_OF(1), W, keep, step, x_old, x, work + B * p->z[1]);
        } else {    /* the first product: the same sums in the same order, but nothing to learn yet */
            for (ptrdiff_t j = 0; j < n1; j++)
                step[j] = 0;
            FN(sweep_keeping)(n1, ld1, W_OF(1), W, 1, step, x, x, work + B * p->z[1]);
        }
        double penalty = 0;
        if (c[0] != 0)
            penalty = 0.5 * c[0] * FN(squares)(n1 * ld1, W_OF(1));
        for (ptrdiff_t l = 1; l < L - 1; l++) {
            const ptrdiff_t n = p->s[l + 1], k = p->s[l], ld = FN(whole)(k);
            W = W_OF(l) + k * FN(whole)(p->s[l - 1]);
            FN(activate)((int)p->g[l], k, work + B * p->z[l], work + B * p->a[l], work + B * p->rows[l]);
            FN(meet)(n, ld, W_OF(l + 1), W, work + B * p->a[l], work + B * p->z[l + 1]);
            if (c[l] != 0)
                penalty += 0.5 * c[l] * FN(squares)(n * ld, W_OF(l + 1));
        }
        const double cost_i = p->loss < LOSS_COUNT
            ? FN(cost_of_one)((int)p->g[L - 1], p->loss, p->parameter, K, work + B * p->z[L - 1], y,
                              work + B * p->a[L - 1], work + B * p->delta[L - 1])
            : FN(own_cost_of_one)(p, data, i, work + B * p->z[L - 1], work + B * p->delta[L - 1]);
        *cost += (double)w * (cost_i + penalty);
        *weight += (double)w;
        if (divisors)
            for (ptrdiff_t k = 0; k < K; k++)
                work[B * p->delta[L - 1] + k] *= (real)((double)w / divisors[i]);
        if (rates)
            eta_ = rates[steps];
        steps++;
        eta = (real)eta_;
        for (ptrdiff_t l = L - 1; l > 1; l--) {
            const ptrdiff_t n = p->s[l], k = p->s[l - 1];
            real *a = work + B * p->a[l - 1], *e = work + B * p->delta[l - 1];
            FN(learn)(n, FN(whole)(k), W_OF(l), W, (real)(1 - eta_ * c[l - 1]), eta, work + B * p->delta[l],
                      a, e);
            FN(activate_backward)((int)p->g[l - 1], k, a, work + B * p->rows[l - 1], e);
            W -= FN(whole)(k) + k * FN(whole)(p->s[l - 2]);
        }
        for (ptrdiff_t j = 0; j < n1; j++)
            step[j] *= eta;
        keep = (real)(1 - eta_ * c[0]);
        x_old = x;
        turn = !turn;
        if ((i + 1) % stride == 0 && fastbp_seconds() > end) {
            i++;
            break;
        }
    }
    W = packed;
    if (x_old)  /* the closing update; its product is not needed */
        sweep(n1, ld1, W_OF(1), W, keep, step, x_old, x_old, work + B * p->z[1]);
    for (ptrdiff_t l = 1; l < L; W = W_OF(l) + p->s[l] * FN(whole)(p->s[l - 1]), l++)
        FN(pack_layer)(p->s[l], p->s[l - 1], W_OF(l), W, theta + p->theta[l]);
#undef W_OF
    *taken += steps;
    return i;
}

#if VBYTES == 64
extern const isa_t fastbp_isa_avx2;

/* Rows no longer than one vector of this width are faster in vectors of half the width. */
static ptrdiff_t FN(online_sgd_by_size)(const plan_t *p, real *theta, const examples_t *data, ptrdiff_t first,
                                        ptrdiff_t last, double eta, const double *rates, const double *c,
                                        const double *divisors, real *work, ptrdiff_t B, real *packed, double end,
                                        ptrdiff_t stride, double *cost, double *weight, int64_t *taken)
{
    ptrdiff_t widest = 0;
    for (ptrdiff_t l = 0; l < p->L; l++)
        widest = p->s[l] > widest ? p->s[l] : widest;
    return (widest <= VL ? fastbp_isa_avx2.PICK(f32, f64)->online_sgd : FN(online_sgd))(
        p, theta, data, first, last, eta, rates, c, divisors, work, B, packed, end, stride, cost, weight, taken);
}
#endif
