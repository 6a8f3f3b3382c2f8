/* The system calls of crews, for POSIX and Windows: threads, memory aligned to a cache line, the process. */
#ifndef FASTBP_THREAD_H
#define FASTBP_THREAD_H

#include <stddef.h>
#include <stdlib.h>

#if defined(_WIN32)
#include "windows_only.h"

#include <malloc.h>
#include <process.h>

#define THREAD_CALL __stdcall
typedef HANDLE thread_t;
typedef unsigned thread_end_t;
typedef thread_end_t(THREAD_CALL *thread_work_t)(void *given);

static inline int thread_start(thread_t *thread, unsigned stack, thread_work_t work, void *given)
{
    const uintptr_t begun = _beginthreadex(NULL, stack, work, given, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    *thread = (HANDLE)begun;
    return begun == 0;
}

static inline void thread_join(thread_t thread)
{
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}

static inline void thread_yield(void) { SwitchToThread(); }
static inline void *line_alloc(size_t size) { return _aligned_malloc(size, 64); }
static inline void line_free(void *memory) { _aligned_free(memory); }
static inline int fastbp_process(void) { return (int)GetCurrentProcessId(); }

#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

/* For wheels: the symbols of every glibc since this version, GLIBC_2.2.5 on x86-64, GLIBC_2.17 on arm64. */
#if defined(FASTBP_GLIBC)
__asm__(".symver pthread_create, pthread_create@" FASTBP_GLIBC);
__asm__(".symver pthread_join, pthread_join@" FASTBP_GLIBC);
__asm__(".symver pthread_sigmask, pthread_sigmask@" FASTBP_GLIBC);
__asm__(".symver pthread_attr_setstacksize, pthread_attr_setstacksize@" FASTBP_GLIBC);
#endif

#define THREAD_CALL
typedef pthread_t thread_t;
typedef void *thread_end_t;
typedef thread_end_t (*thread_work_t)(void *given);

/* Runs work(given) in a new thread with this many bytes of stack; returns 0, or an error. Signals stay with the threads
 * of Python, except those raised by a fault in the thread itself. */
static inline int thread_start(thread_t *thread, unsigned stack, thread_work_t work, void *given)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t blocked, before;
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error)
        return error;
    pthread_attr_setstacksize(&attributes, stack);
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&blocked, own[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    error = pthread_create(thread, &attributes, work, given);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

static inline void thread_join(thread_t thread) { pthread_join(thread, NULL); }
static inline void thread_yield(void) { sched_yield(); }

/* Free the result with line_free. */
static inline void *line_alloc(size_t size)
{
    void *memory = NULL;
    return posix_memalign(&memory, 64, size) ? NULL : memory;
}

static inline void line_free(void *memory) { free(memory); }

/* The number of this process; it is different in a forked child. */
static inline int fastbp_process(void) { return (int)getpid(); }
#endif

#endif
