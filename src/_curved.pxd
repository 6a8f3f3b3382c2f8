"""The loops behind the functions of _curvature.pyx. A workspace of each block keeps what depends on theta alone, in the
layout of _backprop.pxd, followed by:

    a(1) .. a(L-1), delta(2) .. delta(L), w   as there; a also by rows if Delta is summed from rows
    slope, second       g'(z) and u .* g''(z) of each hidden layer, u = (Theta' delta)[without bias]
    q, t                of the output, see kernels/curvature.h; h is stored in place of a(L)

`spare` also has the layout of _backprop.pxd, with R a for a, R delta for delta, R z(L) for delta(L), followed by

    Rz                  of each hidden layer
"""

from cython cimport floating

from _backprop cimport NARROW, cost_of, load, load_targets, next_units, rows_of_X, team_t
from _curve cimport activate_twice, backward_twice, bend, curve, keep_curve, product_onto, times
from _checked cimport core_t
from _kernels cimport (
    enter, examples_t, lanes_of, layer_backward, layer_Delta, layer_forward, leave, narrow_Delta, padded, plan_t,
    to_rows,
)
from _ranges cimport sum_t


cdef struct curved_t:           # the further arguments
    const void *V               # p, laid out like theta
    void *spare                 # for each seat
    Py_ssize_t base             # the first example of block 0 of kept workspaces
    Py_ssize_t hidden           # units of all hidden layers
    Py_ssize_t kept_units       # values of an example in a workspace, and in a spare one
    Py_ssize_t spare_units
    bint kept                   # each block has its own workspace, which `keep` has filled
    bint plus                   # H+, and no second derivative of the hidden layers


cdef inline void lay_out(const plan_t *p, curved_t *how) noexcept nogil:
    """how.hidden, how.kept_units, how.spare_units := those of this network"""
    cdef Py_ssize_t l
    how.hidden = 0
    for l in range(1, p.L - 1):
        how.hidden += p.s[l]
    how.kept_units = p.units + 2 * how.hidden + 2 * p.s[p.L - 1]
    how.spare_units = p.units + how.hidden


cdef inline void twice_forward(
    const plan_t *p, const floating *theta, Py_ssize_t m, floating *work, Py_ssize_t B, Py_ssize_t at,
    floating *slope, floating *second, team_t *team
) noexcept nogil:
    """Z(l+1) = [1, A(l)] Theta(l)';  A(l+1) = g(Z(l+1)), g' and g'', up to Z(L), of m examples from `at` of the block
    on."""
    cdef Py_ssize_t l, n, k, i, j
    cdef const floating *A = work + B * p.a[0] + at * p.s[0]
    cdef floating *Z
    for l in range(1, p.L):
        n, k, i = p.s[l], p.s[l - 1], 0
        Z = work + B * p.z[l] + at * n
        while i < n:
            j = next_units(p, i, n, m * k, team)
            if j == 0:
                return
            layer_forward(m, n, i, j, k, theta + p.theta[l], A, Z)
            i = j
        if l > 1 and n > NARROW:
            to_rows(m, k, A, work + B * p.rows[l - 1] + at * k, k)
        if l < p.L - 1:
            A = work + B * p.a[l] + at * n
            activate_twice(<int>p.g[l], padded(m, work) * n, <const floating *>Z, <floating *>A, slope + at * n,
                           second + at * n)
            slope, second = slope + B * n, second + B * n


cdef inline void twice_backward(
    const plan_t *p, const floating *theta, Py_ssize_t m, floating *work, Py_ssize_t B, Py_ssize_t at,
    floating *slope, floating *second, team_t *team
) noexcept nogil:
    """u = (delta(l+1) Theta(l))[without bias];  delta(l) = u .* g', second = u .* g'';  slope, second: their ends."""
    cdef Py_ssize_t l, n, k, i, j
    cdef floating *delta
    for l in range(p.L - 1, 1, -1):
        n, k, i = p.s[l], p.s[l - 1], 0
        delta, slope, second = work + B * p.delta[l - 1] + at * k, slope - B * k, second - B * k
        while i < k:
            j = next_units(p, i, k, m * n, team)
            if j == 0:
                return
            layer_backward(m, n, i, j, k, theta + p.theta[l], <const floating *>(work + B * p.delta[l] + at * n), delta)
            i = j
        backward_twice(padded(m, work) * k, <const floating *>(slope + at * k), second + at * k, delta)


