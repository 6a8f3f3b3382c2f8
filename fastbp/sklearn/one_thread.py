"""An estimator is fitted by one thread at a time."""

import os
from collections.abc import Callable
from functools import wraps
from threading import get_ident
from typing import Any, Concatenate, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Estimator = TypeVar("Estimator")
Result = TypeVar("Result")
Method = Callable[Concatenate[Estimator, Arguments], Result]

# id of each estimator that is being fitted -> (its thread,); the identity of this tuple marks the outermost fit
FITTING: dict[int | None, tuple[int]] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=FITTING.clear)      # the other threads stayed with the parent


def alone(method: Method[Estimator, Arguments, Result]) -> Method[Estimator, Arguments, Result]:
    """Let only one thread at a time run this and the other methods so decorated on an estimator.

    Another thread gets a RuntimeError. It does not wait, since a fit may take long. A method may call itself, as from a
    callback. The check takes a few tenths of a microsecond.
    """

    @wraps(method)
    def run(self: Estimator, /, *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        own = _begin(self)
        try:
            return method(self, *arguments, **named)
        finally:
            FITTING.pop(own, None)      # no function of ours: Ctrl-C may arrive where one begins

    return run


def _begin(estimator: Any) -> int | None:
    """The key to remove from FITTING at the end; None if this thread fits the estimator already."""
    key, me = id(estimator), (get_ident(),)
    try:
        owner = FITTING.setdefault(key, me)     # atomic, also without the GIL
    except BaseException:       # Ctrl-C, right behind it
        if FITTING.get(key) is me:
            FITTING.pop(key)
        raise
    if owner is me:
        return key
    if owner != me:
        raise RuntimeError(f"another thread is fitting this {type(estimator).__name__}: fit and partial_fit are for "
                           "one thread at a time")
    return None
