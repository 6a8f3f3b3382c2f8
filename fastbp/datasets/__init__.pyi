from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

class Digits(NamedTuple):
    X: NDArray[np.uint8]
    y: NDArray[np.int64]

def load_digits() -> Digits: ...
