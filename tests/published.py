"""The published numbers. Theta and X are given as matrices; unrolled vectors are column-major."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Case:
    sizes: tuple
    Theta: list
    X: np.ndarray
    labels: np.ndarray  # 0-based
    costs: list  # (lambda, J, absolute tolerance)
    gradient: np.ndarray = None  # at lambda 0, unrolled column-major


def filled(rows, columns, values):
    """A matrix filled column by column"""
    return np.reshape(values, (rows, columns), order="F")


def sines(rows, columns):
    """sin(1), sin(2), ... / 10, column by column"""
    return filled(rows, columns, np.sin(np.arange(1, rows * columns + 1)) / 10)


ALL = np.arange(1, 19) / 10
TINY = Case(
    sizes=(2, 2, 4),
    Theta=[filled(2, 3, ALL[:6]), filled(4, 3, ALL[6:])],
    X=np.cos([[1, 2], [3, 4], [5, 6]]),
    labels=np.array([4, 2, 3]) - 1,
    costs=[
        (0, 7.4070, 5e-5),
        (0, 7.406969856065753, 2e-15),
        (3, 16.457, 5e-4),
        (4, 19.474, 5e-4),
        (4, 19.47363652273242, 8e-15),
    ],
    gradient=np.array(
        [
            0.766138,
            0.979897,
            -0.027540,
            -0.035844,
            -0.024929,
            -0.053862,
            0.883417,
            0.568762,
            0.584668,
            0.598139,
            0.459314,
            0.344618,
            0.256313,
            0.311885,
            0.478337,
            0.368920,
            0.259771,
            0.322331,
        ]
    ),
)

CHECK_NN = Case(
    sizes=(3, 5, 3),
    Theta=[sines(5, 4), sines(3, 6)],
    X=sines(5, 3),
    labels=np.arange(1, 6) % 3,  # y = 1 + mod(1..m, 3), 1-based
    costs=[(0, 2.100950569902465, 2e-15), (3, 2.146359815024358, 2e-15)],
)

SIGMOID_PRIME = np.array([-1, -0.5, 0, 0.5, 1]), [0.196612, 0.235004, 0.25, 0.235004, 0.196612]

# ---------------------------------------------------------------- robust regression

# Brownlee 1965: 21 days of a plant that oxidises ammonia; stack loss, air flow, water temperature, acid concentration
STACKLOSS = np.array(
    [
        [42, 80, 27, 89], [37, 80, 27, 88], [37, 75, 25, 90], [28, 62, 24, 87], [18, 62, 22, 87], [18, 62, 23, 87],
        [19, 62, 24, 93], [20, 62, 24, 93], [15, 58, 23, 87], [14, 58, 18, 80], [14, 58, 18, 89], [13, 58, 17, 88],
        [11, 58, 18, 82], [12, 58, 19, 93], [8, 50, 18, 89], [7, 50, 18, 86], [8, 50, 19, 72], [8, 50, 19, 79],
        [9, 50, 20, 80], [15, 56, 20, 82], [15, 70, 20, 91],
    ],
    dtype=float,
)


@dataclass
class Regression:
    coefficients: list  # intercept, air flow, water temperature, acid concentration
    delta: float = None  # where Huber's loss becomes linear
    sum: float = None  # of the absolute errors


# R: MASS::rlm(stack.loss ~ .), k = 1.345 with the scale 2.441 that it ends with (Venables & Ripley 2002)
HUBER = Regression([-41.02653, 0.82938, 0.92611, -0.12785], delta=1.345 * 2.441)
# R: quantreg::rq(stack.loss ~ stack.x), the example of its help page (Koenker & d'Orey 1987)
LEAST_ABSOLUTE = Regression([-39.68986, 0.83188, 0.57391, -0.06087], sum=42.0812)
