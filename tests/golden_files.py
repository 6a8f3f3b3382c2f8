"""What the files in tests/golden hold: written by the first release of their format, never written again."""

from pathlib import Path

import numpy as np

import fastbp

GOLDEN = Path(__file__).parent / "golden"


def exact(n, dtype=np.float64):
    """n values that every machine makes alike: eighths around 0, no two alike, then extremes of the dtype"""
    values = ((np.arange(n) * 5) % n - n // 2).astype(dtype) / dtype(8)
    values[-4:] = [-0.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max, -np.finfo(dtype).tiny]
    return values


def with_theta(*args, **options):
    net = fastbp.Network(*args, seed=0, **options)
    net.theta = exact(net.n_parameters, net.dtype.type)
    return net


def started():
    net = fastbp.Network([2, 2, 1], init=[[[-30, 20, 20], [10, -20, -20]], [[-10, 20, 20]]])
    net.theta = exact(net.n_parameters)
    return net


NETWORKS = {
    "xnor_float64": started,
    "softmax_float32": lambda: with_theta([4, 8, 3], activation="tanh", output="softmax", dtype=np.float32),
    "deep_float64": lambda: with_theta(
        [3, 4, 5, 6, 2], activation=["relu", "gelu", "softplus"], output="identity", loss="squared_error",
        init="normal", eps=0.05,
    ),
    "no_hidden_float32": lambda: with_theta(
        [3, 2], output="exp", loss="poisson", dtype=np.float32, init="uniform"
    ),
    "huber_float32": lambda: with_theta(
        [2, 3, 1], activation="softplus", output="identity", loss="huber", huber_delta=1.35, dtype=np.float32
    ),
    "all_activations_float64": lambda: with_theta(
        [1] * 11, output="tanh", loss="squared_error", init="he_normal",
        activation=["sigmoid", "tanh", "relu", "identity", "leaky_relu", "elu", "softplus", "silu", "gelu"],
    ),
}

VALUES = (
    {
        "a.bool": np.array([[True, False, True]]),
        "b-uint8": np.arange(256, dtype=np.uint8),
        "c": np.array([-(2**31), -1, 0, 2**31 - 1], np.int32),
        "d": np.array([0, 2**32 - 1], np.uint32),
        "e": np.array([[-(2**63)], [2**63 - 1]], np.int64),
        "f": np.array(2**64 - 1, np.uint64),
        "g": np.array([0x7FC00001, 0xFF800000, 0x80000000], np.uint32).view(np.float32),
        "h": np.array([0x7FF8000000000123, 0xFFF0000000000000, 1], np.uint64).view(np.float64),
        "_empty": np.empty((3, 0, 2**40), np.float64),
        "none": np.empty(0, bool),
    },
    {
        "generator": {"bit_generator": "PCG64", "state": {"state": 2**127 + 45, "inc": -(2**127) + 1}, "has_uint32": 0},
        "huge": -(10**599),
        "history": [0.1, 1e-300, -0.0, 5e-324, 1.7976931348623157e308, 1, None, True, False],
        "text": "Θ, \U0001f9e0, \"quoted\", back\\slash, \u0000 and \n",
        "nested": [[[[{"": [{}]}]]]],
    },
)