cdef inline void keep_panels(
    const plan_t *p, const floating *theta, const curved_t *how, const examples_t *data, Py_ssize_t first,
    Py_ssize_t m, floating *work, Py_ssize_t B, Py_ssize_t at, team_t *team
) noexcept nogil:
    """What depends on theta alone, for the m examples from `first` on, which begin at example `at` of the block."""
    cdef Py_ssize_t last = p.L - 1, K = p.s[last]
    cdef floating *slope = work + B * p.units
    cdef floating *second = slope + B * how.hidden
    cdef floating *q = second + B * how.hidden
    load(p, data, first, m, work, B, at, work + B * p.a[0] + at * p.s[0])
    twice_forward(p, theta, m, work, B, at, slope, second, team)
    load_targets(p, data, first, m, work, B, at)
    if not how.plus:
        cost_of(p, data, first, m, work, B, at)
        twice_backward(p, theta, m, work, B, at, second, q, team)
    keep_curve(<int>p.g[last], p.loss, p.parameter, how.plus, m, K, <const floating *>(work + B * p.z[last] + at * K),
               <const floating *>(work + B * p.y + at * K), <const floating *>(work + B * p.w + at),
               work + B * p.a[last] + at * K, q + at * K, q + (B + at) * K)


cdef inline void R_forward(
    const plan_t *p, const floating *theta, const floating *V, Py_ssize_t m, const floating *work, floating *spare,
    Py_ssize_t B, Py_ssize_t at, const floating *slope, team_t *team
) noexcept nogil:
    """R Z(l+1) = [1, A(l)] V(l)' + [0, R A(l)] Theta(l)';  R A(l) = g'(Z(l)) .* R Z(l), up to R Z(L)."""
    cdef Py_ssize_t l, n, k, i, j
    cdef floating *Rz = spare + B * p.units
    cdef floating *Z
    for l in range(1, p.L):
        n, k, i = p.s[l], p.s[l - 1], 0
        Z = (Rz if l < p.L - 1 else spare + B * p.delta[l]) + at * n
        while i < n:
            j = next_units(p, i, n, 2 * m * k, team)
            if j == 0:
                return
            layer_forward(m, n, i, j, k, V + p.theta[l], work + B * p.a[l - 1] + at * k, Z)
            if l > 1:
                product_onto(m, n, i, j, k, theta + p.theta[l] + 1, k + 1, 1,
                             <const floating *>(spare + B * p.a[l - 1] + at * k), Z)
            i = j
        if l < p.L - 1:
            times(padded(m, spare) * n, slope + at * n, <const floating *>Z, spare + B * p.a[l] + at * n)
            Rz, slope = Rz + B * n, slope + B * n


cdef inline void R_backward(
    const plan_t *p, const floating *theta, const floating *V, Py_ssize_t m, const floating *work, floating *spare,
    Py_ssize_t B, Py_ssize_t at, const floating *slope, const floating *second, bint plus, team_t *team
) noexcept nogil:
    """R delta(l) = (R delta(l+1) Theta(l) + delta(l+1) V(l))[without bias] .* g' + u .* g'' .* R Z(l); with H+
    (R delta(l+1) Theta(l))[without bias] .* g'.  slope, second: their ends."""
    cdef Py_ssize_t l, n, k, i, j
    cdef floating *E
    cdef const floating *Rz = spare + B * p.units + (second - slope)
    for l in range(p.L - 1, 1, -1):
        n, k, i = p.s[l], p.s[l - 1], 0
        E, slope, second, Rz = spare + B * p.delta[l - 1] + at * k, slope - B * k, second - B * k, Rz - B * k
        while i < k:
            j = next_units(p, i, k, 2 * m * n, team)
            if j == 0:
                return
            layer_backward(m, n, i, j, k, theta + p.theta[l], <const floating *>(spare + B * p.delta[l] + at * n), E)
            if not plus:
                product_onto(m, k, i, j, n, V + p.theta[l] + 1, 1, k + 1, work + B * p.delta[l] + at * n, E)
            i = j
        if plus:
            times(padded(m, spare) * k, slope + at * k, <const floating *>E, E)
        else:
            bend(padded(m, spare) * k, slope + at * k, second + at * k, Rz + at * k, E)
        if not plus and n > NARROW:
            to_rows(m, k, <const floating *>(spare + B * p.a[l - 1] + at * k), spare + B * p.rows[l - 1] + at * k, k)


cdef inline void product_panels(
    const plan_t *p, const floating *theta, const curved_t *how, Py_ssize_t m, const floating *work, floating *spare,
    Py_ssize_t B, Py_ssize_t at, team_t *team
) noexcept nogil:
    """R a and R delta of m examples, from `at` of the block on."""
    cdef Py_ssize_t last = p.L - 1, K = p.s[last]
    cdef const floating *V = <const floating *>how.V
    cdef const floating *slope = work + B * p.units
    cdef const floating *second = slope + B * how.hidden
    cdef const floating *q = second + B * how.hidden
    R_forward(p, theta, V, m, work, spare, B, at, slope, team)
    curve(<int>p.g[last], p.loss, how.plus, m, K, work + B * p.a[last] + at * K, q + at * K, q + (B + at) * K,
          work + B * p.w + at, spare + B * p.delta[last] + at * K)
    R_backward(p, theta, V, m, work, spare, B, at, second, q, how.plus, team)


