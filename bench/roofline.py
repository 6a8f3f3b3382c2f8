"""The roofline of a workload: no program can be faster on this machine.

The operations at the peak of the multiply-adds, or the bytes of theta at the bandwidth of the cache they fit in,
whichever is longer. Both were measured in the same run (ceiling.py). Not counted, so that it stays a bound: X and Y,
activations, g and the cost, biases, an optimizer's moments.
"""

import itertools

# How often a kind reads theta, and reads and writes something of its size, for each example, batch or call.
FORWARD, BACKWARD = ("predict", "evaluate"), ("train", "step", "gradient", "minimize", "product")


def multiply_adds(workload):
    """Return the multiply-adds of one example: forward, Delta, and delta of all layers but the inputs. A product with
    the Hessian has these, and their derivatives along p, for which the products with Theta and p are two.
    """
    products = [k * n for k, n in itertools.pairwise(workload.layer_sizes)]
    forward, delta = sum(products), sum(products[1:])
    if workload.kind == "product":
        return 3 * forward + 5 * delta
    return forward if workload.kind in FORWARD else 2 * forward + delta


def passes(workload, m):
    """Return how many examples a run works through: L-BFGS evaluates at its start and once an iteration at least."""
    return m * workload.epochs * (workload.iterations + 1 if workload.kind == "minimize" else 1)


def operations(workload, m):
    """Return the operations of a run, a multiply-add counted as two."""
    return 2 * multiply_adds(workload) * passes(workload, m)


def sweeps(workload, m):
    """Return how often a run goes over theta: once an example, batch, call or evaluation."""
    if workload.kind == "train":
        return -(-m // workload.batch_size) * workload.epochs
    return passes(workload, m) // m * workload.calls(m)


def traffic(workload, m, itemsize):
    """Return the bytes of theta (of D, where theta stays) a run reads and writes."""
    return sweeps(workload, m) * workload.n_parameters * itemsize * (1 if workload.kind in FORWARD else 2)


def level(size, sizes):
    """Return the fastest place `size` bytes fit in."""
    return next((name for name in ("L1", "L2", "L3") if size <= sizes[name]), "memory")


def seconds(workload, m, dtype, n_threads, ceiling):
    """Return the seconds of a run: the longer of the two, each divided by the threads.

    `ceiling` is what ceiling.measure returned, of one core.
    """
    itemsize = {"float32": 4, "float64": 8}[dtype]
    bandwidth = ceiling["bandwidths"][level(workload.n_parameters * itemsize, ceiling["sizes"])]
    rate = bandwidth["read" if workload.kind in FORWARD else "update"]
    computing = operations(workload, m) / ceiling["flops"][dtype]
    moving = traffic(workload, m, itemsize) / rate
    return max(computing, moving) / n_threads
