"""The rule of a step: copies of its settings and penalties, and the arrays it writes to, checked again at each call."""

from libc.math cimport INFINITY
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from _backprop cimport UNITS
from _checked cimport (
    READ, WRITE, PyBytes_AS_STRING, arrays_t, changed, give_back, held_t, hold, is_fixed, own_plan, own_room, stays,
    values,
)
from _diagonal cimport diagonal_t
from _kernels cimport SCALARS, plan_t, step_t
from _turn cimport turn_of, turn_t
from _update cimport FREE, FROZEN, MIXED, groups_of, sum_of, told_t

cdef extern from "lists.h":
    ctypedef struct known_t "rule_t":
        const char *name
        int settings
        int scalars
        int slots
        int asks
        const char *slot_names[3]

    enum:
        RULE_COUNT

    const known_t *rule_list

cdef enum:
    SETTINGS = 8        # most settings of a rule
    SLOTS = 3           # most slots of a rule


cdef struct rule_t:
    told_t told
    double settings[SETTINGS]
    held_t slots[SLOTS]
    held_t scalars
    held_t W
    held_t s
    held_t taken
    turn_t *turn        # of the network; NULL: the caller ensures that only one thread trains it
    int n_slots
    int n_scalars
    char format         # of the slots; 0 if there are none
    Py_ssize_t n        # of the plan
    Py_ssize_t L


cdef inline tuple begin_rule(
    rule_t *own, plan, int rule, settings, regularisation, slots, scalars, taken, free, factors, diagonal, turn
):
    """own := the rule of this code, its settings, slots and scalars; returns the objects that own its memory.

    free : bytes, one for each parameter, 0 where it is frozen; None: all are trained
    factors : (L - 1, 2) doubles as bytes, factors of the learning rate of weights and biases; None: all are 1
    diagonal : (W, s, the factor of its learning rate), see _diagonal.pxd: s comes last in each slot
    turn : fastbp._kernels.Turn of the network, or None
    """
    cdef plan_t p
    cdef const known_t *known
    cdef Py_ssize_t i
    cdef void *sums
    _own = own_plan(plan, &p)       # p points into it
    slots, own.n, own.L = tuple(slots), p.n, p.L
    if len(scalars) > SCALARS or len(slots) > SLOTS:
        raise ValueError(f"room is for {SCALARS} scalars and {SLOTS} slots; got {len(scalars)} and {len(slots)}")
    if not 0 <= rule < RULE_COUNT:
        raise ValueError(f"rule must be a code of fastbp._kernels.rules; got {rule}")
    known, own.told.rule, own.turn = &rule_list[rule], rule, turn_of(turn)
    code = copy_settings(own, settings, regularisation)
    own.n_slots, own.n_scalars = known.slots, known.scalars
    if known.asks and own.settings[known.asks] != 0:
        own.n_slots += 1
    if len(slots) != own.n_slots:
        raise ValueError(f"the rule {known.name.decode()!r} has {own.n_slots} slots with these settings; "
                         f"got {len(slots)}")
    own.format, own.told.diagonal.W = 0, NULL
    layer = None if diagonal is None else begin_diagonal(own, &p, diagonal)
    for i in range(own.n_slots):
        hold(&own.slots[i], slots[i], name_of_slot(own, i), own.format, own.n + own.s.n, WRITE)
        own.format = own.slots[i].format
    own.told.slot_1 = own.slots[0].data if own.n_slots > 0 else NULL
    own.told.slot_2 = own.slots[1].data if own.n_slots > 1 else NULL
    own.told.slot_3 = own.slots[2].data if own.n_slots > 2 else NULL
    if own.n_scalars:
        hold(&own.scalars, scalars, "state['scalars']", b"d", own.n_scalars, WRITE)
    hold(&own.taken, taken, "taken", b"q", 1, WRITE)
    own.taken.fixed = is_fixed(taken)
    own.told.groups = groups_of(&p)
    room = own_room((2 * own.told.groups + 1) * sizeof(double), &sums)
    own.told.penalties, own.told.squares = <double *>sums, <double *>sums + own.told.groups
    own.told.fused = own.told.l1 == 0 and own.told.clip_value == own.told.clip_norm == INFINITY
    own.told.penalised = own.told.l1 != 0 or own.told.batch_lam != 0
    for i in range(p.L - 1):
        own.told.penalised |= own.told.c[i] != 0
    own.told.factors = NULL
    if factors is not None:
        if type(factors) is not bytes or len(factors) != <Py_ssize_t>(2 * (p.L - 1) * sizeof(double)):
            raise ValueError(f"factors must be the bytes of {2 * (p.L - 1)} doubles")
        own.told.factors = <const double *><const void *>PyBytes_AS_STRING(factors)
    return slots, scalars, taken, code, room, free, factors, layer, freeze(own, &p, free), turn


