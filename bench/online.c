/* Online SGD written by hand: plain loops, sizes known to the compiler. peer_c.py defines the names in capitals and
   appends `epoch`, which calls these functions once per layer. */

#include <math.h>

typedef REAL real;
#define LAYER static inline __attribute__((always_inline)) void

/* z = b + W x,  W (n, k) row-major */
LAYER product(int n, int k, const real *restrict W, const real *restrict b, const real *restrict x, real *restrict z)
{
    for (int j = 0; j < n; j++) {
        real sum = b[j];
        for (int i = 0; i < k; i++)
            sum += W[j * k + i] * x[i];
        z[j] = sum;
    }
}

LAYER sigmoid(int n, real *restrict z)
{
    for (int j = 0; j < n; j++)
        z[j] = 1 / (1 + EXP(-z[j]));
}

LAYER relu(int n, real *restrict z)
{
    for (int j = 0; j < n; j++)
        z[j] = z[j] > 0 ? z[j] : 0;
}

/* delta := delta g'(z), from a = g(z) */
LAYER times_sigmoid(int n, const real *restrict a, real *restrict delta)
{
    for (int j = 0; j < n; j++)
        delta[j] *= a[j] * (1 - a[j]);
}

LAYER times_relu(int n, const real *restrict a, real *restrict delta)
{
    for (int j = 0; j < n; j++)
        delta[j] = a[j] > 0 ? delta[j] : 0;
}

/* delta = a - y */
LAYER difference(int n, const real *restrict a, const real *restrict y, real *restrict delta)
{
    for (int j = 0; j < n; j++)
        delta[j] = a[j] - y[j];
}

/* W -= eta delta x',  b -= eta delta */
LAYER update(int n, int k, real *restrict W, real *restrict b, const real *restrict x, const real *restrict delta, real eta)
{
    for (int j = 0; j < n; j++) {
        real step = eta * delta[j];
        for (int i = 0; i < k; i++)
            W[j * k + i] -= step * x[i];
        b[j] -= step;
    }
}

/* below = W' delta, and the update of W and b in the same sweep */
LAYER update_below(int n, int k, real *restrict W, real *restrict b, const real *restrict x, const real *restrict delta,
                   real eta, real *restrict below)
{
    for (int i = 0; i < k; i++)
        below[i] = 0;
    for (int j = 0; j < n; j++) {
        real d = delta[j], step = eta * d;
        for (int i = 0; i < k; i++) {
            below[i] += W[j * k + i] * d;
            W[j * k + i] -= step * x[i];
        }
        b[j] -= step;
    }
}
