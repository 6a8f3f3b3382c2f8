from . import callbacks as callbacks
from . import datasets as datasets
from . import distributed as distributed
from . import metrics as metrics
from . import optimizers as optimizers
from . import plot as plot
from . import schedules as schedules
from .config import __version__ as __version__
from .config import show_config as show_config
from .container import FormatError as FormatError
from .files import load as load
from .files import save as save
from .fullbatch import minimize as minimize
from .gradient import GradientCheck as GradientCheck
from .gradient import check_gradient as check_gradient
from .history import History as History
from .loop import DivergenceError as DivergenceError
from .loop import train as train
from .network import Evaluation as Evaluation
from .network import Network as Network
from .optimizers import SGD as SGD
from .optimizers import Adam as Adam
from .optimizers import AdamW as AdamW
from .optimizers import RMSprop as RMSprop
from .standardise import Standardise as Standardise
from .training import Trainer as Trainer
from .verify import selftest as selftest

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
