/* The ceiling of this machine: independent multiply-adds, and sweeps over memory. One thread; the caller measures time. */

#ifdef __AVX512F__
#define WIDTH 64
#elif defined __AVX__
#define WIDTH 32
#else
#define WIDTH 16
#endif
#define CHAINS 12 /* latency 4 to 5 cycles, 2 per cycle; with the two factors they fit in 16 registers */

typedef float floats __attribute__((vector_size(WIDTH)));
typedef double doubles __attribute__((vector_size(WIDTH)));
typedef unsigned long words __attribute__((vector_size(WIDTH)));

/* Runs n rounds of CHAINS independent a := a x + y; returns the operations, a multiply-add counted as two. */
#define MULTIPLY_ADDS(name, type, vector)                                                                              \
    double name(long n)                                                                                                \
    {                                                                                                                  \
        static volatile type factor = 0.5, term = 0.5, sink;                                                           \
        vector a[CHAINS], x = {0}, y = {0};                                                                            \
        x += factor, y += term;                                                                                        \
        for (int k = 0; k < CHAINS; k++)                                                                               \
            a[k] = y * (type)k;                                                                                        \
        for (long i = 0; i < n; i++)                                                                                   \
            for (int k = 0; k < CHAINS; k++)                                                                           \
                a[k] = a[k] * x + y;                                                                                   \
        for (int k = 1; k < CHAINS; k++)                                                                               \
            a[0] += a[k];                                                                                              \
        sink = a[0][0];                                                                                                \
        (void)sink;                                                                                                    \
        return 2.0 * n * CHAINS * (WIDTH / sizeof(type));                                                              \
    }

MULTIPLY_ADDS(float32, float, floats)
MULTIPLY_ADDS(float64, double, doubles)

/* theta (n vectors) read and written `times` times over. */
void update(floats *theta, long n, long times)
{
    for (long t = 0; t < times; t++) {
        for (long i = 0; i < n; i++)
            theta[i] = theta[i] * 0.5f + 0.5f;
        __asm__ volatile("" : : "r"(theta) : "memory");
    }
}

/* theta (n vectors, n a multiple of 4) read `times` times over. */
void read_only(const words *theta, long n, long times)
{
    words a = {0}, b = {0}, c = {0}, d = {0};
    for (long t = 0; t < times; t++) {
        for (long i = 0; i < n; i += 4)
            a += theta[i], b += theta[i + 1], c += theta[i + 2], d += theta[i + 3];
        __asm__ volatile("" : : "r"(theta) : "memory");
    }
    static volatile unsigned long sink;
    sink = (a + b + c + d)[0];
    (void)sink;
}

int width(void)
{
    return WIDTH;
}
