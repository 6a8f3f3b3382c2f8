"""The random order of the examples of an epoch."""

from libc.stdint cimport int64_t, uint32_t

cdef extern from "numpy/random/bitgen.h":
    ctypedef struct bitgen_t:
        void *state
        uint32_t (*next_uint32)(void *) noexcept nogil

cdef enum:
    DRAWN = 256     # places drawn before the first swap


cdef inline void shuffle(bitgen_t *random, int64_t *at, Py_ssize_t m) noexcept nogil:
    """Fisher & Yates: swap at[i] with one of at[0 .. i], for i = m - 1 .. 1.

    An index is drawn with as many random bits as i has, and drawn again if it is above i. No branch depends on that,
    since a processor could not predict it.
    """
    cdef uint32_t places[DRAWN]
    cdef uint32_t i = <uint32_t>m - 1 if m else 0, mask = i, k, n
    for k in range(5):
        mask |= mask >> (1 << k)
    while i:
        n, k = min(i, <uint32_t>DRAWN), 0
        while k < n:
            places[k] = random.next_uint32(random.state) & mask
            k += places[k] <= i - k
            mask >>= i - k <= mask >> 1
        for k in range(n):
            at[i - k], at[places[k]] = at[places[k]], at[i - k]
        i -= n
