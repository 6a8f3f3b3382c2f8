/* The work on the parameters, once per batch: D from Delta, then the update rule along D.
 *
 * Theta, Delta and the rule's own arrays, its slots, are (rows, columns) with the bias in column 0. If there is only
 * decay, the rule computes D itself: D[i] = scale Delta[i] + c theta[i], scale = 1 / m, without c for the bias. In other
 * cases `regularise` first overwrites Delta with D, and the rule gets scale 1 (or the factor that clips the norm) and
 * c = 0. The step of a parameter is multiplied by its factor; what a rule keeps in its slots does not depend on it. */

/* lanes[k] += f(x_i), i = k modulo 16, in double, n elements: the same order for every instruction set */
#define SUM(f, n, x, lanes)                                                                                       \
    do {                                                                                                          \
        ptrdiff_t j = 0;                                                                                          \
        for (; j + 16 <= (n); j += 16)                                                                            \
            for (int k = 0; k < 16; k++)                                                                          \
                lanes[k] += f((double)(x)[j + k]);                                                                \
        for (int k = 0; j < (n); j++, k++)                                                                        \
            lanes[k] += f((double)(x)[j]);                                                                        \
    } while (0)
#define SQUARE(x) (x) * (x)

static double FN(sum_of_lanes)(const double *lanes)
{
    double four[4];
    for (int k = 0; k < 4; k++)
        four[k] = (lanes[k] + lanes[k + 4]) + (lanes[k + 8] + lanes[k + 12]);
    return (four[0] + four[1]) + (four[2] + four[3]);
}

static double FN(sum_of_squares)(ptrdiff_t n, const real *x)
{
    double lanes[16] = {0};
    SUM(SQUARE, n, x, lanes);
    return FN(sum_of_lanes)(lanes);
}

static double FN(penalty)(ptrdiff_t rows, ptrdiff_t columns, double c, double l1, const real *Theta)
{
    double squares[16] = {0}, sizes[16] = {0};
    if (c != 0)
        for (ptrdiff_t i = 0; i < rows; i++)
            SUM(SQUARE, columns - 1, Theta + i * columns + 1, squares);
    if (l1 != 0)
        for (ptrdiff_t i = 0; i < rows; i++)
            SUM(fabs, columns - 1, Theta + i * columns + 1, sizes);
    return 0.5 * c * FN(sum_of_lanes)(squares) + l1 * FN(sum_of_lanes)(sizes);
}
#undef SUM
#undef SQUARE

/* two selects: they become vector code, nested ones do not */
#define SIGN(x) (((x) > 0 ? (real)1 : (real)0) - ((x) < 0 ? (real)1 : (real)0))

static void FN(regularise)(ptrdiff_t rows, ptrdiff_t columns, double scale_, double c_, double l1_, double clip_,
                           const real *restrict Theta, real *restrict Delta)
{
    const real scale = (real)scale_, c = (real)c_, l1 = (real)l1_, clip = (real)clip_;
    for (ptrdiff_t i = 0; i < rows; i++, Theta += columns, Delta += columns) {
        Delta[0] *= scale;
        if (l1 == 0)
            for (ptrdiff_t j = 1; j < columns; j++)
                Delta[j] = scale * Delta[j] + c * Theta[j];
        else
            for (ptrdiff_t j = 1; j < columns; j++)
                Delta[j] = scale * Delta[j] + c * Theta[j] + l1 * SIGN(Theta[j]);
        for (ptrdiff_t j = 0; j < columns; j++)
            Delta[j] = Delta[j] > clip ? clip : Delta[j] < -clip ? -clip : Delta[j];
    }
}

/* ---------------------------------------------------------------- a diagonal layer: Theta(1) = [b, W diag(s)]
 *
 * D = dJ/dTheta = scale Delta + c Theta as in `regularise`. slopes_j := sum_i D[i,j] W[i,j], dJ/ds_j of these rows;
 * Delta := dJ/dW, D[i,j] s_j, clipped to [-clip, clip]. The bias in column 0 is that of Theta. */
static void FN(unfold)(ptrdiff_t rows, ptrdiff_t columns, double scale_, double c_, double clip_,
                       const real *restrict Theta, const real *restrict W, const real *restrict s,
                       real *restrict Delta, real *restrict slopes)
{
    const real scale = (real)scale_, c = (real)c_, clip = (real)clip_;
    for (ptrdiff_t j = 1; j < columns; j++)
        slopes[j - 1] = 0;
    for (ptrdiff_t i = 0; i < rows; i++, Theta += columns, W += columns, Delta += columns) {
        const real b = scale * Delta[0];
        Delta[0] = b > clip ? clip : b < -clip ? -clip : b;
        for (ptrdiff_t j = 1; j < columns; j++) {
            const real D = c == 0 ? scale * Delta[j] : scale * Delta[j] + c * Theta[j], slope = D * s[j - 1];
            slopes[j - 1] += D * W[j];
            Delta[j] = slope > clip ? clip : slope < -clip ? -clip : slope;
        }
    }
}

