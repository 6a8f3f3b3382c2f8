"""How a training shows itself: a bar of tqdm on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any, TextIO

from ..history import History

Report = Callable[..., None]  # of the history, and of the examples so far within an epoch

# tqdm's own but for its epochs a second, which leave no room for the rest on a narrow terminal
FORM = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


def line(history: History) -> str:
    """J, what the validation gave and the rate of the last epoch, as words."""
    return ", ".join([*_values(history), f"{_rate(history):,.0f} examples/s"])


def _values(history: History) -> list[str]:
    parts = [f"J {history.J[-1]:.5f}"]
    if history.val_J:
        parts.append(f"val_J {history.val_J[-1]:.5f}")
    if history.val_accuracy:
        parts.append(f"val_accuracy {100 * history.val_accuracy[-1]:.2f} %")
    parts += [f"{name} {values[-1]:.5g}" for name, values in history.metrics.items() if values]
    return parts


def _rate(history: History) -> float:
    return history.examples / history.seconds[-1] if history.seconds[-1] else 0.0


def silent() -> nullcontext[Report]:
    """A reporter that says nothing."""
    return nullcontext(lambda history, examples=None: None)


@contextmanager
def bar(epochs: int, stream: TextIO | None = None, done: int = 0) -> Iterator[Report]:
    """A reporter for so many epochs, `done` of them before.

    It is called with the history after each epoch, and within one also with the number of examples so far. It shows
    tqdm's bar where that is installed and the stream is a terminal or a notebook. Elsewhere it prints about ten lines
    in all, and one a second where epochs are long. A stream that fails ends the reports, never the training.
    """
    stream = sys.stderr if stream is None else stream
    with ExitStack() as stack:
        try:
            shown = _tqdm(epochs, stream, done)
            report = _lines(epochs, stream) if shown is None else _on_bar(stack.enter_context(shown))
        except Exception:
            report = None
        yield _unfailing(report)
        with suppress(Exception):
            stack.close()
        stack.pop_all()


def _tqdm(epochs: int, stream: TextIO, done: int) -> Any:
    """A bar of tqdm, or None where it would not be seen"""
    if not (stream.isatty() or "ipykernel" in sys.modules):
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=epochs, initial=done, unit="epoch", file=stream, dynamic_ncols=True, bar_format=FORM)


def _on_bar(shown: Any) -> Report:
    due = _clock(0.2)

    def report(history: History, examples: int | None = None) -> None:
        if examples is None:
            rate = shown.format_sizeof(_rate(history))
            shown.set_postfix_str(", ".join([f"{rate} examples/s", *_values(history)]), refresh=False)
            shown.update()
            due(True)
        elif due():
            shown.set_postfix_str(f"epoch {len(history) + 1}: {shown.format_sizeof(examples)} examples")

    return report


def _lines(epochs: int, stream: TextIO) -> Report:
    due, every = _clock(1.0), max(1, epochs // 10)

    def report(history: History, examples: int | None = None) -> None:
        epoch, width = len(history) + (examples is not None), len(str(epochs))
        if due(examples is None and (epoch == 1 or epoch % every == 0 or epoch == epochs)):
            what = line(history) if examples is None else f"{examples:,} examples"
            print(f"epoch {epoch:>{width}}/{epochs}: {what}", file=stream, flush=True)

    return report


def _unfailing(report: Report | None) -> Report:
    """The same report until it fails for the first time"""
    def safe(history: History, examples: int | None = None) -> None:
        nonlocal report
        if report is None:
            return
        try:
            report(history, examples)
        except Exception:       # a closed or broken stream
            report = None

    return safe


def _clock(seconds: float) -> Callable[..., bool]:
    """A function that says whether it is due: where it must be, or so long after it last was."""
    last = time.monotonic()

    def due(must: bool = False) -> bool:
        nonlocal last
        now = time.monotonic()
        if must or now - last >= seconds:
            last = now
            return True
        return False

    return due
