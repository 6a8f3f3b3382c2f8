"""The hooks around the steps: progress, callbacks and checkpoint, called in this order."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ..callbacks import EVENTS
from .progress import Report, silent


class Keeper:
    """No checkpoint: the methods of `checkpoint.Checkpoint`, which do nothing here."""

    conditions: dict[str, Any]

    @property
    def batches(self) -> int | None:
        """The number of batches between two calls of after_batches; None: any number."""
        return None

    def begin(self, training: Any) -> None: ...

    def before_epoch(self, training: Any) -> None: ...

    def after_batches(self, training: Any, batches: int) -> None: ...

    def after_epoch(self, training: Any) -> None: ...

    def end(self, training: Any) -> None: ...

    def rescue(self, training: Any, error: BaseException) -> None: ...


class Callbacks:
    """The callbacks of `train`.

    Parameters
    ----------
    callbacks : list
    has : dict of bool, optional
        Does each event have a callback? None looks among these callbacks.
    """

    def __init__(self, callbacks: list[Any], has: Mapping[str, bool] | None = None) -> None:
        self._callbacks = callbacks
        self.has = {name: self.any_has(name) for name in EVENTS} if has is None else has

    def any_has(self, name: str) -> bool:
        """Does one of these callbacks have this method?"""
        return any(callable(getattr(each, name, None)) for each in self._callbacks)

    def call(self, name: str, training: Any) -> None:
        """Call this method on all callbacks that have it."""
        if self.has[name]:
            for callback in self._callbacks:
                method = getattr(callback, name, None)
                if callable(method):
                    method(training)


class Hooks:
    """Progress, callbacks and checkpoint around the loop of one process.

    Parameters
    ----------
    show : callable
        Takes a Training and returns a context manager that yields its `Report`.
    callbacks : Callbacks
    keeper : Keeper
        The checkpoint, or none.

    Attributes
    ----------
    watched : bool
        Is there a callback after each batch?
    """

    def __init__(
        self, show: Callable[[Any], AbstractContextManager[Report]], callbacks: Callbacks, keeper: Keeper,
    ) -> None:
        self._show, self.callbacks, self.keeper = show, callbacks, keeper
        self.watched = callbacks.has["on_batch_end"]

    @property
    def batches(self) -> int | None:
        """The number of batches between two calls of after_batches; None: any number."""
        return 1 if self.watched else self.keeper.batches

    @property
    def are_idle(self) -> bool:
        """Is there neither a callback nor a checkpoint?"""
        return type(self.keeper) is Keeper and not any(self.callbacks.has.values())

    @property
    def shows(self) -> bool:
        """Is progress shown?"""
        return self._show is not hidden

    def begin(self, training: Any) -> None:
        self.call("on_train_begin", training)
        self.keeper.begin(training)

    def before_epoch(self, training: Any) -> None:
        self.keeper.before_epoch(training)

    def after_batches(self, training: Any, piece: Any) -> None:
        self.report(training.history, training.position.examples)
        if self.watched and piece.weight:   # a batch of weight 0 has no step
            self.call("on_batch_end", training)
        self.keeper.after_batches(training, piece.batches)

    def after_epoch(self, training: Any) -> None:
        self.report(training.history)
        self.call("on_epoch_end", training)
        self.keeper.after_epoch(training)

    def end(self, training: Any) -> None:
        self.call("on_train_end", training)

    def finish(self, training: Any) -> None:
        """Write the last state after the last epoch."""
        self.keeper.end(training)

    def call(self, name: str, training: Any) -> None:
        self.callbacks.call(name, training)

    @contextmanager
    def around(self, training: Any) -> Iterator[None]:
        """Show progress around all epochs; however they end, the checkpoint holds the last state."""
        with self._show(training) as self.report:
            try:
                yield
                self.finish(training)
            except BaseException as error:
                self.keeper.rescue(training, error)
                raise


def hidden(_: Any) -> AbstractContextManager[Report]:
    """Show nothing."""
    return silent()