cdef inline tuple begin_diagonal(rule_t *own, const plan_t *p, tuple diagonal):
    """own.told.diagonal := the layer of these arrays; returns the objects that own its memory."""
    cdef diagonal_t *layer = &own.told.diagonal
    cdef void *total
    W, s, layer.factor = diagonal
    layer.parts = (p.s[1] + UNITS - 1) // UNITS
    hold(&own.W, W, "state['input_weights']", 0, p.s[1] * (p.s[0] + 1), WRITE)
    own.format = own.W.format
    hold(&own.s, s, "state['input_scale']", own.format, p.s[0], WRITE)
    room = own_room(layer.parts * p.s[0] * sizeof(double), &layer.slopes)
    rooms = own_room(p.s[0] * sizeof(double), &layer.D_s), own_room(p.s[0] * sizeof(double), &total)
    layer.W, layer.s, layer.total = own.W.data, own.s.data, <double *>total
    return W, s, room, rooms


cdef inline object freeze(rule_t *own, const plan_t *p, free):
    """own.told := the parameters that are frozen; returns the objects that own the memory."""
    cdef Py_ssize_t l, i, some
    cdef char *layers
    own.told.free = own.told.layers = NULL
    own.told.before = NULL
    if free is None:
        return None
    if type(free) is not bytes or len(free) != p.n:
        raise ValueError(f"free must be bytes, one for each of the {p.n} parameters")
    own.told.free = PyBytes_AS_STRING(free)
    states, room = own_room(p.L, <void **>&layers), None
    own.told.layers = layers
    for l in range(1, p.L):
        some = 0
        for i in range(p.theta[l], p.theta[l] + p.s[l] * (p.s[l - 1] + 1)):
            some += own.told.free[i] != 0
        layers[l - 1] = FROZEN if some == 0 else FREE if some == p.s[l] * (p.s[l - 1] + 1) else MIXED
        if layers[l - 1] == MIXED and room is None:
            own.told.fused = False
            room = own_room(p.n * sizeof(double), &own.told.before)
    return states, room


cdef inline bytes copy_settings(rule_t *own, settings, regularisation):
    """Copy the settings, penalties and clipping into memory of our own; returns the bytes in which c lies."""
    cdef arrays_t held
    cdef const known_t *known = &rule_list[own.told.rule]
    cdef double *r
    cdef bytes code
    held.n = 0
    try:
        memcpy(own.settings, values(&held, settings, f"settings of the rule {known.name.decode()!r}", b"d",
                                    known.settings, READ), known.settings * sizeof(double))
        r = <double *>values(&held, regularisation, "regularisation", b"d", 3 + own.L, READ)
        code = (<char *>r)[:held.views[1].len]
    finally:
        give_back(&held)
    r = <double *><void *>PyBytes_AS_STRING(code)
    own.told.l1, own.told.batch_lam, own.told.clip_value, own.told.clip_norm = r[0], r[1], r[2], r[3]
    own.told.c = r + 4
    return code


cdef inline str name_of_slot(const rule_t *own, Py_ssize_t i):
    cdef const char *name = rule_list[own.told.rule].slot_names[i]
    return f"state[{name.decode()!r}]"


cdef inline int check_rule(const rule_t *own, const plan_t *p, char format) except -1:
    """Raise an error unless the rule was made for such a network and its arrays are as they were."""
    if own.n != p.n or own.L != p.L or own.told.groups != groups_of(p):
        raise ValueError("rule was made for the plan of another network")
    if own.format and own.format != format:
        raise ValueError("the slots of the rule must have the dtype of theta")
    look_again(own)
    return 0


cdef inline int stay(const rule_t *own) except -1:
    """True if its arrays are as they were when taken."""
    cdef int i
    for i in range(own.n_slots):
        if not stays(&own.slots[i]):
            return False
    if own.told.diagonal.W != NULL and not (stays(&own.W) and stays(&own.s)):
        return False
    return (own.n_scalars == 0 or stays(&own.scalars)) and (own.taken.fixed or stays(&own.taken))


cdef inline object look_again(const rule_t *own):
    """Raise the error of the first array that has changed; otherwise return None."""
    cdef int i
    for i in range(own.n_slots):
        if not stays(&own.slots[i]):
            raise changed(&own.slots[i], name_of_slot(own, i))
    if own.told.diagonal.W != NULL:
        if not stays(&own.W):
            raise changed(&own.W, "state['input_weights']")
        if not stays(&own.s):
            raise changed(&own.s, "state['input_scale']")
    if own.n_scalars and not stays(&own.scalars):
        raise changed(&own.scalars, "state['scalars']")
    if not stays(&own.taken):
        raise changed(&own.taken, "taken")


cdef inline void last_step(rule_t *own, step_t *step) noexcept nogil:
    """step := the start of the next step: t and the scalars after the last one."""
    cdef Py_ssize_t i
    step.rule, step.settings, step.t = own.told.rule, own.settings, <double>(<int64_t *>own.taken.data)[0]
    for i in range(own.n_scalars):
        step.scalars[i] = (<double *>own.scalars.data)[i]


cdef inline void finish_step(const rule_t *own, const step_t *step) noexcept nogil:
    """Count the finished step and keep its scalars."""
    cdef Py_ssize_t i
    (<int64_t *>own.taken.data)[0] += 1
    for i in range(own.n_scalars):
        (<double *>own.scalars.data)[i] = step.scalars[i]


cdef inline double penalty_of(const rule_t *own) noexcept nogil:
    """The penalty before the last step."""
    return sum_of(own.told.groups, own.told.penalties) if own.told.penalised else 0
