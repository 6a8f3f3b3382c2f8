/* Preloaded (glibc): makes chosen allocations in a window fail, as in a process without memory.
 *
 * faults_from(first, last, least) opens the window: of the allocations of at least `least` bytes from now on, numbers
 * first .. last - 1 (from 1) return NULL with ENOMEM. faults_end() closes it and returns their number. */
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static atomic_long seen, first, last, least;
static atomic_int open;

void faults_from(long from, long to, long size)
{
    atomic_store(&seen, 0);
    atomic_store(&first, from);
    atomic_store(&last, to);
    atomic_store(&least, size);
    atomic_store(&open, 1);
}

long faults_end(void)
{
    atomic_store(&open, 0);
    return atomic_load(&seen);
}

static int fails(size_t size)
{
    if (!atomic_load(&open) || (long)size < atomic_load(&least))
        return 0;
    const long number = atomic_fetch_add(&seen, 1) + 1;
    return number >= atomic_load(&first) && number < atomic_load(&last);
}

#define OR_NOTHING(size, call)          \
    if (fails(size)) {                  \
        errno = ENOMEM;                 \
        return NULL;                    \
    }                                   \
    return call

void *malloc(size_t n) { OR_NOTHING(n, __libc_malloc(n)); }
void *calloc(size_t n, size_t size) { OR_NOTHING(n * size, __libc_calloc(n, size)); }
void *realloc(void *p, size_t n) { OR_NOTHING(n, __libc_realloc(p, n)); }
void *memalign(size_t to, size_t n) { OR_NOTHING(n, __libc_memalign(to, n)); }
void *aligned_alloc(size_t to, size_t n) { OR_NOTHING(n, __libc_memalign(to, n)); }

int posix_memalign(void **p, size_t to, size_t n)
{
    if (fails(n))
        return ENOMEM;
    *p = __libc_memalign(to, n);
    return *p ? 0 : ENOMEM;
}