/* Theta := [b, W diag(s)] */
static void FN(fold)(ptrdiff_t rows, ptrdiff_t columns, const real *restrict W, const real *restrict s,
                     real *restrict Theta)
{
    for (ptrdiff_t i = 0; i < rows; i++, W += columns, Theta += columns) {
        Theta[0] = W[0];
        for (ptrdiff_t j = 1; j < columns; j++)
            Theta[j] = W[j] * s[j - 1];
    }
}

/* ---------------------------------------------------------------- the values that a rule computes from t and its rate
 *
 * now of Adam: rate / (1 - beta_1^t), the correction of v, the epsilon added to the root of the corrected v.
 * now of Nadam: the rates of D and of m, the same correction. Its scalar: mu_1 mu_2 ... mu_t. */
static void FN(begin_step)(step_t *s)
{
    const double *set = s->settings;
    if (s->rule == RULE_adam || s->rule == RULE_adamw) {
        s->now[0] = s->rate / (1 - pow(set[1], s->t));
        s->now[1] = 1 / (1 - pow(set[2], s->t));
        s->now[2] = set[4] != 0 ? set[3] * sqrt(s->now[1]) : set[3];
    } else if (s->rule == RULE_nadam) {
        const double mu = set[1] * (1 - 0.5 * pow(0.96, s->t * set[4]));
        const double next = set[1] * (1 - 0.5 * pow(0.96, (s->t + 1) * set[4]));
        s->scalars[0] *= mu;
        s->now[0] = s->rate * (1 - mu) / (1 - s->scalars[0]);
        s->now[1] = s->rate * next / (1 - s->scalars[0] * next);
        s->now[2] = 1 / (1 - pow(set[2], s->t));
    }
}

/* ---------------------------------------------------------------- the rules; their classes: fastbp/optimizers.py */

#define RULE(name)                                                                                                \
    static void FN(name)(const step_t *s, ptrdiff_t size, ptrdiff_t columns, real scale, real c,                  \
                         const real *Delta, real *restrict slot_1, real *restrict slot_2, real *restrict slot_3,  \
                         real *restrict theta)

/* name[0] for the weights and name[1] for the biases: the value times their factors of the learning rate */
#define BY_FACTOR(name, value) const real name[2] = {(real)((value) * s->factor[0]), (real)((value) * s->factor[1])};

/* Do weights and biases move alike, with D from Delta alone? */
#define ALIKE (c == 0 && s->factor[0] == s->factor[1])

/* Runs the statements for every parameter i and its D. If biases and weights are treated alike, this is one loop;
 * otherwise it goes row by row, the bias (bias = 1) before the weights. */
#define EACH_PARAMETER(alike, ...)                                                                                \
    {                                                                                                             \
        if (alike) {                                                                                              \
            for (ptrdiff_t i = 0; i < size; i++) {                                                                \
                const real D = scale * Delta[i];                                                                  \
                enum { bias = 0 };                                                                                \
                __VA_ARGS__                                                                                       \
            }                                                                                                     \
        } else {                                                                                                  \
            for (ptrdiff_t at = 0; at < size; at += columns) {                                                    \
                {                                                                                                 \
                    const ptrdiff_t i = at;                                                                       \
                    const real D = scale * Delta[i];                                                              \
                    enum { bias = 1 };                                                                            \
                    __VA_ARGS__                                                                                   \
                }                                                                                                 \
                for (ptrdiff_t i = at + 1; i < at + columns; i++) {                                               \
                    const real D = scale * Delta[i] + c * theta[i];                                               \
                    enum { bias = 0 };                                                                            \
                    __VA_ARGS__                                                                                   \
                }                                                                                                 \
            }                                                                                                     \
        }                                                                                                         \
    }

/* Sutskever et al. 2013, in the form of torch.optim.SGD: the nesterov step looks ahead along the new v. */
RULE(sgd)
{
    const real eta = (real)s->rate, mu = (real)s->settings[1];
    real *const restrict v = slot_1;
    BY_FACTOR(step, s->rate) BY_FACTOR(factor, 1) BY_FACTOR(ahead, s->settings[1])
    if (mu == 0)
        EACH_PARAMETER(ALIKE, theta[i] -= step[bias] * D;)
    else if (s->settings[2] == 0)
        EACH_PARAMETER(ALIKE, v[i] = mu * v[i] - eta * D; theta[i] += factor[bias] * v[i];)
    else
        EACH_PARAMETER(ALIKE, v[i] = mu * v[i] - eta * D; theta[i] += ahead[bias] * v[i] - step[bias] * D;)
}

/* Kingma & Ba 2015, algorithm 1:  m := beta_1 m + (1 - beta_1) D;  v := beta_2 v + (1 - beta_2) D^2;
 * theta := theta - rate m / (sqrt(correction v) + epsilon) */
