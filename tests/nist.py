"""Four nonlinear regression problems of NIST's StRD that are networks: data, starts, certified values."""

from dataclasses import dataclass

import numpy as np

import fastbp


def _row(text):
    return np.array(text.split(), float)


@dataclass
class Nist:
    """x and y as published, Theta of a start, the free parameters, and the certified values in terms of theta."""

    x: np.ndarray
    y: np.ndarray
    layer_sizes: list
    activation: str
    Theta: object
    free: np.ndarray
    values: object
    certified: list
    rss: float
    starts: list

    def network(self, start, dtype=np.float64):
        return fastbp.Network(self.layer_sizes, activation=self.activation, output="identity", dtype=dtype,
                              init=self.Theta(start))

    def digits(self, result):
        """The fewest correct digits of a value, and the correct digits of the sum of squares"""
        values = np.array(self.values(result.x))
        if len(values) == 5 and values[3] > values[4]:      # the two units of MGH17 are swapped
            values = values[[0, 2, 1, 4, 3]]
        off = np.append(np.abs(values / self.certified - 1), abs(2 * len(self.x) * result.fun / self.rss - 1))
        off = -np.log10(np.maximum(off, 1e-12))
        return off[:-1].min(), off[-1]


def _exponential(b):
    """b1 (1 - exp(-b2 x))"""
    return [[[0, -b[1]]], [[0, -b[0]]]]


_SECOND = np.array([False, True, False, True])

PROBLEMS = {
    "Misra1a": Nist(
        _row("77.6 114.9 141.1 190.8 239.9 289 332.8 378.4 434.8 477.3 536.8 593.1 689.1 760"),
        _row("10.07 14.73 17.94 23.93 29.61 35.18 40.02 44.82 50.76 55.05 61.01 66.4 75.47 81.78"),
        [1, 1, 1], "elu", _exponential, _SECOND, lambda t: [-t[3], -t[1]], [2.3894212918e2, 5.5015643181e-4],
        1.2455138894e-1, [(500, 1e-4), (250, 5e-4)]),
    "BoxBOD": Nist(
        _row("1 2 3 5 7 10"), _row("109 149 149 191 213 224"), [1, 1, 1], "elu", _exponential, _SECOND,
        lambda t: [-t[3], -t[1]], [2.1380940889e2, 5.4723748542e-1], 1.1680088766e3, [(1, 1), (100, 0.75)]),
    "Rat42": Nist(
        _row("9 14 21 28 42 57 63 70 79"), _row("8.93 10.8 18.59 22.33 39.35 56.11 61.73 64.62 67.08"), [1, 1, 1],
        "sigmoid", lambda b: [[[-b[1], b[2]]], [[0, b[0]]]], np.array([True, True, False, True]),
        lambda t: [t[3], -t[0], t[1]], [7.2462237576e1, 2.6180768402, 6.7359200066e-2], 8.0565229338,
        [(100, 1, 0.1), (75, 2.5, 0.07)]),
    "MGH17": Nist(
        np.arange(0, 321, 10.0),
        _row(".844 .908 .932 .936 .925 .908 .881 .85 .818 .784 .751 .718 .685 .658 .628 .603 .58 .558 .538 .522 .506 "
             ".49 .478 .467 .457 .448 .438 .431 .424 .42 .414 .411 .406"),
        [1, 2, 1], "elu", lambda b: [[[0, -b[3]], [0, -b[4]]], [[b[0] + b[1] + b[2], b[1], b[2]]]],
        np.array([False, True, False, True, True, True, True]),
        lambda t: [t[4] - t[5] - t[6], t[5], t[6], -t[1], -t[3]],
        [3.7541005211e-1, 1.9358469127, -1.4646871366, 1.2867534640e-2, 2.2122699662e-2], 5.4648946975e-5,
        [(50, 150, -100, 1, 2), (0.5, 1.5, -1, 0.01, 0.02)]),
}
