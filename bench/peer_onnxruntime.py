"""ONNX Runtime: predictions only, the network as Gemm and activation nodes."""

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

LABELS = ("onnxruntime",)
NODES = {"sigmoid": "Sigmoid", "tanh": "Tanh", "identity": "Identity"}
TYPES = {"float32": onnx.TensorProto.FLOAT, "float64": onnx.TensorProto.DOUBLE}


def version(_n_threads):
    """Name the version."""
    return f"onnxruntime {onnxruntime.__version__}"


def model(problem):
    """Return the serialised network, `rows` rows at a time."""
    sizes, kind = problem.workload.layer_sizes, TYPES[str(problem.dtype)]
    nodes, weights = [], []
    for l, T in enumerate(problem.Theta):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(T[:, 1:].T), f"W{l}"))
        weights.append(numpy_helper.from_array(np.ascontiguousarray(T[:, 0]), f"b{l}"))
        nodes.append(helper.make_node("Gemm", [f"a{l}", f"W{l}", f"b{l}"], [f"z{l + 1}"]))
        nodes.append(helper.make_node(NODES[problem.workload.functions[l]], [f"z{l + 1}"], [f"a{l + 1}"]))
    ends = [
        helper.make_tensor_value_info(name, kind, [problem.workload.rows or 1, n])
        for name, n in (("a0", sizes[0]), (f"a{len(problem.Theta)}", sizes[-1]))
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return made.SerializeToString()


class Predict:
    """`session.run` call by call."""

    def __init__(self, problem):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = problem.n_threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model(problem), options, providers=["CPUExecutionProvider"])
        self.inputs = [np.atleast_2d(x) for x in problem.inputs(problem.X)]

    def reset(self):
        """Nothing to do."""

    def run(self):
        """Predict call by call."""
        run = self.session.run
        for x in self.inputs:
            self.h = run(None, {"a0": x})

    def outcome(self):
        """Return the last h(x)."""
        return self.h[0]


def prepare(problem, _label):
    """Return the prepared predictions; None for the rest."""
    return Predict(problem) if problem.workload.kind == "predict" else None
