"""A problem: a workload with its arrays, the same for every peer; made once, read by every worker."""

import itertools
from dataclasses import dataclass

import numpy as np

from . import data
from .workloads import WORKLOADS, Workload


@dataclass(frozen=True)
class Problem:
    """The workload, X (m, s_1), Y (m, K), the start weights Theta(l) (s_{l+1}, s_l + 1), and the number of threads."""

    workload: Workload
    X: np.ndarray
    Y: np.ndarray
    Theta: list
    n_threads: int = 1

    @property
    def dtype(self):
        """float32 or float64."""
        return self.X.dtype

    @property
    def m(self):
        """Number of examples."""
        return len(self.X)

    @property
    def labels(self):
        """The class of each example."""
        return self.Y.argmax(axis=1)

    @property
    def direction(self):
        """p, in the shapes of Theta: the vector that is multiplied by H."""
        rng = np.random.default_rng(2)
        return [rng.standard_normal(T.shape).astype(T.dtype) for T in self.Theta]

    def examples(self, *arrays):
        """Return the rows of the arrays as tuples, one for each call; a single tuple if one call takes all rows."""
        rows = self.workload.rows or self.m
        return [tuple(array[i : i + rows] for array in arrays) for i in range(0, self.m, rows)]

    def inputs(self, X):
        """Return the input of each prediction: a matrix of `rows` rows, or a vector."""
        return [x for (x,) in self.examples(X)] if self.workload.rows else list(X)


def start_weights(layer_sizes, seed=1):
    """Return Theta, Glorot uniform with biases 0: the start weights of all peers."""
    rng = np.random.default_rng(seed)
    Theta = []
    for n_in, n_out in itertools.pairwise(layer_sizes):
        bound = np.sqrt(6 / (n_in + n_out))
        Theta.append(np.hstack([np.zeros((n_out, 1)), rng.uniform(-bound, bound, (n_out, n_in))]))
    return Theta


def write(path, workload, dtype, full, mnist_path=None):
    """Make the arrays of a workload and write them, in dtype, for the workers to read."""
    X, Y = data.make(workload, workload.size(full), mnist_path)
    Theta = start_weights(workload.layer_sizes)
    arrays = {"X": X, "Y": Y, **{f"Theta{i}": T for i, T in enumerate(Theta)}}
    np.savez(path, **{name: np.ascontiguousarray(array, dtype) for name, array in arrays.items()})


def read(path, name, n_threads):
    """Return the Problem of the workload called name."""
    with np.load(path) as file:
        arrays = dict(file)
    Theta = [arrays[f"Theta{i}"] for i in range(len(arrays) - 2)]
    return Problem(WORKLOADS[name], arrays["X"], arrays["Y"], Theta, n_threads)
