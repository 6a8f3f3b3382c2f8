/* What happens once per batch on the parameters: D = Delta / m + c Theta (not the bias), and the update rule along it,
 * in one pass. Theta, Delta and the rule's own arrays are (rows, columns) with the bias in column 0; D[i] below is
 * scale Delta[i] + c theta[i] with scale = 1 / m. */

static double FN(sum_of_squares)(ptrdiff_t rows, ptrdiff_t columns, const real *Theta)
{
    double sum = 0;
    for (ptrdiff_t i = 0; i < rows; i++, Theta += columns) {
        double lanes[4] = {0, 0, 0, 0};
        ptrdiff_t j = 1;
        for (; j + 4 <= columns; j += 4)
            for (int k = 0; k < 4; k++)
                lanes[k] += (double)Theta[j + k] * (double)Theta[j + k];
        for (; j < columns; j++)
            lanes[0] += (double)Theta[j] * (double)Theta[j];
        sum += (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
    }
    return sum;
}

#define EACH_PARAMETER(n, ...)                                                                                     \
    for (ptrdiff_t i = 0; i < (n); i++) {                                                                         \
        const real D = c_ != 0 ? scale_ * Delta[i] + c_ * theta[i] : scale_ * Delta[i];                           \
        __VA_ARGS__                                                                                               \
    }

/* Sutskever et al. 2013, in the form of torch.optim.SGD: the nesterov step looks ahead along the new v. */
static inline __attribute__((always_inline)) void FN(sgd_range)(
    ptrdiff_t n, real scale_, real c_, real eta, real mu, int nesterov, const real *Delta, real *restrict v,
    real *restrict theta)
{
    if (mu == 0)
        EACH_PARAMETER(n, theta[i] -= eta * D;)
    else if (!nesterov)
        EACH_PARAMETER(n, v[i] = mu * v[i] - eta * D; theta[i] += v[i];)
    else
        EACH_PARAMETER(n, v[i] = mu * v[i] - eta * D; theta[i] += mu * v[i] - eta * D;)
}

/* Kingma & Ba 2015, algorithm 1:  m := beta_1 m + (1 - beta_1) D;  v := beta_2 v + (1 - beta_2) D^2;
 * theta := theta - rate m / (sqrt(correction v) + epsilon) */
static inline __attribute__((always_inline)) void FN(adam_range)(
    ptrdiff_t n, real scale_, real c_, real rate, real correction, real b1, real one_b1, real b2, real one_b2,
    real epsilon, const real *Delta, real *restrict m, real *restrict v, real *restrict theta)
{
    EACH_PARAMETER(n, m[i] = b1 * m[i] + one_b1 * D; v[i] = b2 * v[i] + one_b2 * D * D;
                   theta[i] -= rate * m[i] / (SQRT(correction * v[i]) + epsilon);)
}

/* RANGE(n, c, at) for all parameters: flat without decay, else each row's bias and weights apart */
#define BY_ROWS(RANGE)                                                                                            \
    if (c == 0)                                                                                                   \
        RANGE(rows * columns, 0, 0);                                                                              \
    else                                                                                                          \
        for (ptrdiff_t r = 0; r < rows; r++) {                                                                    \
            RANGE(1, 0, r * columns);                                                                             \
            RANGE(columns - 1, (real)c, r * columns + 1);                                                         \
        }

static void FN(sgd)(ptrdiff_t rows, ptrdiff_t columns, double m_b, double c, double eta, double mu, int nesterov,
                    const real *Delta, real *v, real *theta)
{
    const real scale = (real)(1 / m_b);
#define RANGE(n, c, at)                                                                                           \
    FN(sgd_range)(n, scale, c, (real)eta, (real)mu, nesterov, Delta + (at), v ? v + (at) : v, theta + (at))
    BY_ROWS(RANGE)
#undef RANGE
}

static void FN(adam)(ptrdiff_t rows, ptrdiff_t columns, double m_b, double c, double rate, double correction,
                     double beta_1, double beta_2, double epsilon, const real *Delta, real *m, real *v, real *theta)
{
    const real scale = (real)(1 / m_b);
#define RANGE(n, c, at)                                                                                           \
    FN(adam_range)(n, scale, c, (real)rate, (real)correction, (real)beta_1, (real)(1 - beta_1), (real)beta_2,     \
                   (real)(1 - beta_2), (real)epsilon, Delta + (at), m + (at), v + (at), theta + (at))
    BY_ROWS(RANGE)
#undef RANGE
}
#undef EACH_PARAMETER
#undef BY_ROWS
