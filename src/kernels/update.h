/* What happens once per batch on the parameters: D, and the update rules. Theta, Delta and D of one layer are
 * (n, k + 1) with the bias in column 0. */

static void FN(decay)(ptrdiff_t rows, ptrdiff_t columns, double m, double c, const real *Theta, const real *Delta, real *D)
{
    const real divisor = (real)m, coefficient = (real)c;
    for (ptrdiff_t i = 0; i < rows; i++, Theta += columns, Delta += columns, D += columns) {
        D[0] = Delta[0] / divisor;
        for (ptrdiff_t j = 1; j < columns; j++)
            D[j] = Delta[j] / divisor + coefficient * Theta[j];
    }
}

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

/* Sutskever et al. 2013, in the form of torch.optim.SGD: the nesterov step looks ahead along the new v. */
static void FN(sgd)(ptrdiff_t n, double eta, double mu, int nesterov, const real *D, real *v, real *theta)
{
    const real eta_ = (real)eta, mu_ = (real)mu;
    if (mu == 0)
        for (ptrdiff_t i = 0; i < n; i++)
            theta[i] -= eta_ * D[i];
    else if (!nesterov)
        for (ptrdiff_t i = 0; i < n; i++) {
            v[i] = mu_ * v[i] - eta_ * D[i];
            theta[i] += v[i];
        }
    else
        for (ptrdiff_t i = 0; i < n; i++) {
            v[i] = mu_ * v[i] - eta_ * D[i];
            theta[i] += mu_ * v[i] - eta_ * D[i];
        }
}

/* Kingma & Ba 2015, algorithm 1:  m := beta_1 m + (1 - beta_1) D;  v := beta_2 v + (1 - beta_2) D^2;
 * theta := theta - rate m / (sqrt(correction v) + epsilon) */
static void FN(adam)(ptrdiff_t n, double rate, double correction, double beta_1, double beta_2, double epsilon,
                     const real *D, real *m, real *v, real *theta)
{
    const real rate_ = (real)rate, correction_ = (real)correction, epsilon_ = (real)epsilon;
    const real b1 = (real)beta_1, b2 = (real)beta_2, one_b1 = (real)(1 - beta_1), one_b2 = (real)(1 - beta_2);
    for (ptrdiff_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + one_b1 * D[i];
        v[i] = b2 * v[i] + one_b2 * D[i] * D[i];
        theta[i] -= rate_ * m[i] / (SQRT(correction_ * v[i]) + epsilon_);
    }
}
