/* Things that only one thread at a time may use. No thread waits: one that finds it taken goes another way, or refuses.
 * Cython includes this; kernels do not. */
#ifndef FASTBP_TURN_H
#define FASTBP_TURN_H

#include <Python.h>
#include <stdatomic.h>
#include <stdint.h>

/* A workspace in which one call works. `call` is any address that is unique to the call, such as one on its stack. */
typedef struct {
    atomic_uintptr_t call;      /* 0: free */
} desk_t;

static inline int desk_take(desk_t *desk, const void *call)     /* 1 if it is the call's, now or already */
{
    uintptr_t other = atomic_load_explicit(&desk->call, memory_order_relaxed);
    if (other == (uintptr_t)call)
        return 1;
#ifdef Py_GIL_DISABLED
    return other == 0 && atomic_compare_exchange_strong_explicit(&desk->call, &other, (uintptr_t)call,
                                                                 memory_order_acquire, memory_order_relaxed);
#else
    if (other == 0)
        atomic_store_explicit(&desk->call, (uintptr_t)call, memory_order_relaxed);
    return other == 0;
#endif
}

/* For a moment in which the GIL, if there is one, is held, so that the desk is free. */
static inline int desk_take_short(desk_t *desk, const void *call)
{
#ifdef Py_GIL_DISABLED
    return desk_take(desk, call);
#else
    (void)desk, (void)call;
    return 1;
#endif
}

static inline int desk_is_taken(const desk_t *desk)
{
    return atomic_load_explicit(&desk->call, memory_order_relaxed) != 0;
}

static inline void desk_leave(desk_t *desk, const void *call)   /* if it is the call's */
{
    if (atomic_load_explicit(&desk->call, memory_order_relaxed) == (uintptr_t)call)
        atomic_store_explicit(&desk->call, 0, memory_order_release);
}

/* The parameters of a network, which one thread at a time may change. It may take its turn again while it has it. */
typedef struct {
    _Atomic uint64_t owner;     /* the thread, and the number of forks before it; 0: free */
    int depth;                  /* how often it has taken its turn; only the owner reads and writes it */
    const int *forks;           /* of this process and those before it: the owner may have stayed with the parent */
} turn_t;

static const int TURN_BITS = 48;    /* of the thread: as many as addresses have */

static inline uint64_t turn_me(const turn_t *turn)
{
    const uint64_t thread = (uint64_t)PyThread_get_thread_ident() & (((uint64_t)1 << TURN_BITS) - 1);
    return thread | (uint64_t)*turn->forks << TURN_BITS;
}

static inline int turn_take(turn_t *turn)       /* 1 if it is the caller's */
{
    const uint64_t me = turn_me(turn);
    uint64_t owner = atomic_load_explicit(&turn->owner, memory_order_relaxed);
    if (owner == me) {
        turn->depth++;
        return 1;
    }
    if (owner != 0 && (owner ^ me) >> TURN_BITS == 0)
        return 0;
    if (!atomic_compare_exchange_strong_explicit(&turn->owner, &owner, me, memory_order_acquire, memory_order_relaxed))
        return 0;
    turn->depth = 1;
    return 1;
}

/* For a moment in which the GIL, if there is one, is held: no other thread can begin, so nothing has to be taken. */
static inline int turn_take_short(turn_t *turn)
{
#ifdef Py_GIL_DISABLED
    return turn_take(turn);
#else
    const uint64_t owner = atomic_load_explicit(&turn->owner, memory_order_relaxed);
    return owner == 0 || (owner ^ turn_me(turn)) >> TURN_BITS != 0 || owner == turn_me(turn);
#endif
}

static inline void turn_give(turn_t *turn)      /* in a child forked meanwhile it is free */
{
    if (atomic_load_explicit(&turn->owner, memory_order_relaxed) == turn_me(turn) && --turn->depth == 0)
        atomic_store_explicit(&turn->owner, 0, memory_order_release);
}

static inline void turn_give_short(turn_t *turn)
{
#ifdef Py_GIL_DISABLED
    turn_give(turn);
#else
    (void)turn;
#endif
}

#endif
