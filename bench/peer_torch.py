"""PyTorch in three forms: modules with an optimizer, addmm by hand into fixed buffers, and a compiled step."""

import torch

from . import torch_by_hand, torch_compiled, torch_curvature, torch_modules

LABELS = ("torch", "torch addmm", "torch compile")
FULL_ONLY = ("torch compile",)  # compiling takes too long for the quick run
FORMS = {
    "torch": {
        "train": torch_modules.ModulesTrain, "step": torch_modules.ModulesTrain,
        "gradient": torch_modules.ModulesGradient, "evaluate": torch_modules.ModulesEvaluate,
        "predict": torch_modules.ModulesPredict, "product": torch_curvature.ModulesProduct,
    },
    "torch addmm": {
        "train": torch_by_hand.ByHandTrain, "step": torch_by_hand.ByHandTrain, "gradient": torch_by_hand.ByHandGradient,
        "predict": torch_by_hand.ByHandPredict, "minimize": torch_by_hand.ByHandMinimize,
    },
    "torch compile": {"train": torch_compiled.CompiledTrain, "step": torch_compiled.CompiledTrain},
}  # fmt: skip


def version(n_threads):
    """Name the version, and hold the library to its threads."""
    torch.set_num_threads(n_threads)
    return f"torch {torch.__version__}"


def prepare(problem, label):
    """Return the prepared workload. Steps are compiled where it helps: for batches, and for J and D of a few rows."""
    workload = problem.workload
    if label == "torch compile" and workload.kind == "gradient" and workload.rows:
        return torch_compiled.CompiledGradient(problem, label)
    if label == "torch compile" and workload.online:
        return None
    form = FORMS[label].get(workload.kind)
    return form and form(problem, label)
