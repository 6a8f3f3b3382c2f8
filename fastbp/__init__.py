"""fastbp: exact and fast backpropagation for feed-forward networks on the CPU.

    net = fastbp.Network([64, 100, 10], activation="relu", output="softmax")
    history = fastbp.train(net, X, labels, optimizer=fastbp.Adam(1e-3), epochs=20)
    net.predict(X)

The textbook's quantities by name: `Network` (theta, Theta, activations, deltas, accumulate, cost_and_gradient),
`check_gradient`; training: `train`, `SGD`, `Adam`, `AdamW`, `RMSprop` (more in `optimizers`), `minimize`; files:
`save`, `load`. `selftest` says whether this machine computes rightly.
"""

try:
    from . import _kernels  # noqa: F401  (is it compiled?)
except ImportError as error:
    if "_kernels" not in str(error):
        raise
    raise ImportError(
        "fastbp is not compiled here: this is its source folder. Run `pip install -e .` in the repository, "
        "or leave the folder to use an installed fastbp."
    ) from error

from . import callbacks, datasets, distributed, metrics, optimizers, schedules
from .config import __version__, show_config
from .files.container import FormatError
from .files.network import load, save
from .gradient import GradientCheck, check_gradient
from .history import History
from .network import Evaluation, Network
from .optimizers import SGD, Adam, AdamW, RMSprop
from .standardise import Standardise
from .training.loop import DivergenceError
from .training.minimize import minimize
from .training.train import train
from .training.trainer import Trainer
from .verify import selftest

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "DivergenceError",
    "Evaluation",
    "FormatError",
    "GradientCheck",
    "History",
    "Network",
    "RMSprop",
    "Standardise",
    "Trainer",
    "__version__",
    "callbacks",
    "check_gradient",
    "datasets",
    "distributed",
    "load",
    "metrics",
    "minimize",
    "optimizers",
    "save",
    "schedules",
    "selftest",
    "show_config",
    "train",
]


def __getattr__(name):
    if name == "plot":      # needs matplotlib: imported where it is asked for
        from importlib import import_module

        return import_module(".plot", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
