"""The progress of `train`: a tqdm bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any, TextIO

from ..history import History

Report = Callable[..., None]  # called with the history and, within an epoch, the examples so far

# tqdm's default without the epochs per second, which leave too little room on a narrow terminal
FORM = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


def silent() -> nullcontext[Report]:
    """A reporter that shows nothing."""
    return nullcontext(lambda history, examples=None: None)


@contextmanager
def bar(epochs: int, stream: TextIO | None = None, done: int = 0) -> Iterator[Report]:
    """A reporter for `epochs` epochs, of which `done` are finished.

    It is called with the history after each epoch, and within an epoch also with the number of examples so far. It
    shows a bar if tqdm is installed and the stream is a terminal or a notebook. Otherwise it prints about ten lines in
    all, or one per second if epochs are long. A failing stream ends the reports, never the training.
    """
    stream = sys.stderr if stream is None else stream
    with ExitStack() as stack:
        try:
            shown = on_terminal(epochs, "epoch", stream, done, bar_format=FORM)
            report = _lines(epochs, stream) if shown is None else _on_bar(stack.enter_context(shown))
        except Exception:
            report = None
        yield _unfailing(report)
        with suppress(Exception):
            stack.close()
        stack.pop_all()


def on_terminal(total: int, unit: str, stream: TextIO, done: int = 0, **form: Any) -> Any:
    """A tqdm bar, or None where nobody would see it. A closed or broken stream raises an exception."""
    if not (stream.isatty() or "ipykernel" in sys.modules):
        return None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=total, initial=done, unit=unit, file=stream, dynamic_ncols=True, **form)


def _on_bar(shown: Any) -> Report:
    """A report on a tqdm bar, at most five times per second."""
    due = _clock(0.2)

    def report(history: History, examples: int | None = None) -> None:
        if examples is None:
            rate = shown.format_sizeof(history.last_rate)
            shown.set_postfix_str(", ".join([f"{rate} examples/s", *history.latest()]), refresh=False)
            shown.update()
            due(True)
        elif due():
            shown.set_postfix_str(f"epoch {len(history) + 1}: {shown.format_sizeof(examples)} examples")

    return report


def _lines(epochs: int, stream: TextIO) -> Report:
    """A report in lines of text."""
    due, every = _clock(1.0), max(1, epochs // 10)

    def report(history: History, examples: int | None = None) -> None:
        epoch, width = len(history) + (examples is not None), len(str(epochs))
        if due(examples is None and (epoch == 1 or epoch % every == 0 or epoch == epochs)):
            text = history.line() if examples is None else f"{examples:,} examples"
            print(f"epoch {epoch:>{width}}/{epochs}: {text}", file=stream, flush=True)

    return report


def _unfailing(report: Report | None) -> Report:
    """The report until it first fails, and none afterwards."""
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
    """A function due(must=False) that returns True if must, or if `seconds` have passed since it last did."""
    last = time.monotonic()

    def due(must: bool = False) -> bool:
        nonlocal last
        now = time.monotonic()
        if must or now - last >= seconds:
            last = now
            return True
        return False

    return due
