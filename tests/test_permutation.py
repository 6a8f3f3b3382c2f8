"""The order of an epoch: numpy's permutation, drawn in compiled code."""

import numpy as np
import pytest

from fastbp import _epoch
from fastbp.training.feed import permutation

GENERATORS = [np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64]


@pytest.mark.parametrize("bits", GENERATORS)
def test_an_order_has_the_bits_of_numpys_permutation(bits):
    """Later draws are also the same"""
    for seed in range(5):
        own, numpys = (np.random.Generator(bits(seed)) for _ in range(2))
        for m in (*range(20), 255, 256, 257, 258, 512, 513, 1400, 65_536, 65_537):
            order = permutation(own, m)
            assert order.dtype == np.int64
            assert np.array_equal(order, numpys.permutation(m))
        assert own.bit_generator.random_raw() == numpys.bit_generator.random_raw()


def test_a_generator_of_ones_own_draws_the_order_itself():
    class Backwards(np.random.Generator):
        def permutation(self, m):
            return np.arange(m)[::-1]

    assert permutation(Backwards(np.random.PCG64(0)), 3).tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    "order", [np.empty(3, np.int32), np.empty((3, 1), np.int64), np.empty(6, np.int64)[::2], [0, 1]]
)
def test_compiled_code_writes_into_nothing_else(order):
    with pytest.raises((TypeError, ValueError), match="order must"):
        _epoch.permutation(np.random.PCG64(0), order)
    frozen = np.zeros(3, np.int64)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="order is read-only"):
        _epoch.permutation(np.random.PCG64(0), frozen)


def test_whoever_has_the_capsule_of_another_is_refused():
    """The capsule would outlive its owner"""
    class Thief:
        bits = np.random.PCG64(0)
        capsule, lock = bits.capsule, bits.lock

    for bad in (Thief(), object(), None, np.random.default_rng(0)):
        with pytest.raises(TypeError, match="bit_generator must be a numpy BitGenerator"):
            _epoch.permutation(bad, np.empty(3, np.int64))


def test_fault_54_a_generator_without_functions_is_refused():
    """numpy itself would crash"""
    class Empty(np.random.BitGenerator):
        pass

    with pytest.raises(ValueError, match="bit_generator draws no numbers; got Empty"):
        _epoch.permutation(Empty(0), np.empty(3, np.int64))