#define MOMENTS m[i] = b1 * m[i] + one_b1 * D; v[i] = b2 * v[i] + one_b2 * D * D;
#define OF_ADAM                                                                                                   \
    BY_FACTOR(rate, s->now[0])                                                                                    \
    const real correction = (real)s->now[1], epsilon = (real)s->now[2];                                           \
    const real b1 = (real)s->settings[1], one_b1 = (real)(1 - s->settings[1]);                                    \
    const real b2 = (real)s->settings[2], one_b2 = (real)(1 - s->settings[2]);                                    \
    real *const restrict m = slot_1, *const restrict v = slot_2;
RULE(adam)
{
    OF_ADAM
    EACH_PARAMETER(ALIKE, MOMENTS theta[i] -= rate[bias] * m[i] / (SQRT(correction * v[i]) + epsilon);)
}

/* Loshchilov & Hutter 2019: the same after theta := (1 - eta weight_decay) theta, except for the biases. */
RULE(adamw)
{
    OF_ADAM
    const real keep[2] = {(real)(1 - s->rate * s->factor[0] * s->settings[5]), 1};
    EACH_PARAMETER(0, MOMENTS theta[i] = keep[bias] * theta[i]
                                         - rate[bias] * m[i] / (SQRT(correction * v[i]) + epsilon);)
}
#undef OF_ADAM

/* Dozat 2016, in the form of torch.optim.NAdam. */
RULE(nadam)
{
    BY_FACTOR(rate_D, s->now[0]) BY_FACTOR(rate_m, s->now[1])
    const real correction = (real)s->now[2];
    const real b1 = (real)s->settings[1], one_b1 = (real)(1 - s->settings[1]), epsilon = (real)s->settings[3];
    const real b2 = (real)s->settings[2], one_b2 = (real)(1 - s->settings[2]);
    real *const restrict m = slot_1, *const restrict v = slot_2;
    EACH_PARAMETER(ALIKE, MOMENTS theta[i] -= (rate_D[bias] * D + rate_m[bias] * m[i])
                                              / (SQRT(correction * v[i]) + epsilon);)
}
#undef MOMENTS

/* Tieleman & Hinton 2012, in the form of torch.optim.RMSprop:  v := decay v + (1 - decay) D^2;
 * b := mu b + D / (sqrt(v) + epsilon);  theta := theta - eta b */
RULE(rmsprop)
{
    BY_FACTOR(eta, s->rate)
    const real decay = (real)s->settings[1], one_decay = (real)(1 - s->settings[1]);
    const real epsilon = (real)s->settings[2], mu = (real)s->settings[3];
    real *const restrict v = slot_1, *const restrict b = slot_2;
    if (mu == 0)
        EACH_PARAMETER(ALIKE, v[i] = decay * v[i] + one_decay * D * D;
                       theta[i] -= eta[bias] * D / (SQRT(v[i]) + epsilon);)
    else
        EACH_PARAMETER(ALIKE, v[i] = decay * v[i] + one_decay * D * D; b[i] = mu * b[i] + D / (SQRT(v[i]) + epsilon);
                       theta[i] -= eta[bias] * b[i];)
}

/* Duchi, Hazan & Singer 2011:  v := v + D^2;  theta := theta - eta D / (sqrt(v) + epsilon) */
RULE(adagrad)
{
    BY_FACTOR(eta, s->rate)
    const real epsilon = (real)s->settings[1];
    real *const restrict v = slot_1;
    EACH_PARAMETER(ALIKE, v[i] += D * D; theta[i] -= eta[bias] * D / (SQRT(v[i]) + epsilon);)
}

/* Igel & Huesken 2003, iRprop-: the step of a parameter grows while its D keeps its sign. If the sign changes, the
 * step shrinks, and D counts as 0 this time and the next. up and down are 1 or 0: products with them are exact, and
 * without branches the loop becomes vector code. */
RULE(rprop)
{
    const real minus = (real)s->settings[1], plus = (real)s->settings[2];
    const real least = (real)s->settings[3], most = (real)s->settings[4];
    real *const restrict last = slot_1, *const restrict step = slot_2;
    BY_FACTOR(factor, 1)
    EACH_PARAMETER(ALIKE, const real turn = SIGN(D) * SIGN(last[i]);
                   const real up = (turn * turn + turn) / 2; const real down = (turn * turn - turn) / 2;
                   const real length = step[i] * (up * plus + down * minus + (1 - up - down));
                   step[i] = length > most ? most : length < least ? least : length;
                   last[i] = (1 - down) * D; theta[i] -= factor[bias] * ((1 - down) * SIGN(D) * step[i]);)
}
#undef RULE
#undef EACH_PARAMETER
#undef ALIKE
#undef BY_FACTOR
#undef SIGN
