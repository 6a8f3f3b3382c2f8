"""What a run is judged by: a few float64 figures that every peer must agree on."""

import numpy as np

ACTIVATIONS = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "identity": lambda z: z,
}
TOLERANCE = {"float32": 2e-2, "float64": 5e-3}  # rounding alone moves J by 1 % in an online epoch of ReLU, float32


def cost(problem, Theta, rows=5_000):
    """Return J of Theta over the first rows examples, in float64, from z(L)."""
    workload = problem.workload
    a, Y = problem.X[:rows].astype(np.float64), problem.Y[:rows]
    for l, T in enumerate(Theta):
        z = a @ T[:, 1:].T.astype(np.float64) + T[:, 0]
        a = ACTIVATIONS[workload.activation](z) if l < len(Theta) - 1 else z
    if workload.loss == "squared_error":
        J = 0.5 * np.sum((ACTIVATIONS[workload.output](z) - Y) ** 2)
    elif workload.output == "softmax":
        J = np.sum(np.logaddexp.reduce(z, axis=1) - np.sum(z * Y, axis=1))
    else:
        J = np.sum(np.logaddexp(0, z) - Y * z)
    penalty = sum(np.sum(T[:, 1:].astype(np.float64) ** 2) for T in Theta)
    return J / len(a) + workload.weight_decay / 2 * penalty


def figures(problem, outcome):
    """Return what the peers are compared by.

    After training J; of a gradient J, the length of D and its product with a fixed direction; of a product with the
    Hessian these two of H p; of an evaluation J and the accuracy; of predictions h(x).
    """
    kind = problem.workload.kind
    if kind in ("train", "step", "minimize"):
        return [float(cost(problem, outcome))]
    if kind == "gradient":
        return [float(outcome[0]), *lengths(outcome[1])]
    if kind == "product":
        return lengths(outcome)
    if kind == "evaluate":
        return [float(part) for part in outcome]
    return np.ravel(outcome).astype(float).tolist()


def lengths(parts):
    """Return the length of a vector, given in the shapes of Theta, and of its product with a fixed direction."""
    flat = np.concatenate([np.ravel(part).astype(np.float64) for part in parts])
    return [float(np.linalg.norm(flat)), float(np.linalg.norm(flat * np.cos(np.arange(flat.size))))]


def agree(ours, theirs, dtype):
    """Return whether two lists of figures say the same: one training, whatever the rounding; exactness is for tests."""
    ours, theirs = np.array(ours), np.array(theirs)
    return bool(np.all(np.abs(ours - theirs) <= TOLERANCE[dtype] * np.max(np.abs(theirs))))
