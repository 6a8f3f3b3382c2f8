"""Wrong kernels for a processor are found: each product at every length of a tail, for every processor of OpenBLAS."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from children import HERE, run

import fastbp
from fastbp import verify
from fastbp.engine import sums

CORES = ["Haswell", "Sandybridge", "Nehalem"]
x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="kernels of OpenBLAS for x86-64")
REPORT = "import fastbp; report = fastbp.selftest(); print(report['float32'], report['float64'])"


def test_fault_17_every_product_at_every_length_of_a_tail_is_that_of_plain_sums():
    report = fastbp.selftest()
    assert report.keys() == {"instruction set", "blas", "float32", "float64"}
    assert report["instruction set"] == fastbp._kernels.isa
    assert 0 < report["float32"] < 60
    assert 0 < report["float64"] < 60


@x86
@pytest.mark.parametrize("core", CORES)
def test_fault_17_blas_for_other_processors_passes_the_selftest_too(core):
    code = REPORT + "; print(*{library.architecture for library in fastbp.engine.blas.libraries()})"
    numbers, architecture = run(code, OPENBLAS_CORETYPE=core).splitlines()
    if architecture != core:
        pytest.skip(f"this BLAS has no kernels for {core}: {architecture}")
    assert max(float(each) for each in numbers.split()) < 60


@pytest.mark.parametrize("isa", fastbp._kernels.available)
def test_fault_17_every_instruction_set_passes_the_selftest(isa):
    assert max(float(each) for each in run(REPORT, FASTBP_ISA=isa).split()) < 60


@x86
@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
def test_fault_17_the_tests_of_the_compiled_core_pass_with_blas_for_other_processors(core):
    tests = HERE.parent
    names = ["test_gradient", "test_network", "test_losses", "test_minimize", "test_arrays", "test_reference"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *(tests / f"{name}.py" for name in names)], capture_output=True,
        text=True, check=False, env={**os.environ, "OPENBLAS_CORETYPE": core}, timeout=1000,
    )
    print(core, done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("way", ["blocks", "one by one", "rows", "a row", "steps"])
def test_fault_17_a_wrong_sum_anywhere_is_found(way, monkeypatch):
    """One number in one tail is wrong by a thousandth"""
    right = {"blocks": sums.accumulate_range, "rows": sums.predict,
             "one by one": sums.accumulate_per_example}
    if way == "blocks":
        def accumulate_range(plan, theta, examples, first, last, work, Delta, *others):
            cost = right[way](plan, theta, examples, first, last, work, Delta, *others)
            if plan.layer_sizes[1] == 13:
                Delta[0] *= 1.001
            return cost

        monkeypatch.setattr(sums, "accumulate_range", accumulate_range)
    elif way == "one by one":
        def accumulate(plan, theta, examples, m, Delta):
            cost = right[way](plan, theta, examples, m, Delta)
            if plan.layer_sizes[0] == 67:
                Delta[-1] *= 1.001
            return cost

        monkeypatch.setattr(sums, "accumulate_per_example", accumulate)
    elif way == "rows":
        def predict(plan, theta, X, out):
            right[way](plan, theta, X, out)
            if len(X) == 7:
                out[-1, -1] += 0.01 * np.abs(out).max()

        monkeypatch.setattr(sums, "predict", predict)
    elif way == "a row":
        predict_one = verify.Network.predict

        def predict(self, X, **how):
            h = predict_one(self, X, **how)
            return h * 1.001 if np.ndim(X) == 1 else h

        monkeypatch.setattr(verify.Network, "predict", predict)
    else:
        monkeypatch.setattr(verify, "SGD", lambda rate: fastbp.SGD(rate * 1.01))
    wrong = r"fastbp computes wrong results here: .* in a network \[.*eps from plain sums"
    with pytest.raises(ArithmeticError, match=wrong):
        fastbp.selftest()
