"""The roofline of a workload: no program can be faster on this machine.

It is the time of the operations at the peak rate of multiply-adds, or of the bytes of theta at the bandwidth of the
cache that holds them, whichever is longer. Both rates were measured in the same run (ceiling.py). X and Y, activations,
g and the cost, biases and an optimizer's moments are not counted, so that it is a bound.
"""

import itertools

# How often a kind reads theta, and reads and writes something of its size, for each example, batch or call.
FORWARD, BACKWARD = ("predict", "evaluate"), ("train", "step", "gradient", "minimize", "product")


def multiply_adds(workload):
    """Return the multiply-adds of one example: forward, Delta, and delta of all layers except the inputs. A product
    with the Hessian needs these and their derivatives along p, which take two products, with Theta and with p.
    """
    products = [k * n for k, n in itertools.pairwise(workload.layer_sizes)]
    forward, delta = sum(products), sum(products[1:])
    if workload.kind == "product":
        return 3 * forward + 5 * delta
    return forward if workload.kind in FORWARD else 2 * forward + delta


def passes(workload, m):
    """Return the examples of a run: L-BFGS evaluates at its start and at least once per iteration."""
    return m * workload.epochs * (workload.iterations + 1 if workload.kind == "minimize" else 1)


def operations(workload, m):
    """Return the operations of a run; a multiply-add counts as two."""
    return 2 * multiply_adds(workload) * passes(workload, m)


def sweeps(workload, m):
    """Return how often a run goes over theta: once per example, batch, call or evaluation."""
    if workload.kind == "train":
        return -(-m // workload.batch_size) * workload.epochs
    return passes(workload, m) // m * workload.calls(m)


def traffic(workload, m, itemsize):
    """Return the bytes of theta (of D, if theta does not change) that a run reads and writes."""
    return sweeps(workload, m) * workload.n_parameters * itemsize * (1 if workload.kind in FORWARD else 2)


def level(size, sizes):
    """Return the fastest level of memory that holds `size` bytes."""
    return next((name for name in ("L1", "L2", "L3") if size <= sizes[name]), "memory")


def seconds(workload, m, dtype, n_threads, ceiling):
    """Return the seconds of a run: the longer of the two, each divided by the threads.

    `ceiling` is the result of ceiling.measure for one core.
    """
    itemsize = {"float32": 4, "float64": 8}[dtype]
    bandwidth = ceiling["bandwidths"][level(workload.n_parameters * itemsize, ceiling["sizes"])]
    rate = bandwidth["read" if workload.kind in FORWARD else "update"]
    computing = operations(workload, m) / ceiling["flops"][dtype]
    moving = traffic(workload, m, itemsize) / rate
    return max(computing, moving) / n_threads
