"""Derivatives of each example as rows, flat like theta, from a delta(L) in the workspace of its block.

`spare` is a second workspace of the same layout, which holds a and delta by rows.
"""

from cython cimport floating

from _backprop cimport next_units, team_t
from _kernels cimport activate_backward, layer_backward, padded, plan_t, to_rows


cdef inline void go_back(
    const plan_t *p, const floating *theta, Py_ssize_t m, floating *work, Py_ssize_t B, team_t *team
) noexcept nogil:
    """delta(l) = (delta(l+1) Theta(l))[without bias] .* g'(Z(l)),  l = L-1 .. 2; g'(z) stays for another pass."""
    cdef Py_ssize_t l, n, k, i, j
    cdef floating *delta
    for l in range(p.L - 1, 1, -1):
        n, k, delta, i = p.s[l], p.s[l - 1], work + B * p.delta[l - 1], 0
        while i < k:
            j = next_units(p, i, k, m * n, team)
            if j == 0:
                return
            layer_backward(m, n, i, j, k, theta + p.theta[l], <const floating *>(work + B * p.delta[l]), delta)
            i = j
        activate_backward(<int>p.g[l - 1], padded(m, work) * k, <const floating *>(work + B * p.a[l - 1]),
                          <const floating *>(work + B * p.rows[l - 1]), delta)


cdef inline void rows_of_a(const plan_t *p, Py_ssize_t m, floating *work, Py_ssize_t B, floating *spare) noexcept nogil:
    """a(1) .. a(L-1) by rows"""
    cdef Py_ssize_t l
    for l in range(p.L - 1):
        to_rows(m, p.s[l], <const floating *>(work + B * p.a[l]), spare + B * p.rows[l], p.s[l])


cdef inline void outer(
    const plan_t *p, Py_ssize_t m, floating *work, Py_ssize_t B, floating *spare, Py_ssize_t step, floating *out
) noexcept nogil:
    """delta(l+1) [1, a(l)]' of each example, flat like theta, rows `step` apart"""
    cdef Py_ssize_t l, e, r, j, n, k
    cdef const floating *a
    cdef const floating *delta
    cdef floating *D
    for l in range(1, p.L):
        n, k = p.s[l], p.s[l - 1]
        to_rows(m, n, <const floating *>(work + B * p.delta[l]), spare + B * p.delta[l], n)
        for e in range(m):
            a, delta = spare + B * p.rows[l - 1] + e * k, spare + B * p.delta[l] + e * n
            D = out + e * step + p.theta[l]
            for r in range(n):
                D[0] = delta[r]
                for j in range(k):
                    D[1 + j] = delta[r] * a[j]
                D += k + 1
