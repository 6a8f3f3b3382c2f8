"""Small and medium neural networks, trained fast and exactly on the CPU.

A classifier and a regression:

    net = fastbp.Network([64, 100, 10], activation="relu", output="softmax")    # labels 0 .. 9
    history = fastbp.train(net, X, labels, optimizer=fastbp.Adam(1e-3), epochs=20)
    net.predict(X)

    net = fastbp.Network([5, 40, 1], activation="relu", output="identity")      # the loss is squared_error
    history = fastbp.train(net, X, y, epochs=100, validation_split=0.1)

Begin with `help(fastbp.Network)` and `help(fastbp.train)`. The public names by purpose:

| purpose | names |
|---|---|
| the network | `Network` (predict, evaluate, cost_and_gradient, and the textbook's theta, Theta, activations, deltas) |
| training | `train`, `Trainer` (step by step), `minimize` (full batch), `History`, `DivergenceError` |
| parts of training | `SGD`, `Adam`, `AdamW`, `RMSprop`, `LBFGS`, `optimizers`, `schedules`, `callbacks`, `metrics` |
| many networks | `train_many`, `Ensemble`, `many` (tables) |
| error bars, second order | `minimize(method="lm")`, also with `bayesian=True`; `Laplace` |
| first derivatives, other losses | `Network` (forward, backward, jacobian, gradients), `Trainer.step(X, gradient=G)` |
| second derivatives | `Network` (hessian_product, gauss_newton_product), `fastbp.curvature` (operators for SciPy) |
| scaling of inputs | `Standardise` |
| files | `save`, `load`, `FormatError` |
| scikit-learn's interface | `fastbp.sklearn` (needs scikit-learn) |
| tables without preparation | `fastbp.tabular` (needs scikit-learn) |
| plots | `fastbp.plot` (needs matplotlib) |
| several processes (MPI) | `distributed` |
| checks of the arithmetic | `check_gradient`, `selftest`, `show_config` |
| example data | `datasets` |
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

from . import callbacks, datasets, distributed, many, metrics, optimizers, schedules
from .config import __version__, show_config
from .evaluation import Evaluation
from .files import estimator as _estimator  # noqa: F401  (save and load then know estimators)
from .files.container import FormatError
from .files.network import load, save
from .gradient import GradientCheck, check_gradient
from .history import History
from .lbfgs import LBFGS
from .many import Ensemble, train_many
from .network import Network
from .optimizers import SGD, Adam, AdamW, RMSprop
from .second_order.laplace import Laplace
from .standardise import Standardise
from .training.loop import DivergenceError
from .training.minimize import minimize
from .training.train import train
from .training.trainer import Trainer
from .verify import selftest

__all__ = [
    "LBFGS",
    "SGD",
    "Adam",
    "AdamW",
    "DivergenceError",
    "Ensemble",
    "Evaluation",
    "FormatError",
    "GradientCheck",
    "History",
    "Laplace",
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
    "many",
    "metrics",
    "minimize",
    "optimizers",
    "save",
    "schedules",
    "selftest",
    "show_config",
    "train",
    "train_many",
]


# imported at first use: they need matplotlib, scikit-learn or scipy.sparse
OPTIONAL = ("curvature", "plot", "sklearn", "tabular")


def __getattr__(name):
    if name in OPTIONAL:
        from importlib import import_module

        return import_module(f".{name}", __name__)
    place = "fastbp.sklearn" if name in ("MLPClassifier", "MLPRegressor") else None
    for part in (callbacks, datasets, metrics, optimizers, schedules):
        if not name.startswith("_") and name in vars(part):
            place = part.__name__
    elsewhere = f"; there is {place}.{name}" if place else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{elsewhere}")


def __dir__():
    loaded = [name for name in OPTIONAL if name in globals()]     # help() reads every value of dir()
    return sorted([*__all__, *loaded, "__doc__", "__file__", "__name__", "__path__"])
