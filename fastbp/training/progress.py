"""How a training shows itself: a bar of tqdm on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TextIO

from ..history import History

Report = Callable[..., None]  # of the history, and of the examples so far within an epoch

# tqdm's own but for its epochs a second, which leave no room for the rest on a narrow terminal
FORM = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


def line(history: History) -> str:
    """J, what the validation gave and the rate of the last epoch, as words."""
    return ", ".join([*_values(history), f"{_rate(history):,.0f} examples/s"])


def _values(history):
    parts = [f"J {history.J[-1]:.5f}"]
    if history.val_J:
        parts.append(f"val_J {history.val_J[-1]:.5f}")
    if history.val_accuracy:
        parts.append(f"val_accuracy {100 * history.val_accuracy[-1]:.2f} %")
    parts += [f"{name} {values[-1]:.5g}" for name, values in history.metrics.items() if values]
    return parts


def _rate(history):
    return history.examples / history.seconds[-1] if history.seconds[-1] else 0.0


def silent() -> nullcontext[Report]:
    """A reporter that says nothing."""
    return nullcontext(lambda history, examples=None: None)


@contextmanager
def bar(epochs: int, stream: TextIO | None = None, done: int = 0) -> Iterator[Report]:
    """A reporter, called with the history after each epoch, `done` of them before, and within one with its examples so
    far: tqdm's bar where that is installed and the stream is a terminal or a notebook, else about ten lines in all and
    one a second where epochs are long."""
    stream = sys.stderr if stream is None else stream
    try:
        from tqdm.auto import tqdm
    except ImportError:
        tqdm = None
    if tqdm is not None and (stream.isatty() or "ipykernel" in sys.modules):
        with tqdm(total=epochs, initial=done, unit="epoch", file=stream, dynamic_ncols=True, bar_format=FORM) as shown:

            due = _clock(0.2)

            def report(history, examples=None):
                if examples is None:
                    rate = tqdm.format_sizeof(_rate(history))
                    shown.set_postfix_str(", ".join([f"{rate} examples/s", *_values(history)]), refresh=False)
                    shown.update()
                    due(True)
                elif due():
                    shown.set_postfix_str(f"epoch {len(history) + 1}: {tqdm.format_sizeof(examples)} examples")

            yield report
        return

    due, every = _clock(1.0), max(1, epochs // 10)

    def report(history, examples=None):
        epoch, width = len(history) + (examples is not None), len(str(epochs))
        if due(examples is None and (epoch == 1 or epoch % every == 0 or epoch == epochs)):
            what = line(history) if examples is None else f"{examples:,} examples"
            print(f"epoch {epoch:>{width}}/{epochs}: {what}", file=stream, flush=True)

    yield report


def _clock(seconds):
    """A function that says whether it is due: where it must be, or so long after it last was."""
    last = time.monotonic()

    def due(must=False):
        nonlocal last
        now = time.monotonic()
        if must or now - last >= seconds:
            last = now
            return True
        return False

    return due
