"""What stands around the steps: the progress shown, the callbacks, the checkpoint, called in this order."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from .progress import Report, silent

EVENTS = ("on_train_begin", "on_batch_end", "on_epoch_end", "on_train_end")


class Keeper:
    """No checkpoint. What `checkpoint.Checkpoint` defines does nothing here."""

    conditions: dict[str, Any]

    @property
    def batches(self) -> int | None:
        """How many are run between two calls of after_batches; None: as many as there are."""
        return None

    def begin(self, training: Any) -> None: ...

    def before_epoch(self, training: Any) -> None: ...

    def after_batches(self, training: Any, batches: int) -> None: ...

    def after_epoch(self, training: Any) -> None: ...

    def end(self, training: Any) -> None: ...

    def rescue(self, training: Any, error: BaseException) -> None: ...


class Callbacks:
    """The callbacks of a training.

    Parameters
    ----------
    callbacks : list
    has : dict of bool
        Which events somebody waits for; by default one of these callbacks.
    """

    def __init__(self, callbacks: list[Any], has: Mapping[str, bool] | None = None) -> None:
        self._callbacks = callbacks
        self.has = {name: self.any_has(name) for name in EVENTS} if has is None else has

    def any_has(self, name: str) -> bool:
        return any(callable(getattr(each, name, None)) for each in self._callbacks)

    def call(self, name: str, training: Any) -> None:
        """The method of this name of all callbacks that have it."""
        if self.has[name]:
            for callback in self._callbacks:
                method = getattr(callback, name, None)
                if callable(method):
                    method(training)


class Hooks:
    """The three around the loop of one process.

    Parameters
    ----------
    show : callable
        Returns a context manager that shows a training as it goes on, by the `Report` it yields.
    callbacks : Callbacks
    keeper : Keeper
        The checkpoint, or none.

    Attributes
    ----------
    watched : bool
        Does a callback look on after each batch?
    """

    def __init__(
        self, show: Callable[[Any], AbstractContextManager[Report]], callbacks: Callbacks, keeper: Keeper,
    ) -> None:
        self._show, self.callbacks, self.keeper = show, callbacks, keeper
        self.watched = callbacks.has["on_batch_end"]

    @property
    def batches(self) -> int | None:
        """How many batches may be run before after_batches is called again; None: any number."""
        return 1 if self.watched else self.keeper.batches

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

    def call(self, name: str, training: Any) -> None:
        self.callbacks.call(name, training)

    @contextmanager
    def around(self, training: Any) -> Iterator[None]:
        """Around all epochs. Whatever ends them, the checkpoint holds how far they came."""
        with self._show(training) as self.report:
            try:
                yield
                self.keeper.end(training)
            except BaseException as error:
                self.keeper.rescue(training, error)
                raise


def hidden(_: Any) -> AbstractContextManager[Report]:
    """Show nothing."""
    return silent()
