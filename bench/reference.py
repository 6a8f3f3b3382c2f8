"""The check of a run: a few float64 figures on which every peer must agree."""

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
    """Return the figures by which the peers are compared.

    After training, J; for a gradient, J, the length of D and its product with a fixed direction; for a product with the
    Hessian, the last two for H p; for an evaluation, J and the accuracy; for predictions, h(x).
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
    """Return whether two lists of figures agree up to the rounding of a training run; the tests check exactness."""
    ours, theirs = np.array(ours), np.array(theirs)
    return bool(np.all(np.abs(ours - theirs) <= TOLERANCE[dtype] * np.max(np.abs(theirs))))
