/* Threads that work on one training in step: each runs the same loop on its share and meets the others at a barrier.
 * C11 atomics, no OpenMP: a forked child can start a team of its own, and sanitizers see through it. */
#ifndef FASTBP_TEAM_H
#define FASTBP_TEAM_H

#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>

typedef struct {
    int n;                  /* members */
    atomic_int arrived;
    atomic_int meetings;
    atomic_int wanted;      /* set from outside: 1 stop, 2 a member is missing, do not wait */
    atomic_int cut;         /* a member has left the work of this step undone: nobody may use it */
    int stop;               /* member 0's decision, read by all after the next meeting */
} team_t;

/* Wait until all members are here: spin briefly, then give the core away (there may be fewer cores than members). */
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
        if (spins > 4000) {
            if (atomic_load_explicit(&team->wanted, memory_order_relaxed) == 2)
                return;
            sched_yield();
        }
#if defined(__x86_64__)
        else
            __builtin_ia32_pause();
#endif
    }
}

static inline void team_begin(team_t *team, int n)
{
    team->n = n;
    team->stop = 0;
    atomic_init(&team->arrived, 0);
    atomic_init(&team->meetings, 0);
    atomic_init(&team->wanted, 0);
    atomic_init(&team->cut, 0);
}

/* In work that takes long: leave it undone? */
static inline int team_cuts(team_t *team)
{
    if (atomic_load_explicit(&team->wanted, memory_order_relaxed))
        atomic_store_explicit(&team->cut, 1, memory_order_relaxed);
    return atomic_load_explicit(&team->cut, memory_order_relaxed);
}

static inline void team_want_stop(team_t *team) { atomic_store(&team->wanted, 1); }
static inline void team_abandon(team_t *team) { atomic_store(&team->wanted, 2); }

/* The share of member t in n things, cut at multiples of `unit`: from team_share(t) to team_share(t + 1). */
static inline ptrdiff_t team_share(const team_t *team, ptrdiff_t n, ptrdiff_t unit, int t)
{
    if (t >= team->n)
        return n;
    const ptrdiff_t units = (n + unit - 1) / unit, at = units * t / team->n * unit;
    return at < n ? at : n;
}

#endif