cdef inline void R_learn(
    const plan_t *p, const examples_t *data, Py_ssize_t first, Py_ssize_t m, floating *work, floating *spare,
    Py_ssize_t B, bint plus, floating *Delta, team_t *team
) noexcept nogil:
    """Delta(l) += R delta(l+1)' [1, A(l)] + delta(l+1)' [0, R A(l)]; with H+ the first alone."""
    cdef Py_ssize_t l, n, k, lda = 0, i, j
    cdef const floating *A
    cdef const floating *delta
    cdef const floating *Rdelta
    cdef const floating *Ra
    for l in range(p.L - 1, 0, -1):
        n, k, i = p.s[l], p.s[l - 1], 0
        delta, Rdelta = work + B * p.delta[l], spare + B * p.delta[l]
        if l > 1 and n <= NARROW:
            narrow_Delta(m, n, 0, n, k, Rdelta, <const floating *>(work + B * p.a[l - 1]), 1, Delta + p.theta[l])
            if not plus:
                narrow_Delta(m, n, 0, n, k, delta, <const floating *>(spare + B * p.a[l - 1]), 2, Delta + p.theta[l])
            continue
        A, lda, Ra = work + B * p.rows[l - 1], k, spare + B * p.rows[l - 1]
        if l == 1:
            A = rows_of_X(p, data, first, work, B, &lda)
            if A == NULL:
                A = work + B * p.rows[0]
        while i < n:
            j = next_units(p, i, n, 2 * m * k, team)
            if j == 0:
                return
            layer_Delta(m, n, i, j, k, Rdelta, A, lda, 1, Delta + p.theta[l])
            if l > 1 and not plus:
                layer_Delta(m, n, i, j, k, delta, Ra, k, 2, Delta + p.theta[l])
            i = j


cdef inline void run_block(
    const plan_t *p, const floating *theta, const curved_t *how, const examples_t *data, Py_ssize_t first,
    Py_ssize_t m,
    floating *work,     # OUT  what depends on theta alone, or IN
    floating *spare,    # OUT  unless Delta is NULL
    Py_ssize_t B, bint keeps,
    floating *Delta,    # +=   the sum over the examples, unless NULL
    team_t *team
) noexcept nogil:
    """The m examples from `first` on, some panels at a time; the result is not usable if the team is asked to stop."""
    cdef Py_ssize_t chunk = 2 * lanes_of(work) * p.panels, at = 0, here
    while at < m:
        here = min(chunk, m - at)
        if keeps:
            keep_panels(p, theta, how, data, first + at, here, work, B, at, team)
        if Delta != NULL:
            product_panels(p, theta, how, here, <const floating *>work, spare, B, at, team)
        at += here
    if Delta != NULL:
        R_learn(p, data, first, m, work, spare, B, how.plus, Delta, team)


cdef inline void run_few(
    floating *Delta, const plan_t *p, const floating *theta, floating *work, Py_ssize_t B, const curved_t *how,
    const examples_t *data, Py_ssize_t m, team_t *team
) noexcept nogil:
    """Delta += the sum over the first m examples, block by block in one workspace."""
    cdef Py_ssize_t i = 0
    cdef unsigned callers = enter()
    while i < m:
        run_block(p, theta, how, data, i, min(B, m - i), work, <floating *>how.spare, B, True, Delta, team)
        i += B
    leave(callers)


cdef inline void add_block(
    floating *Delta, const sum_t *call, const curved_t *how, Py_ssize_t seat, Py_ssize_t first, Py_ssize_t m
) noexcept nogil:
    """Keep what depends on theta alone if Delta is NULL, else Delta += the sum over the examples."""
    cdef const core_t *core = call.core
    cdef Py_ssize_t B = core.B
    cdef floating *work = <floating *>core.work + (first - how.base if how.kept else seat * B) * how.kept_units
    cdef floating *spare = NULL if Delta == NULL else <floating *>how.spare + seat * B * how.spare_units
    run_block(&core.p, <const floating *>core.theta, how, &call.sources.data, first, m, work, spare, B,
              Delta == NULL or not how.kept, Delta, &call.crew.team)


cdef inline void curved_part(
    const sum_t *call, Py_ssize_t seat, Py_ssize_t k, Py_ssize_t first, Py_ssize_t m, void *into, int member
) noexcept nogil:
    cdef const curved_t *how = <const curved_t *>call.how
    if call.core.format == b"f":
        add_block(<float *>into, call, how, seat, first, m)
    else:
        add_block(<double *>into, call, how, seat, first, m)
