"""A step of the update rule: D from Delta, penalties and clipping; then theta along D.

Python passes its settings as one flat array of doubles (fastbp/engine/regularisation.py writes it): l1, batch_lam,
clip_value, clip_norm, then c for each Theta.
"""

from cython cimport floating
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from _backprop cimport UNITS, team_meet, team_portion, team_t
from _diagonal cimport diagonal_t, fold, slopes_of_s, unfold
from _kernels cimport begin_step, penalty, plan_t, regularise, step_t, sum_of_squares, update

cdef enum:
    FROZEN, FREE, MIXED

cdef struct told_t:             # the settings of steps; a Rule owns its arrays
    int rule
    void *slot_1
    void *slot_2
    void *slot_3
    double l1, batch_lam, clip_value, clip_norm
    const double *c             # one for each Theta
    bint penalised, fused       # there is a penalty; the update computes D itself, since there is only decay
    Py_ssize_t groups           # number of groups of UNITS units
    const char *free            # one for each parameter: 0 where it keeps its bits; NULL if all are trained
    const char *layers          # one for each Theta: FROZEN, FREE or MIXED
    const double *factors       # of the learning rate: weights, biases of each Theta; NULL if all are 1
    void *before                # n values of theta before a step, if there is a MIXED layer
    double *penalties           # one for each group
    double *squares             # one for each group, and that of s
    diagonal_t diagonal


cdef inline Py_ssize_t groups_of(const plan_t *p) noexcept:
    cdef Py_ssize_t l, total = 0
    for l in range(1, p.L):
        total += (p.s[l] + UNITS - 1) // UNITS
    return total


cdef inline void next_step(step_t *step, const double *rates, Py_ssize_t taken, floating *_) noexcept nogil:
    """Advance to the next step; its learning rate is rates[taken], or the rule's own if rates is NULL."""
    step.t += 1
    step.rate = rates[taken] if rates != NULL else step.settings[0]
    step.factor[0] = step.factor[1] = 1
    begin_step(step, _)


cdef inline double sum_of(Py_ssize_t n, const double *x) noexcept nogil:
    cdef Py_ssize_t i
    cdef double total = 0
    for i in range(n):
        total += x[i]
    return total


