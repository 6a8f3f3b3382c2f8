/* Members of a crew that run one loop together. Each works on its portion and waits for the others at a barrier of C11
 * atomics, which sanitizers understand. */
#ifndef FASTBP_TEAM_H
#define FASTBP_TEAM_H

#include <stdatomic.h>
#include <stddef.h>

#include "thread.h"

typedef struct {
    int n;                  /* members */
    atomic_int arrived;
    atomic_int meetings;
    atomic_int wanted;      /* set from outside: stop */
    atomic_int cut;         /* a member left its work of this step unfinished: the result is not usable */
    int stop;               /* member 0's decision, read by all after the next meeting */
    double cost;            /* of the second half of a panel that two members have divided */
} team_t;

static inline void team_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Waits for all members: spins briefly, then yields the core (there may be fewer cores than members). */
static inline void team_meet(team_t *team)
{
    if (team->n == 1)
        return;
    const int meeting = atomic_load_explicit(&team->meetings, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == team->n) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&team->meetings, meeting + 1, memory_order_release);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&team->meetings, memory_order_acquire) == meeting; spins++) {
        if (spins > 4000)
            thread_yield();
        else
            team_pause();
    }
}

/* For a team that no other thread uses yet. */
static inline void team_begin(team_t *team, int n)
{
    team->n = n;
    team->stop = 0;
    atomic_init(&team->arrived, 0);
    atomic_init(&team->meetings, 0);
    atomic_init(&team->wanted, 0);
    atomic_init(&team->cut, 0);
}

/* For the next job of n members. A stop that has been requested already applies to it. */
static inline void team_go_on(team_t *team, int n)
{
    team->n = n;
    team->stop = atomic_load(&team->wanted);
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&team->meetings, 0, memory_order_relaxed);
    atomic_store_explicit(&team->cut, 0, memory_order_relaxed);
}

/* Called during long work: should the member leave it unfinished? */
static inline int team_cuts(team_t *team)
{
    if (atomic_load_explicit(&team->wanted, memory_order_relaxed))
        atomic_store_explicit(&team->cut, 1, memory_order_relaxed);
    return atomic_load_explicit(&team->cut, memory_order_relaxed);
}

static inline void team_want_stop(team_t *team) { atomic_store(&team->wanted, 1); }
static inline void team_want_no_stop(team_t *team) { atomic_store(&team->wanted, 0); }

/* The start of member t's portion of n items; it ends at team_portion(t + 1). Portions are cut at multiples of `unit`. */
static inline ptrdiff_t team_portion(const team_t *team, ptrdiff_t n, ptrdiff_t unit, int t)
{
    if (t >= team->n)
        return n;
    const ptrdiff_t units = (n + unit - 1) / unit, at = units * t / team->n * unit;
    return at < n ? at : n;
}

#endif
