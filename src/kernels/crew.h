/* The threads of a crew. After a job a member spins for a moment, then sleeps and costs nothing. Members never run Python:
 * its lock, its signals and its exit do not concern them. Each has a bell:
 *
 *     FREE       it waits for a job, spinning
 *     ASLEEP     it waits, and must be woken
 *     RUNG       there is a job for it
 *     AT_WORK    it has begun the job
 *     ENDS       it ends
 *
 * The caller leads: it rings, works as member 0 unless it stays apart, and waits for the others. */
#ifndef FASTBP_CREW_H
#define FASTBP_CREW_H

#include <stdlib.h>

#include "kernels.h"
#include "park.h"
#include "team.h"
#include "thread.h"

enum { CREW_MOST = 1024 };  /* threads */
enum { CREW_STACK = 1 << 21 };  /* bytes: for the caller's own loss, which runs there; the kernels need a few KiB */
enum { CREW_FREE, CREW_ASLEEP, CREW_RUNG, CREW_AT_WORK, CREW_ENDS };
static const double CREW_SPIN = 50e-6;  /* seconds: about what it takes to wake a thread that sleeps */

typedef void (*job_t)(void *arguments, int member);

struct crew;
typedef struct {
    _Alignas(64) atomic_int bell;
    atomic_int cpu;             /* the processor on which it began its last job */
    int member;                 /* its number in the present job */
    int64_t jobs;               /* number of jobs it has done */
    thread_t thread;
    struct crew *crew;
} worker_t;

typedef struct crew {
    int n;                      /* threads, the caller not counted */
    worker_t **workers;         /* room for CREW_MOST, from the first one on */
    park_t park;
    team_t team;                /* of the present job */
    job_t job;
    void *arguments;
    int called;                 /* number of threads in the present job */
    int meet, apart;            /* do its members meet? does the caller stay out of it? */
    atomic_int busy;            /* a call is using the crew */
    atomic_int left;            /* number of them that have not finished */
    atomic_int sleeps;          /* does the caller sleep until `left` is 0? */
    atomic_int cpu;             /* of the caller */
    atomic_int seats, tasks;    /* of the present job: how many of each have been taken (`crew_take`) */
} crew_t;

/* Spins until *word is not `value`, for at most CREW_SPIN seconds; returns its last value. */
static inline int crew_look(atomic_int *word, int value)
{
    const double end = fastbp_seconds() + CREW_SPIN;
    int found;
    do {
        for (int i = 0; i < 32; i++) {
            found = atomic_load_explicit(word, memory_order_acquire);
            if (found != value)
                return found;
            team_pause();
        }
    } while (fastbp_seconds() < end);
    return found;
}

#if defined(__linux__)
static inline int crew_cpu(void) { return sched_getcpu(); }

/* Moves the calling thread to a processor on which no other member of its crew works; the system may then move it on.
 * The system may put a woken thread on the processor of the one that woke it, and leave it there for milliseconds. */
static inline void crew_spread(worker_t *own)
{
    crew_t *crew = own->crew;
    const int rank = own->member - !crew->apart;
    int cpu = sched_getcpu(), moves = 0;
    cpu_set_t others, allowed, one;
    CPU_ZERO(&others);
    for (int i = crew->apart ? 0 : -1; i < crew->called; i++) {
        const int at = atomic_load_explicit(i < 0 ? &crew->cpu : &crew->workers[i]->cpu, memory_order_relaxed);
        if (i == rank || at < 0 || at >= CPU_SETSIZE)
            continue;
        CPU_SET(at, &others);
        moves |= at == cpu && i < rank;
    }
    if (moves && sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        for (int to = 0; to < CPU_SETSIZE; to++) {
            if (!CPU_ISSET(to, &allowed) || CPU_ISSET(to, &others))
                continue;
            CPU_ZERO(&one);
            CPU_SET(to, &one);
            if (sched_setaffinity(0, sizeof one, &one) == 0)
                sched_setaffinity(0, sizeof allowed, &allowed);
            cpu = to;
            break;
        }
    }
    atomic_store_explicit(&own->cpu, cpu, memory_order_relaxed);
}
#else
static inline int crew_cpu(void) { return -1; }
static inline void crew_spread(worker_t *own) { (void)own; }
#endif

/* The body of a thread: it does jobs until the bell says ENDS. */
static inline thread_end_t THREAD_CALL crew_work(void *given)
{
    worker_t *own = given;
    crew_t *crew = own->crew;
    for (;;) {
        int bell = crew_look(&own->bell, CREW_FREE);
        if (bell == CREW_FREE) {
            if (!atomic_compare_exchange_strong(&own->bell, &bell, CREW_ASLEEP))
                continue;
            while ((bell = atomic_load_explicit(&own->bell, memory_order_acquire)) == CREW_ASLEEP)
                park_sleep(&crew->park, &own->bell, CREW_ASLEEP, 0);
        }
        if (bell == CREW_ENDS)
            return 0;
        if (bell != CREW_RUNG || !atomic_compare_exchange_strong(&own->bell, &bell, CREW_AT_WORK))
            continue;       /* it is no longer needed */
        crew_spread(own);
        crew->job(crew->arguments, own->member);
        own->jobs++;
        atomic_store(&own->bell, CREW_FREE);
        if (atomic_fetch_sub(&crew->left, 1) == 1 && atomic_load(&crew->sleeps))
            park_wake(&crew->park, &crew->left);
    }
}

