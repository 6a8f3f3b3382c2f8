"""Callbacks of a fit: plain callables, called after each epoch, and scikit-learn's own (1.9 or newer)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupportMixin
except ImportError:
    CallbackSupportMixin = type("CallbackSupportMixin", (), {})


def listed(own):
    """The parameter `callbacks` as a list."""
    own = [] if own is None else [own] if callable(own) else list(own)
    for each in own:
        if not callable(each):
            raise TypeError("callbacks must be functions of the estimator (scikit-learn's own go to set_callbacks); "
                            f"got {each!r}")
    return own


@contextmanager
def running(estimator: Any, examples: tuple[Any, Any, Any], epochs: int) -> Iterator[Callable[[Any], bool]]:
    """Yield a function of the estimator for the end of each epoch; it returns True if a callback asks to stop.

    examples: (X, y, sample_weight) for scikit-learn's callbacks.
    """
    own = listed(estimator.callbacks)
    theirs = hasattr(estimator, "_skl_callbacks") and hasattr(estimator, "_init_callback_context")
    if not own and not theirs:
        yield lambda estimator: False
        return
    X, y, w = examples
    root: Any = estimator._init_callback_context(max_subtasks=epochs) if theirs else None
    task = {
        "estimator": estimator, "X": X, "y": y, "metadata": None if w is None else {"sample_weight": w},
        "reconstruction_attributes": lambda: _snapshot(estimator),
    }
    if theirs:
        root.call_on_fit_task_begin(**task)

    def report(estimator):
        stop = sum(callback(estimator) is True for callback in own) > 0
        if theirs:
            epoch = root.subcontext(task_name="epoch").call_on_fit_task_begin(**task)
            stop |= bool(epoch.call_on_fit_task_end(**task))
        return stop

    yield report
    if theirs:
        root.call_on_fit_task_end(**task)


def _snapshot(estimator):
    """Copies of the weights, with which a copy of the estimator can predict."""
    return {
        "coefs_": [W.copy() for W in estimator.coefs_],
        "intercepts_": [b.copy() for b in estimator.intercepts_],
    }
