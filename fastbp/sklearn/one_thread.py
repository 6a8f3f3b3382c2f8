"""An estimator is fitted by one thread at a time."""

import os
from threading import get_ident
from types import TracebackType
from typing import Any

# id of each estimator that is being fitted -> the thread that fits it, and no other tuple
_fitting: dict[int, tuple[int]] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fitting.clear)      # the other threads stayed with the parent


class Fitting:
    """While `with` lasts, this thread alone may fit the estimator, from a callback too: a RuntimeError for others.

    A fit is no short moment: nobody waits. The call takes some tenths of a microsecond.
    """

    __slots__ = ("_first", "_key")

    def __init__(self, estimator: Any) -> None:
        self._key, me = id(estimator), (get_ident(),)
        owner = _fitting.setdefault(self._key, me)      # a single operation, without the GIL too
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
