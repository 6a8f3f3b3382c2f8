"""How a training shows itself: a bar of tqdm on a terminal, plain lines elsewhere."""

import sys
import time
from contextlib import contextmanager, nullcontext


def silent():
    """A reporter that says nothing."""
    return nullcontext(lambda history: None)


@contextmanager
def bar(epochs, stream=None):
    """A reporter, called with the history after each epoch: tqdm's bar where that is installed and the stream is a
    terminal or a notebook, else about ten lines in all and one a second where epochs are long."""
    stream = sys.stderr if stream is None else stream
    try:
        from tqdm.auto import tqdm
    except ImportError:
        tqdm = None
    if tqdm is not None and (stream.isatty() or "ipykernel" in sys.modules):
        with tqdm(total=epochs, unit="epoch", file=stream, dynamic_ncols=True) as shown:

            def report(history):
                shown.set_postfix_str(history.last_line(), refresh=False)
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
            print(f"epoch {epoch:>{len(str(epochs))}}/{epochs}: {history.last_line()}", file=stream, flush=True)

    yield report
