"""FANN (Debian: libfann-dev) through ctypes: one call of fann_train_epoch, incremental; and fann_run row by row.

FANN has no cross-entropy and no ReLU: its only loss is half the squared error. On the cross-entropy networks it does
the same work with one more multiplication per output, so it also runs there, and the table marks its loss as different.
"""

import ctypes
import ctypes.util
from ctypes import POINTER, c_float, c_uint, c_void_p

import numpy as np

LABELS = ("FANN",)
NAMES = {"float32": "floatfann", "float64": "doublefann"}
INCREMENTAL, LINEAR_ERROR, SIGMOID = 0, 0, 3  # FANN_TRAIN_INCREMENTAL, FANN_ERRORFUNC_LINEAR, FANN_SIGMOID


def version(_n_threads):
    """Name the library files; ImportError where there are none."""
    found = [ctypes.util.find_library(name) for name in NAMES.values()]
    if None in found:
        raise ImportError("libfloatfann or libdoublefann not found (Debian: libfann-dev)")
    return "FANN " + ", ".join(found)


def library(dtype):
    """Return the library for the dtype, with the types of its functions."""
    fann = ctypes.CDLL(ctypes.util.find_library(NAMES[str(dtype)]))
    real = np.ctypeslib.as_ctypes_type(dtype)
    for name in ("fann_create_standard_array", "fann_copy", "fann_create_train_from_callback"):
        getattr(fann, name).restype = c_void_p
    fann.fann_run.restype = POINTER(real)
    fann.fann_train_epoch.restype = c_float
    return fann, real


class Model:
    """A network with the start weights, and a copy to work on."""

    def __init__(self, problem):
        self.problem = problem
        self.fann, self.real = library(problem.dtype)
        sizes = problem.workload.layer_sizes
        self.template = c_void_p(self.fann.fann_create_standard_array(len(sizes), (c_uint * len(sizes))(*sizes)))
        connections = self.connections(self.template)
        connections["weight"] = np.concatenate([np.roll(T, -1, axis=1).ravel() for T in problem.Theta])
        self.fann.fann_set_weight_array(self.template, c_void_p(connections.ctypes.data), len(connections))
        self.net = None
        self.reset()

    def connections(self, net):
        """Return FANN's list of (from, to, weight): neuron by neuron, the bias last."""
        connection = np.dtype([("from", np.uint32), ("to", np.uint32), ("weight", self.problem.dtype)], align=True)
        array = np.zeros(self.fann.fann_get_total_connections(net), connection)
        self.fann.fann_get_connection_array(net, c_void_p(array.ctypes.data))
        return array

    def reset(self):
        """Take a fresh copy of the start."""
        if self.net is not None:
            self.fann.fann_destroy(self.net)
        self.net = c_void_p(self.fann.fann_copy(self.template))  # copies the weights, not all settings
        self.fann.fann_set_training_algorithm(self.net, INCREMENTAL)
        self.fann.fann_set_train_error_function(self.net, LINEAR_ERROR)
        self.fann.fann_set_activation_function_hidden(self.net, SIGMOID)
        self.fann.fann_set_activation_function_output(self.net, SIGMOID)
        self.fann.fann_set_learning_rate(self.net, c_float(self.problem.workload.learning_rate))

    def __del__(self):
        for net in (self.net, self.template):
            self.fann.fann_destroy(net)


class Train(Model):
    """One epoch, one call."""

    def __init__(self, problem):
        super().__init__(problem)
        self.same_loss = problem.workload.loss == "squared_error"
        sizes, X, Y, real = problem.workload.layer_sizes, problem.X, problem.Y, self.real
        prototype = ctypes.CFUNCTYPE(None, c_uint, c_uint, c_uint, POINTER(real), POINTER(real))

        def fill(i, n, k, x, y):
            ctypes.memmove(x, X[i].ctypes.data, X[i].nbytes)
            ctypes.memmove(y, Y[i].ctypes.data, Y[i].nbytes)

        callback = prototype(fill)
        self.data = c_void_p(
            self.fann.fann_create_train_from_callback(c_uint(problem.m), c_uint(sizes[0]), c_uint(sizes[-1]), callback)
        )

    def run(self):
        """Train in the order given."""
        self.fann.fann_train_epoch(self.net, self.data)

    def outcome(self):
        """Return Theta."""
        weights, Theta = self.connections(self.net)["weight"], []
        for T in self.problem.Theta:
            Theta.append(np.roll(weights[: T.size].reshape(T.shape), 1, axis=1))
            weights = weights[T.size :]
        return Theta

    def __del__(self):
        self.fann.fann_destroy_train(self.data)
        super().__del__()


class Predict(Model):
    """fann_run row by row: it takes NumPy rows and returns an array that is a view of FANN's output buffer."""

    def __init__(self, problem):
        super().__init__(problem)
        self.rows = list(problem.X)

    def run(self):
        """Predict row by row."""
        run, net, row = self.fann.fann_run, self.net, self.real * self.problem.workload.layer_sizes[0]
        h = run(net, row.from_buffer(self.rows[0]))
        self.h = np.ctypeslib.as_array(h, (self.problem.workload.layer_sizes[-1],))
        for x in self.rows:
            run(net, row.from_buffer(x))

    def outcome(self):
        """Return the last h(x)."""
        return self.h.copy()


def prepare(problem, _label):
    """Return the prepared workload; None except for online training and predictions of a row, with sigmoids."""
    workload = problem.workload
    if workload.activation != "sigmoid":
        return None
    if workload.kind == "predict" and not workload.rows:
        return Predict(problem)
    return Train(problem) if workload.online else None
