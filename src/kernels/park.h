/* How a thread sleeps until another one changes a number: by a futex on Linux, by WaitOnAddress on Windows, elsewhere by
 * a POSIX lock and condition, one pair for each crew. */
#ifndef FASTBP_PARK_H
#define FASTBP_PARK_H

#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#if defined(__linux__) && !defined(FASTBP_NO_FUTEX)
#include <sys/syscall.h>
#include <unistd.h>
#if __has_include(<linux/futex.h>)
#include <linux/futex.h>
#else       /* musl has no kernel headers; the kernel never changes these values */
enum { FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129 };
#endif

typedef struct {
    char none;
} park_t;

static inline void park_begin(park_t *park) { park->none = 0; }

/* Sleeps while *word is `value`: until park_wake, a signal, or the end of `seconds` (0: no end). */
static inline void park_sleep(park_t *park, atomic_int *word, int value, double seconds)
{
    const struct timespec time = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
    (void)park;
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, seconds > 0 ? &time : NULL, NULL, 0);
}

/* Wakes the thread that sleeps on *word; the caller changes *word first. */
static inline void park_wake(park_t *park, atomic_int *word)
{
    (void)park;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#elif defined(_WIN32)
#include "windows_only.h"

typedef struct {
    char none;
} park_t;

static inline void park_begin(park_t *park) { park->none = 0; }

static inline void park_sleep(park_t *park, atomic_int *word, int value, double seconds)
{
    (void)park;
    WaitOnAddress(word, &value, sizeof value, seconds > 0 ? (DWORD)(1e3 * seconds) + 1 : INFINITE);
}

static inline void park_wake(park_t *park, atomic_int *word)
{
    (void)park;
    WakeByAddressSingle(word);
}

#else
#include <pthread.h>

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
} park_t;

static inline void park_begin(park_t *park)
{
    pthread_mutex_init(&park->lock, NULL);
    pthread_cond_init(&park->changed, NULL);
}

static inline void park_sleep(park_t *park, atomic_int *word, int value, double seconds)
{
    struct timespec end;
    int error = 0;
    clock_gettime(CLOCK_REALTIME, &end);
    const double last = 1e-9 * (double)end.tv_nsec + seconds;
    end.tv_sec += (time_t)last;
    end.tv_nsec = (long)(1e9 * (last - (double)(time_t)last));
    pthread_mutex_lock(&park->lock);
    while (!error && atomic_load(word) == value)
        error = seconds > 0 ? pthread_cond_timedwait(&park->changed, &park->lock, &end)
                            : pthread_cond_wait(&park->changed, &park->lock);
    pthread_mutex_unlock(&park->lock);
}

/* Wakes all, since they share one condition; each checks its own number again. */
static inline void park_wake(park_t *park, atomic_int *word)
{
    (void)word;
    pthread_mutex_lock(&park->lock);
    pthread_cond_broadcast(&park->changed);
    pthread_mutex_unlock(&park->lock);
}
#endif

#endif
