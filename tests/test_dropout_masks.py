"""The masks of dropout as random numbers: rates, neighbours, uniformity."""

import math

import numpy as np
import pytest
import reference
from reference import draws


def test_absorb_is_splitmix64():
    """The first numbers of the published generator for seed 1234567"""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [int(reference.absorb(1234567, i)) for i in range(4)] == expected


# rows and columns of a table of draws
TABLES = [1000, pytest.param(2000, marks=pytest.mark.slow)]


def normal(count, expected, variance):
    """(count - expected) / its standard deviation"""
    return (count - expected) / np.sqrt(variance)


@pytest.mark.parametrize("n", TABLES)
@pytest.mark.parametrize("along", ["examples", "units", "steps", "layers", "seeds"])
def test_rate_is_right_along_every_direction(along, n):
    """A table of n^2 draws: what is dropped in each row and each column, by chi-square"""
    table = {
        "examples": lambda: draws(1, 0, 1, np.arange(n), n),
        "units": lambda: draws(2, 5, 2, np.arange(n), n).T,
        "steps": lambda: np.array([draws(3, t, 1, [0], n)[0] for t in range(n)]),
        "layers": lambda: np.array([draws(4, 0, l, [7], n)[0] for l in range(n)]),
        "seeds": lambda: np.array([draws(seed, 0, 1, [3], n)[0] for seed in range(n)]),
    }[along]()
    for p in (0.01, 0.2, 0.5, 0.9):
        dropped = table < int(p * 2**32)
        assert abs(normal(dropped.sum(), n * n * p, n * n * p * (1 - p))) < 4.5
        for axis in (0, 1):
            z = normal(dropped.sum(axis=axis), n * p, n * p * (1 - p))
            assert abs(normal((z**2).sum(), n, 2 * n)) < 5
            assert np.abs(z).max() < 6


NEIGHBOURS = {
    "examples": ({}, {"examples": 1}),
    "examples far apart": ({}, {"examples": 65536}),
    "steps": ({}, {"step": 1}),
    "layers": ({}, {"layer": 1}),
    "seeds": ({}, {"seed": 1}),
    "highest bit of the seed": ({}, {"seed": 2**62}),
    "unit and example": ({}, {"examples": 1, "shift": 1}),
    "step and layer": ({"layer": 1}, {"step": 1}),
    "seed and step": ({"seed": 1}, {"step": 1}),
}


@pytest.mark.parametrize("n", TABLES)
@pytest.mark.parametrize("neighbours", NEIGHBOURS)
def test_masks_of_neighbours_are_uncorrelated(neighbours, n):
    """Each bit of n^2 pairs of draws"""
    def table(seed=0, step=0, layer=0, examples=0, shift=0):
        return draws(11 + seed, 3 + step, 1 + layer, np.arange(n) + examples, n + 1)[:, shift : n + shift]

    one, other = (table(**where) for where in NEIGHBOURS[neighbours])
    differ = one ^ other
    for bit in range(32):
        assert abs(normal((differ >> bit & 1).sum(), differ.size / 2, differ.size / 4)) < 5
    a, b = one / 2**32 - 0.5, other / 2**32 - 0.5
    assert abs((a * b).mean() * 12 * math.sqrt(a.size)) < 5
    for mask in (one < 2**30, one < 2**28):  # dropped by both
        share = mask.mean()
        both = (mask & (other < (2**30 if share > 0.2 else 2**28))).sum()
        assert abs(normal(both, mask.size * share**2, mask.size * share**2)) < 5


@pytest.mark.parametrize("n", TABLES)
def test_neighbouring_units_are_uncorrelated_and_no_column_comes_again(n):
    table = draws(17, 2, 1, np.arange(n), 1501)
    a = table / 2**32 - 0.5
    for lag in (1, 2, 8, 16, 500):
        assert abs((a[:, lag:] * a[:, :-lag]).mean() * 12 * math.sqrt(a[:, lag:].size)) < 5
        assert abs((a[lag:] * a[:-lag]).mean() * 12 * math.sqrt(a[lag:].size)) < 5
    # n draws of 32 bits: about n^2 / 2^33 pairs alike, and no run of examples twice
    n, flat = table.size, np.sort(table, axis=None)     # np.unique takes ten times as long
    alike = (flat[1:] == flat[:-1]).sum()
    assert abs(normal(alike, n * n / 2**33, n * n / 2**33)) < 6
    assert len(np.unique(table[:2].T, axis=0)) == 1501


def test_values_are_uniform():
    """256 bins of 16 million draws, by the high and by the low bits"""
    table = draws(23, 0, 2, np.arange(4000), 4000)
    for bins in (table >> 24, table & 255):
        counts = np.bincount(bins.ravel().astype(np.int64), minlength=256)
        chi2 = ((counts - table.size / 256) ** 2 / (table.size / 256)).sum()
        assert abs(normal(chi2, 255, 2 * 255)) < 5
