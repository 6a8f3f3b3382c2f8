"""Things that only one thread at a time may use: a workspace, the parameters of a network in training."""

from cpython.pycapsule cimport PyCapsule_GetPointer

cdef extern from "turn.h":
    ctypedef struct desk_t:
        pass

    ctypedef struct turn_t:
        const int *forks

    bint desk_take(desk_t *desk, const void *call) noexcept nogil
    void desk_leave(desk_t *desk, const void *call) noexcept nogil
    bint desk_take_short(desk_t *desk, const void *call) noexcept nogil
    bint desk_is_taken(const desk_t *desk) noexcept nogil
    bint turn_take(turn_t *turn) noexcept nogil
    void turn_give(turn_t *turn) noexcept nogil
    bint turn_take_short(turn_t *turn) noexcept nogil
    void turn_give_short(turn_t *turn) noexcept nogil


cdef inline turn_t *turn_of(object turn) except? NULL:
    """The contents of a fastbp._kernels.Turn; NULL for None."""
    return NULL if turn is None else <turn_t *>PyCapsule_GetPointer(turn.capsule, "fastbp.turn")


cdef inline int take_turn(turn_t *turn) except -1:
    """Raise a RuntimeError if another thread has the turn. Without a turn (NULL) the caller ensures that no other
    thread trains."""
    if turn != NULL and not turn_take(turn):
        refuse_turn()
    return 0


cdef inline int take_turn_short(turn_t *turn) except -1:
    """The same for a moment in which no Python code runs."""
    if turn != NULL and not turn_take_short(turn):
        refuse_turn()
    return 0


cdef inline int refuse_turn() except -1:
    raise RuntimeError("another thread is training this network: it and its trainers are for one thread at a time")


cdef inline void give_turn(turn_t *turn) noexcept:
    if turn != NULL:
        turn_give(turn)


cdef inline void give_turn_short(turn_t *turn) noexcept:
    if turn != NULL:
        turn_give_short(turn)
