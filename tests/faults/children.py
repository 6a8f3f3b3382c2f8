"""Python code in a separate process: code that might hang, crash or change the process of the tests."""

import os
import subprocess
import sys
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
