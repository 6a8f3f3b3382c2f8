"""Jobs for the members of a crew, from Python."""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t

from _backprop cimport team_t, team_want_no_stop, team_want_stop

cdef extern from "<stdatomic.h>":
    ctypedef int atomic_int

cdef extern from "crew.h":
    ctypedef void (*job_t)(void *arguments, int member) noexcept nogil

    ctypedef struct worker_t:
        int64_t jobs

    ctypedef struct crew_t:
        int n
        worker_t **workers
        team_t team
        atomic_int seats
        atomic_int tasks

    void crew_begin(crew_t *crew) noexcept nogil
    int crew_reach(crew_t *crew, int n) noexcept nogil
    void crew_end(crew_t *crew, bint forked) noexcept nogil
    void crew_call(crew_t *crew, job_t job, void *arguments, int n, bint meet, bint apart) noexcept nogil
    bint crew_hold(crew_t *crew) noexcept nogil
    void crew_free(crew_t *crew) noexcept nogil
    int crew_take(atomic_int *taken) noexcept nogil
    bint crew_wait(crew_t *crew, double seconds) noexcept nogil

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1

cdef extern from *:
    """
    #define FASTBP_LOOK 0.01
    """
    const double LOOK "FASTBP_LOOK"     # seconds between two checks for Ctrl-C by a caller that stays apart


cdef inline crew_t *crew_of(object crew, object cls, int n, bint apart, crew_t *alone) except NULL:
    """The crew inside a fastbp._backprop.Crew, which must have n members; None is `alone`, the caller by itself."""
    cdef crew_t *found = alone
    if crew is None:
        crew_begin(alone)
    elif type(crew) is cls:
        found = <crew_t *>PyCapsule_GetPointer(crew.capsule, "fastbp.crew")
    else:
        raise TypeError(f"crew must be fastbp._backprop.Crew; got {type(crew).__name__}")
    if not 1 <= n <= found.n + (0 if apart else 1):
        raise ValueError(f"n is {n}; the crew has {found.n} threads beside the caller")
    return found


cdef inline int hold_crew(crew_t *crew) except -1:
    """Take the crew for a call; `crew_free` gives it back. Refuse a crew at work: another thread, or a signal handler,
    is using a trainer that is in a call."""
    if not crew_hold(crew):
        raise RuntimeError("these threads are at work in another call; one trainer is for one thread at a time")
    return 0


cdef inline bint hears_signals() except -1:
    """True in the main thread. Any other thread waits to the end: Python might end it when it asks for the GIL at exit,
    while the members still read its arguments."""
    import threading
    return threading.get_ident() == threading.main_thread().ident


cdef inline int run_job(crew_t *crew, job_t job, void *arguments, int n, bint meet, bint apart) except -1:
    """`do_job` by a crew that is free"""
    hold_crew(crew)
    try:
        return do_job(crew, job, arguments, n, meet, apart)
    finally:
        crew_free(crew)


cdef inline int do_job(crew_t *crew, job_t job, void *arguments, int n, bint meet, bint apart) except -1:
    """job(arguments, member) by n members; returns when all are done, with the GIL released meanwhile. A caller that
    stays apart checks for Ctrl-C: its exception asks for a stop, and is raised once the job has ended. No bytecode runs
    here except that of signal handlers."""
    cdef bint done = False
    cdef double look = LOOK if apart and hears_signals() else 0
    struck = None
    with nogil:
        crew_call(crew, job, arguments, n, meet, apart)
        if not apart:
            job(arguments, 0)
            done = crew_wait(crew, 0)
    while not done:
        with nogil:
            done = crew_wait(crew, look)
        if done:
            break
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            struck = error if struck is None else struck
            team_want_stop(&crew.team)
    team_want_no_stop(&crew.team)
    if struck is not None:
        raise struck
    return 0
