"""The digits in the package."""

from pathlib import Path

import numpy as np
import pytest

from fastbp.datasets import load_digits


def test_digits_are_uci_optical_digits():
    X, y = load_digits()
    assert X.shape == (1797, 64)
    assert y.shape == (1797,)
    assert X.min() == 0
    assert X.max() == 16
    np.testing.assert_array_equal(np.bincount(y), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    theirs = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed").load_digits()
    np.testing.assert_array_equal(X, theirs.data)
    np.testing.assert_array_equal(y, theirs.target)


def test_digits_are_the_callers_own():
    X, y = load_digits()
    X[:], y[:] = 0, 0
    again, labels = load_digits()
    assert again.any()
    assert labels.any()


def test_source_and_licence_of_the_digits_are_named():
    import fastbp.datasets

    folder = Path(fastbp.datasets.__file__).parent
    texts = load_digits.__doc__ + "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.md"))
    assert "UCI" in texts
    assert "CC BY 4.0" in texts
