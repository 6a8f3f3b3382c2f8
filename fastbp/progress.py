"""How a training shows itself: a bar of tqdm on a terminal, plain lines elsewhere."""

import sys
import time
from contextlib import contextmanager, nullcontext


def line(history):
    """J and what the validation gave in the last epoch, as words."""
    parts = [f"J {history.J[-1]:.5f}"]
    if history.val_J:
        parts.append(f"val_J {history.val_J[-1]:.5f}")
    if history.val_accuracy:
        parts.append(f"val_accuracy {100 * history.val_accuracy[-1]:.2f} %")
    parts += [f"{name} {values[-1]:.5g}" for name, values in history.metrics.items() if values]
    rate = history.examples / history.seconds[-1] if history.seconds[-1] else 0.0
    parts.append(f"{rate:,.0f} examples/s")
    return ", ".join(parts)


def silent():
    """A reporter that says nothing."""
    return nullcontext(lambda history: None)


@contextmanager
def bar(epochs, stream=None, done=0):
    """A reporter, called with the history after each epoch, `done` of them before: tqdm's bar where that is installed
    and the stream is a terminal or a notebook, else about ten lines in all and one a second where epochs are long."""
    stream = sys.stderr if stream is None else stream
    try:
        from tqdm.auto import tqdm
    except ImportError:
        tqdm = None
    if tqdm is not None and (stream.isatty() or "ipykernel" in sys.modules):
        with tqdm(total=epochs, initial=done, unit="epoch", file=stream, dynamic_ncols=True) as shown:

            def report(history):
                shown.set_postfix_str(line(history), refresh=False)
                shown.update()

            yield report
        return

    printed = time.monotonic()
    every = max(1, epochs // 10)

    def report(history):
        nonlocal printed
        now, epoch = time.monotonic(), len(history)
        if epoch == 1 or epoch % every == 0 or epoch == epochs or now - printed >= 1:
            printed = now
            print(f"epoch {epoch:>{len(str(epochs))}}/{epochs}: {line(history)}", file=stream, flush=True)

    yield report
