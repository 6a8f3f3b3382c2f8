"""The floor: the same GEMMs alone, or the bytes an online step cannot avoid; and the machine's ceilings."""

import time

import numpy as np
import scipy

LABELS = ("floor",)
SMALLEST = 32 * 1024  # bytes: below this an operation of NumPy is all overhead, so smaller weights are swept in bulk
BLOCKS = (500, 1_000, 2_000)  # rows of a full-batch block: the fastest counts


def version(_n_threads):
    """Name the version."""
    return f"NumPy {np.__version__}, SciPy {scipy.__version__}"


class Floor:
    """Nothing to reset, nothing to show."""

    def reset(self):
        """Nothing to do."""

    def outcome(self):
        """Train nothing."""


class Gemms(Floor):
    """Z = A W', delta W and delta' A of every batch, nothing else."""

    def __init__(self, problem, rows):
        sizes, dtype = problem.workload.layer_sizes, problem.dtype
        self.X, self.rows = problem.X, rows
        self.W = [np.ascontiguousarray(T[:, 1:]) for T in problem.Theta]
        self.D = [np.empty_like(W) for W in self.W]
        self.a, self.delta = ([np.full((rows, n), 0.5, dtype) for n in sizes[1:]] for _ in range(2))

    def run(self):
        """Sweep over the examples."""
        for i in range(0, len(self.X), self.rows):
            X = v = self.X[i : i + self.rows]
            for W, a in zip(self.W, self.a, strict=True):
                np.dot(v, W.T, a)
                v = a
            for l in range(len(self.W) - 1, -1, -1):
                np.dot(self.delta[l].T, self.a[l - 1] if l else X, self.D[l])
                if l:
                    np.dot(self.delta[l], self.W[l], self.delta[l - 1])


class Traffic(Floor):
    """Every weight read and written once per example at the speed of its cache, and X read once."""

    def __init__(self, problem):
        size = problem.workload.n_parameters * problem.dtype.itemsize
        self.weights = np.ones(max(size, SMALLEST) // problem.dtype.itemsize, problem.dtype)
        self.sweeps = max(1, round(problem.m * size / self.weights.nbytes))
        self.X = problem.X.ravel()

    def run(self):
        """Sweep the weights in place, then X."""
        weights, one = self.weights, self.weights.dtype.type(1)
        for _ in range(self.sweeps):
            np.multiply(weights, one, weights)
        self.X.max()


def prepare(problem, _label):
    """Return the floor of the workload; predictions have none (a call costs more than its bytes)."""
    workload = problem.workload
    if workload.kind == "predict":
        return None
    if workload.online:
        return Traffic(problem)
    if workload.kind == "train":
        return Gemms(problem, workload.batch_size)
    forms = [Gemms(problem, rows) for rows in BLOCKS if problem.m % rows == 0] or [Gemms(problem, problem.m)]
    return min(forms, key=lambda form: fastest(form.run))


def fastest(run, times=3):
    """Return the shortest of a few runs, in seconds."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def ceilings(dtype):
    """Return what one process reaches: GEMM 2048^3 in GFLOP/s, STREAM's triad in GB/s."""
    n = 2_048
    A, C = np.full((n, n), 0.5, dtype), np.empty((n, n), dtype)
    b, c, a = (np.ones(64 * 2**20 // A.itemsize, dtype) for _ in range(3))
    scalar = a.dtype.type(3)

    def triad():
        np.multiply(c, scalar, out=a)
        np.add(a, b, out=a)

    np.dot(A, A, C)
    triad()
    return {
        "gemm_gflops": 2 * n**3 / fastest(lambda: np.dot(A, A, C)) / 1e9,
        "bandwidth_gb_s": 5 * a.nbytes / fastest(triad) / 1e9,
    }