/* Starts threads until there are n, or as many as the system grants; returns their number. */
static inline int crew_reach(crew_t *crew, int n)
{
    if (n > CREW_MOST)
        n = CREW_MOST;
    if (crew->n >= n)
        return crew->n;
    if (!crew->workers) {
        crew->workers = malloc(CREW_MOST * sizeof *crew->workers);
        park_begin(&crew->park);
    }
    while (crew->workers && crew->n < n) {
        worker_t *next = line_alloc(sizeof *next);
        if (!next)
            break;
        atomic_init(&next->bell, CREW_FREE);
        atomic_init(&next->cpu, -1);
        next->member = 0;
        next->jobs = 0;
        next->crew = crew;
        if (thread_start(&next->thread, CREW_STACK, crew_work, next)) {
            line_free(next);
            break;
        }
        crew->workers[crew->n++] = next;
    }
    return crew->n;
}

static inline void crew_begin(crew_t *crew)
{
    crew->n = crew->called = crew->meet = crew->apart = 0;
    crew->workers = NULL;
    team_begin(&crew->team, 1);
    atomic_init(&crew->busy, 0);
    atomic_init(&crew->left, 0);
    atomic_init(&crew->sleeps, 0);
    atomic_init(&crew->cpu, -1);
    atomic_init(&crew->seats, 0);
    atomic_init(&crew->tasks, 0);
}

/* Ends the threads, which have no job. In a forked child there are none: they stayed with the parent. */
static inline void crew_end(crew_t *crew, int forked)
{
    for (int i = 0; i < crew->n; i++) {
        worker_t *worker = crew->workers[i];
        if (!forked) {
            if (atomic_exchange(&worker->bell, CREW_ENDS) == CREW_ASLEEP)
                park_wake(&crew->park, &worker->bell);
            thread_join(worker->thread);
        }
        line_free(worker);
    }
    free(crew->workers);
    crew_begin(crew);
}

/* Takes the crew for a call, or returns 0 if another one has it; crew_free gives it back. */
static inline int crew_hold(crew_t *crew) { return !atomic_exchange(&crew->busy, 1); }
static inline void crew_free(crew_t *crew) { atomic_store(&crew->busy, 0); }

/* Calls n members to job(arguments, member): the caller and n - 1 threads, or n threads if it stays apart. With `meet`
 * they meet at barriers, and all of them are needed. A stop requested before the call stops it. */
static inline void crew_call(crew_t *crew, job_t job, void *arguments, int n, int meet, int apart)
{
    team_go_on(&crew->team, meet ? n : 1);
    crew->job = job;
    crew->arguments = arguments;
    crew->called = apart ? n : n - 1;
    crew->apart = apart;
    crew->meet = meet;
    atomic_store(&crew->left, crew->called);
    if (crew->called)
        atomic_store_explicit(&crew->cpu, crew_cpu(), memory_order_relaxed);
    for (int i = 0; i < crew->called; i++) {
        crew->workers[i]->member = i + !apart;
        if (atomic_exchange(&crew->workers[i]->bell, CREW_RUNG) == CREW_ASLEEP)
            park_wake(&crew->park, &crew->workers[i]->bell);
    }
}

/* The next number that no other member has taken. */
static inline int crew_take(atomic_int *taken) { return atomic_fetch_add_explicit(taken, 1, memory_order_relaxed); }

/* Waits until the job is done, or for about `seconds` if that is not 0; returns whether it is done. A caller that has
 * worked too does not need members that have not begun by then, unless they meet. */
static inline int crew_wait(crew_t *crew, double seconds)
{
    for (int i = 0; i < crew->called && !crew->meet && !crew->apart; i++) {
        int rung = CREW_RUNG;
        if (atomic_compare_exchange_strong(&crew->workers[i]->bell, &rung, CREW_FREE))
            atomic_fetch_sub(&crew->left, 1);
    }
    const double end = fastbp_seconds() + CREW_SPIN;
    int left;
    while ((left = atomic_load(&crew->left)) != 0) {
        team_pause();
        if (!crew->apart && fastbp_seconds() < end)
            continue;
        atomic_store(&crew->sleeps, 1);
        if (atomic_load(&crew->left) == left)
            park_sleep(&crew->park, &crew->left, left, seconds);
        atomic_store(&crew->sleeps, 0);
        if (seconds > 0)
            return atomic_load(&crew->left) == 0;
    }
    return 1;
}

#endif
