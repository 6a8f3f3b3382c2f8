"""Folds, temperature and intervals agree with their formulas, by hand and by brute force."""

import math

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from fastbp.tabular import calibration, folds, intervals  # noqa: E402
from fastbp.tabular.training import Recipe  # noqa: E402

# ---------------------------------------------------------------- folds


def held_out(splits):
    return [rows.tolist() for _, rows in splits]


@pytest.mark.parametrize(("m", "n", "sizes"), [(16, 8, [2] * 8), (17, 4, [5, 4, 4, 4]), (5, 8, [1] * 5 + [1] * 3),
                                               (16, 1, [2]), (16, 11, [2] * 11), (9, 2, [5, 4])])
def test_every_network_holds_out_a_fold_and_a_round_covers_each_row_once(m, n, sizes):
    found = folds.splits(m, n, np.random.default_rng(0))
    assert [len(rows) for _, rows in found] == sizes
    for rows, held in found:
        assert sorted([*rows, *held]) == list(range(m))
    n_folds = min(m, 8 if n == 1 else n, 8)
    if n >= n_folds:
        assert sorted(np.concatenate([held for _, held in found[:n_folds]])) == list(range(m))


def test_a_single_row_is_never_held_out():
    assert held_out(folds.splits(1, 3, np.random.default_rng(0))) == [[], [], []]


def test_each_class_is_spread_over_all_folds():
    labels = np.repeat([0, 1, 2], [70, 22, 8])
    for _, held in folds.splits(100, 4, np.random.default_rng(0), labels=labels):
        assert abs(np.bincount(labels[held], minlength=3) - [17.5, 5.5, 2]).max() <= 1


def test_groups_stay_together_in_folds_of_like_size():
    groups = np.repeat(["a", "b", "c", "d", "e"], [10, 2, 3, 4, 1])
    found = folds.splits(20, 2, np.random.default_rng(0), groups=groups)
    assert [len(held) for _, held in found] == [10, 10]
    for rows, held in found:
        assert not set(groups[rows]) & set(groups[held])
    assert len(folds.splits(20, 8, np.random.default_rng(0), groups=groups)) == 8       # 5 folds, then anew


def test_given_splits_are_checked():
    rng = np.random.default_rng(0)
    mask = np.arange(6) < 4
    (rows, held), = folds.splits(6, 1, rng, cv=[(mask, ~mask)])
    assert (rows.tolist(), held.tolist()) == ([0, 1, 2, 3], [4, 5])
    for cv, message in (([([], [1])], "a split has no rows to train on"), ([([0.5], [1])], "must be indices"),
                        ([([6], [1])], "must be indices of the 6 rows"), ([], "cv has no splits")):
        with pytest.raises(ValueError, match=message):
            folds.splits(6, 2, rng, cv=cv)
    with pytest.raises(ValueError, match="only rows of weight 0 to train on"):
        folds.kept([(np.array([0]), np.array([1]))], np.array([False, True]))


# ---------------------------------------------------------------- temperature


def test_temperature_is_the_most_likely_one():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20_000, 3)) * 2
    p = np.exp(calibration.log_softmax(z))
    labels = (rng.random((20_000, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    for factor in (0.5, 1.0, 3.0):
        assert calibration.temperature(z * factor, labels) == pytest.approx(factor, rel=0.03)
    weights = np.repeat([1.0, 1e-12], 10_000)
    assert calibration.temperature(z, labels, weights) == pytest.approx(
        calibration.temperature(z[:10_000], labels[:10_000]), rel=0.01)


def test_few_rows_leave_the_temperature_near_1_and_none_at_1():
    assert calibration.temperature(np.empty((0, 2)), np.empty(0, np.int64)) == 1
    assert 0.3 < calibration.temperature(np.array([[5.0, 0.0]]), np.array([0])) < 1
    assert calibration.temperature(np.tile([[50.0, 0.0]], (1000, 1)), np.ones(1000, np.int64)) <= math.exp(3) * 1.01


def test_probabilities_are_the_mean_of_softmaxes():
    z = [np.array([[0.0, 2.0]], np.float32), np.array([[4.0, 0.0]], np.float32)]
    expected = (np.array([1, math.e]) / (1 + math.e) + np.array([math.e**2, 1]) / (1 + math.e**2)) / 2
    assert np.allclose(calibration.probabilities(z, 2.0), expected)


def test_log_probabilities_of_far_logits_are_finite():
    assert calibration.log_softmax(np.array([[1e4, -1e4]])).tolist() == [[0.0, -2e4]]


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize("coverage", [0.001, 0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("n", [9, 19, 42])
def test_the_half_width_is_the_least_that_covers_its_part_of_the_rows_and_one_more(n, coverage):
    residuals = np.sort(np.abs(np.random.default_rng(0).normal(size=n)))
    enough = [r for r in residuals if np.sum(residuals <= r) >= coverage * (n + 1) - 1e-9]
    assert intervals.half_width(residuals, coverage) == (enough[0] if enough else np.inf)


def test_intervals_beyond_the_rows_are_infinite():
    assert intervals.half_width(np.arange(5.0), 0.9) == np.inf
    assert intervals.half_width(np.arange(9.0), 0.9) == 8.0     # the 9th of 9
    assert intervals.half_width(np.empty(0), 0.5) == np.inf


def test_intervals_cover_what_they_promise():
    y = np.abs(np.random.default_rng(0).normal(size=(4000, 41)))
    covered = [intervals.half_width(np.sort(row[:-1]), 0.8) >= row[-1] for row in y]
    assert 0.785 < np.mean(covered) < 0.825     # 33 of 41


# ---------------------------------------------------------------- epochs


def test_epochs_fall_so_that_the_steps_stay_until_they_are_half_as_many():
    assert [Recipe().epochs(m) for m in (1, 5000, 7500, 10_000, 10**6)] == [60, 60, 40, 30, 30]
