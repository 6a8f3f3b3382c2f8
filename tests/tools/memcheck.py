"""A short run of all main calls under valgrind's memcheck.

    python tests/tools/memcheck.py                  # exit status 1 if a report has one of our frames

A copy of the tree is built with FASTBP_DEBUG=1 (valgrind then names lines) and run for AVX2 and for the baseline
(valgrind 3.19 does not support AVX-512). Reports that only concern CPython, NumPy and the loader are left out: a report
counts if one of its frames is in a library of fastbp.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import trees

SHORT = """
import os, sys, tempfile
import numpy as np
import fastbp
from fastbp import _kernels
from fastbp.engine import sums, threads

rng = np.random.default_rng(0)
print(fastbp.__file__, _kernels.isa)
sums.aligned = np.empty     # a buffer ends where it ends, with no room left by its alignment
for dtype in (np.float32, np.float64):
    X, labels = rng.standard_normal((37, 7)).astype(dtype), rng.integers(0, 3, 37)
    w = rng.uniform(0, 2, 37).astype(dtype)
    for activation in ("sigmoid", "gelu"):
        net = fastbp.Network([7, 19, 5, 3], activation=activation, dtype=dtype, seed=0)
        for m in range(1, 38):      # every tail
            net.cost_and_gradient(X[:m].copy(), labels[:m].copy(), weight_decay=0.1)
            net.predict(X[:m].copy())
        net.predict(X[0].copy())
        net.accumulate(X, labels, per_example=True)
        net.cost_and_gradient(np.array(X), labels, sample_weight=w)
        for rule in fastbp.SGD(0.1), fastbp.Adam(1e-3), fastbp.SGD(0.1, momentum=0.9):
            fastbp.train(net, X, labels, optimizer=rule, epochs=2, batch_size=8, sample_weight=w)
        fastbp.train(net, X, labels, optimizer="sgd", epochs=2, batch_size=1)
        fastbp.train(net, X, labels, optimizer="adam", epochs=2, batch_size=5, dropout=0.5, clip_norm=1.0)
        trainer = fastbp.Trainer(net, "adam")
        trainer.step(X[:5].copy(), labels[:5].copy())
        with threads.Crew(3, apart=True) as trainer.steps.crew:
            trainer.steps.mean(net.data(X, labels), 16)
        path = os.path.join(tempfile.mkdtemp(), "net.fastbp")
        fastbp.save(path, net)
        assert fastbp.load(path).predict(X).tobytes() == net.predict(X).tobytes()
    # it alone holds these rows
    examples = fastbp._backprop.Examples(rng.standard_normal((5000, 7)).astype(dtype))
    plan, units, panel = net.plan.code, net.plan.units, fastbp._backprop.panel(net.theta)
    out = np.empty((5000, 3), dtype)
    fastbp._backprop.predict(plan, net.theta, examples, 0, 5000, np.empty(units * panel, dtype), panel, out, 60.0)
print("done")
"""
# an object without a line, or a line of one of our files
FILES = [path.name for path in (trees.ROOT / "src" / "kernels").iterdir()] + [
    "_kernels.c", "_backprop.c", "_calls.c", "_curvature.c", "_derivatives.c", "_each.c", "_epoch.c", "_normal.c",
    "_stretch.c"]
OURS = re.compile(r"/fastbp/_\w+\.\S+\.so|\((?:" + "|".join(map(re.escape, FILES)) + r"):\d+\)")


def run(tree, isa, program=SHORT):
    """The reports of a program that have one of our frames"""
    with tempfile.TemporaryDirectory() as logs:
        command = ["valgrind", "--error-limit=no", "--num-callers=40", "--track-origins=no", "--trace-children=yes",
                   f"--log-file={logs}/report.%p", sys.executable, "-c", program]
        variables = {"FASTBP_ISA": isa, "PYTHONMALLOC": "malloc", "OPENBLAS_NUM_THREADS": "1"}
        done = trees.run(tree, command, variables, capture_output=True)
        text = "".join(path.read_text(errors="replace") for path in Path(logs).glob("report*"))
    blocks = re.split(r"(?m)^==\d+== \n", text)
    frames = re.compile(r"^==\d+==    (at|by) 0x", re.M)
    text = "\n".join(block for block in blocks if frames.search(block) and OURS.search(block))
    ended = "done" in done.stdout and f"{tree}/fastbp/__init__.py {isa}" in done.stdout
    if not (ended or text):     # what was found may have ended it
        raise RuntimeError(f"the run did not end: {done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    return text


def main():
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = trees.copy(folder)
        trees.build(tree, FASTBP_DEBUG="1")
        for isa in ("avx2", "baseline"):
            text = run(tree, isa)
            print(text, f"{isa}: {text.count('== Invalid') + text.count('== Conditional') + text.count('== Use of')} "
                  "reports with frames of fastbp", sep="\n")
            bad += bool(text)
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