cdef inline void learn(
    const plan_t *p, const told_t *told, const step_t *step, double m_b, double divisor, floating *Delta,
    floating *theta, team_t *team, int member
) noexcept nogil:
    """This member's rows of every Theta: D from Delta / divisor, and the step of the rule along D. Each group of UNITS
    units writes its term of the penalty before the step."""
    cdef Py_ssize_t l, i, j, u, rows, at, columns, group = 0
    cdef double c, factor = 1, scale = 1 / divisor, lam = told.batch_lam * (1 / m_b)
    cdef bint folded = told.diagonal.W != NULL, makes_D
    for l in range(1, p.L):
        columns, c = p.s[l - 1] + 1, told.c[l - 1] + lam
        i, j = team_portion(team, p.s[l], UNITS, member), team_portion(team, p.s[l], UNITS, member + 1)
        makes_D = not told.fused or (folded and l == 1)
        u = i if told.penalised or makes_D else j
        while u < j:
            rows, at = min(UNITS, p.s[l] - u), p.theta[l] + u * columns
            if told.penalised:
                told.penalties[group + u // UNITS] = penalty(rows, columns, c, told.l1, <const floating *>(theta + at))
            if makes_D:
                if folded and l == 1:
                    make_slopes(p, told, rows, u, scale, c, <const floating *>(theta + at), Delta + at)
                else:
                    regularise(rows, columns, scale, c, told.l1, told.clip_value, <const floating *>(theta + at),
                               Delta + at)
                    if told.free != NULL:
                        leave_out(rows * columns, told.free + at, Delta + at)
                if told.clip_norm < INFINITY:
                    told.squares[group + u // UNITS] = sum_of_squares(rows * columns, <const floating *>(Delta + at))
            u += UNITS
        if told.fused and not folded:
            update_rows(p, told, step, l, i, j, scale, c, Delta, theta)
        group += (p.s[l] + UNITS - 1) // UNITS
    if told.fused and not folded:
        return
    if folded or told.clip_norm < INFINITY:
        team_meet(team)
    if folded:
        if member == 0:
            update_s(p, told, step, theta)
        team_meet(team)
    if told.clip_norm < INFINITY:
        factor = clipping(told)
    for l in range(1, p.L):
        i, j = team_portion(team, p.s[l], UNITS, member), team_portion(team, p.s[l], UNITS, member + 1)
        if told.fused and l > 1:        # its D is not made yet
            update_rows(p, told, step, l, i, j, scale, told.c[l - 1] + lam, Delta, theta)
        else:
            update_rows(p, told, step, l, i, j, factor, 0, Delta, theta)


cdef inline double clipping(const told_t *told) noexcept nogil:
    """The factor of D that makes its norm at most clip_norm."""
    cdef double squares = sum_of(told.groups, told.squares), norm
    if told.diagonal.W != NULL:
        squares += told.squares[told.groups]
    norm = sqrt(squares)
    return told.clip_norm / norm if norm > told.clip_norm else 1


cdef inline void make_slopes(
    const plan_t *p, const told_t *told, Py_ssize_t rows, Py_ssize_t u, double scale, double c,
    const floating *Theta, floating *Delta
) noexcept nogil:
    """Delta := dJ/dW, and dJ/ds, for the rows from u on of Theta(1) = [b, W diag(s)]."""
    cdef Py_ssize_t n = p.s[0]
    cdef floating *slopes = <floating *>told.diagonal.slopes + u // UNITS * n
    if told.l1 != 0 or told.free != NULL:
        regularise(rows, n + 1, scale, c, told.l1, INFINITY, Theta, Delta)
        if told.free != NULL:
            leave_out(rows * (n + 1), told.free + u * (n + 1), Delta)
        scale, c = 1, 0
    unfold(rows, n + 1, scale, c, told.clip_value, Theta, <const floating *>told.diagonal.W + u * (n + 1),
           <const floating *>told.diagonal.s, Delta, slopes)


cdef inline void update_s(const plan_t *p, const told_t *told, const step_t *step, floating *_) noexcept nogil:
    """Apply the rule to s. No rule decays it: it counts as a bias."""
    cdef step_t own = step[0]
    cdef Py_ssize_t n = p.s[0]
    cdef floating *D_s = <floating *>told.diagonal.D_s
    cdef double factor = 1
    own.factor[0] = own.factor[1] = told.diagonal.factor
    told.squares[told.groups] = slopes_of_s(&told.diagonal, n, told.clip_value, D_s)
    if told.clip_norm < INFINITY:
        factor = clipping(told)
    update(&own, n, 1, factor, 0, <const floating *>D_s,
           <floating *>told.slot_1 + p.n if told.slot_1 != NULL else NULL,
           <floating *>told.slot_2 + p.n if told.slot_2 != NULL else NULL,
           <floating *>told.slot_3 + p.n if told.slot_3 != NULL else NULL, <floating *>told.diagonal.s)


cdef inline void update_rows(
    const plan_t *p, const told_t *told, const step_t *step, Py_ssize_t l, Py_ssize_t i, Py_ssize_t j, double scale,
    double c, const floating *Delta, floating *theta
) noexcept nogil:
    """Apply the rule to the rows i .. j of the Theta that leads to layer l, or to the factors of Theta(1)."""
    cdef step_t own
    cdef bint folded = told.diagonal.W != NULL and l == 1
    cdef Py_ssize_t columns = p.s[l - 1] + 1, at = p.theta[l] + i * columns, size = (j - i) * columns
    cdef floating *before = <floating *>told.before + at
    cdef floating *moved = <floating *>told.diagonal.W + i * columns if folded else theta + at
    cdef char state = FREE if told.free == NULL else told.layers[l - 1]
    if i < j and state != FROZEN:
        if state == MIXED:
            memcpy(before, moved, size * sizeof(floating))
        if told.factors != NULL:
            own = step[0]
            own.factor[0], own.factor[1] = told.factors[2 * (l - 1)], told.factors[2 * (l - 1) + 1]
            step = &own
        update(step, j - i, columns, scale, c, Delta + at,
               <floating *>told.slot_1 + at if told.slot_1 != NULL else NULL,
               <floating *>told.slot_2 + at if told.slot_2 != NULL else NULL,
               <floating *>told.slot_3 + at if told.slot_3 != NULL else NULL, moved)
        if state == MIXED:
            put_back(size, told.free + at, <const floating *>before, moved)
        if folded:
            if state == MIXED:
                memcpy(before, theta + at, size * sizeof(floating))
            fold(j - i, columns, <const floating *>moved, <const floating *>told.diagonal.s, theta + at)
            if state == MIXED:
                put_back(size, told.free + at, <const floating *>before, theta + at)


cdef inline void leave_out(Py_ssize_t n, const char *free, floating *D) noexcept nogil:
    """D := 0 where the parameters are frozen"""
    cdef Py_ssize_t i
    for i in range(n):
        if not free[i]:
            D[i] = 0


cdef inline void put_back(Py_ssize_t n, const char *free, const floating *before, floating *theta) noexcept nogil:
    """theta := before where the parameters are frozen, whatever the rule has done"""
    cdef Py_ssize_t i
    for i in range(n):
        if not free[i]:
            theta[i] = before[i]
