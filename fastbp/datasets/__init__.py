"""Data sets in the package."""

from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Digits(NamedTuple):
    """The result of `load_digits`."""

    X: NDArray[np.uint8]
    y: NDArray[np.int64]


def load_digits() -> Digits:
    """1797 handwritten digits as images of 8 x 8 pixels.

    Returns
    -------
    Digits
        X : (1797, 64) uint8, grey values 0 .. 16, row by row; y : (1797,) int64, the digits 0 .. 9.

    Notes
    -----
    The test set of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0; see digits.md beside the file.
    """
    with files(__name__).joinpath("digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Digits(arrays["X"], arrays["y"].astype(np.int64))
