"""Python code in a separate process: code that might hang, crash or change the process of the tests."""

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PATH = os.pathsep.join([str(HERE.parent), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])   # of helpers, too


def run(code, *arguments, timeout=100, before=None, **environment):
    """The output of the code, which must end by itself, in time, with exit status 0. The child first runs before()."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
        check=False, env={**os.environ, "PYTHONPATH": PATH, **environment}, preexec_fn=before,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout.strip()


class Moments:
    """Random moments to kill a child that reports each thing it has finished: after up to three, during the next one.
    So they depend on the child's progress, not on the speed of the machine."""

    def __init__(self, dice):
        self.dice, self.took = dice, {}     # seconds up to the first thing, and for one more

    def wait(self, reader, size):
        """Wait until such a moment; returns the child's last report, `size` bytes or none."""
        told, before = b"", time.monotonic()
        finished = self.dice.randrange(4) if self.took else 3
        for i in range(finished):
            last = os.read(reader, size)
            if not last:        # it has ended
                return told
            told, now = last, time.monotonic()
            self.took[i > 0], before = now - before, now
        time.sleep(self.dice.uniform(0, self.took[finished > 0]))
        return told
