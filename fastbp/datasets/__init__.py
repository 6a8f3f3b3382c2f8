"""Data sets in the package."""

from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Digits", "load_digits"]


class Digits(NamedTuple):
    """The result of `load_digits`.

    Attributes
    ----------
    X : ndarray (1797, 64) uint8
        Grey values from 0 to 16.
    y : ndarray (1797,) int64
        The digits.

    See Also
    --------
    load_digits

    Examples
    --------
    >>> import fastbp
    >>> fastbp.datasets.load_digits().X[0].reshape(8, 8)[3]
    array([ 0,  4, 12,  0,  0,  8,  8,  0], dtype=uint8)
    """

    X: NDArray[np.uint8]
    y: NDArray[np.int64]


def load_digits() -> Digits:
    """1797 handwritten digits as images of 8 x 8 pixels.

    Returns
    -------
    Digits
        X : (1797, 64) uint8, grey values 0 .. 16, row by row; y : (1797,) int64, the digits 0 .. 9.

    See Also
    --------
    Digits

    Notes
    -----
    The test set of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0; see digits.md beside the file.

    Examples
    --------
    >>> import fastbp
    >>> X, y = fastbp.datasets.load_digits()
    >>> X.shape, y[:3]
    ((1797, 64), array([0, 1, 2]))
    """
    with files(__name__).joinpath("digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Digits(arrays["X"], arrays["y"].astype(np.int64))
