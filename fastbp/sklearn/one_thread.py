"""An estimator is fitted by one thread at a time."""

import os
from threading import get_ident
from types import TracebackType
from typing import Any

# id of each estimator that is being fitted -> (its thread,); the identity of this tuple marks the outermost fit
_fitting: dict[int, tuple[int]] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fitting.clear)      # the other threads stayed with the parent


class Fitting:
    """Inside `with`, only this thread may fit the estimator, also from a callback; other threads get a RuntimeError.

    They do not wait, since a fit may take long. The check itself takes a few tenths of a microsecond.
    """

    __slots__ = ("_first", "_key")

    def __init__(self, estimator: Any) -> None:
        self._key, me = id(estimator), (get_ident(),)
        owner = _fitting.setdefault(self._key, me)      # atomic, also without the GIL
        self._first = owner is me
        if owner != me:
            raise RuntimeError(f"another thread is fitting this {type(estimator).__name__}: fit and partial_fit are "
                               "for one thread at a time")

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        if self._first:
            _fitting.pop(self._key, None)
