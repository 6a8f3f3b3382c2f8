from collections.abc import Callable
from typing import Any, Final

from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult  # type: ignore[import-untyped]  # typed where scipy-stubs is installed

from .checks import _Count, _Number, _PerLayer
from .distributed import _Ranks
from .network import Network

METHODS: Final[tuple[str, ...]]

def minimize(
    net: Network,
    X: ArrayLike,
    Y: ArrayLike,
    *,
    method: str = "L-BFGS-B",
    weight_decay: _PerLayer = 0.0,
    lam: _Number | None = None,
    l1: _Number = 0.0,
    sample_weight: ArrayLike | None = None,
    maxiter: _Count = 200,
    tol: _Number | None = None,
    callback: Callable[..., object] | None = None,
    options: dict[str, Any] | None = None,
    n_threads: _Count | None = None,
    comm: _Ranks | None = None,
) -> OptimizeResult: ...
