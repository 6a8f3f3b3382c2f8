"""The vector functions to their last bit, and the suite's core under every instruction set of this machine."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import DTYPES
from reference import sigmoid, softmax

from fastbp import _kernels

HERE = Path(__file__).parent
RNG = np.random.default_rng(0)
EXACT = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
}
ULPS = {"softmax": 4, "normcdf": 8}  # the others: 2


def vector(name, x):
    out = np.full_like(x, np.nan)
    _kernels.function(name, x, out)
    return out


def assert_within_ulps(ours, exact, ulps):
    """Units in the last place of the exact value; results that are not normal numbers may be 0"""
    dtype = np.finfo(ours.dtype)
    fits = (np.abs(exact) >= dtype.smallest_normal) & (np.abs(exact) <= dtype.max)
    unit = np.spacing(np.abs(exact[fits]).astype(ours.dtype)).astype(np.longdouble)
    error = np.abs(ours[fits] - exact[fits]) / unit
    assert fits.sum() > len(exact) / 4
    assert error.max() <= ulps, f"{error.max()} ulp at {exact[fits][error.argmax()]}"


def points(name, dtype):
    """Numbers of both signs, from the smallest to where the function saturates or overflows"""
    end = {"exp": 88, "expm1": 88, "sigmoid": 87, "tanh": 30, "log": 1e30, "log1p": 1e30}[name]
    x = np.concatenate([np.exp(RNG.uniform(-60, np.log(end), 20_000)), RNG.uniform(0, min(end, 88), 20_000)])
    x = np.concatenate([x, -x]) if name not in ("log", "log1p") else np.concatenate([x, 1 - np.exp(-x[x < 30])])
    return x.astype(dtype)[x.astype(dtype) != 0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_vector_function_is_good_to_two_units_in_the_last_place(name, dtype):
    x = points(name, dtype)
    with np.errstate(over="ignore", under="ignore"):
        assert_within_ulps(vector(name, x), EXACT[name](x.astype(np.longdouble)), ULPS.get(name, 2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_normal_distribution_function_is_good_in_both_tails(dtype):
    mpmath = pytest.importorskip("mpmath")
    x = RNG.uniform(-10, 6, 400).astype(dtype)
    with mpmath.workdps(30):
        exact = np.array([np.longdouble(mpmath.nstr(mpmath.ncdf(mpmath.mpf(float(v))), 25)) for v in x])
    assert_within_ulps(vector("normcdf", x), exact, ULPS["normcdf"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [2, 3, 7, 8, 9, 16, 17, 33, 64])
def test_softmax_is_good_to_four_units_in_the_last_place(K, dtype):
    for scale in (0.1, 3, 20):
        for z in (scale * RNG.standard_normal((50, K))).astype(dtype):
            assert_within_ulps(vector("softmax", z), softmax(z[None].astype(np.longdouble))[0], ULPS["softmax"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_a_lane_depends_on_its_own_value_alone(name, dtype):
    """The bits are the same for any length and any place"""
    x = np.abs(RNG.standard_normal(70)).astype(dtype)
    alone = np.concatenate([vector(name, x[i : i + 1].copy()) for i in range(70)])
    for n in range(1, 71):
        np.testing.assert_array_equal(vector(name, x[:n].copy()), alone[:n])


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits_of_the_vector_functions(dtype):
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -1e4, 1e4, np.finfo(dtype).max], dtype)
    inf, nan = np.inf, np.nan
    np.testing.assert_array_equal(vector("exp", x), np.array([inf, 0, nan, 1, 0, inf, inf], dtype))
    np.testing.assert_array_equal(vector("sigmoid", x), np.array([1, 0, nan, 0.5, 0, 1, 1], dtype))
    np.testing.assert_array_equal(vector("tanh", x), np.array([1, -1, nan, 0, -1, 1, 1], dtype))
    np.testing.assert_array_equal(vector("normcdf", x), np.array([1, 0, nan, 0.5, 0, 1, 1], dtype))
    np.testing.assert_array_equal(vector("expm1", x), np.array([inf, -1, nan, 0, -1, inf, inf], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits_of_the_logarithms(dtype):
    inf, nan = np.inf, np.nan
    x = np.array([0, -0.0, -1, -inf, nan, inf, 1, np.finfo(dtype).smallest_subnormal], dtype)
    log = vector("log", x)
    np.testing.assert_array_equal(log[:7], np.array([-inf, -inf, nan, nan, nan, inf, 0], dtype))
    assert log[7] == pytest.approx(float(np.log(np.longdouble(x[7]))), rel=2 * float(np.finfo(dtype).eps))
    x = np.array([-1, -2, -inf, nan, inf, 0], dtype)
    np.testing.assert_array_equal(vector("log1p", x), np.array([-inf, nan, nan, nan, inf, 0], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "expm1", "sigmoid"])
def test_results_end_where_the_dtype_does(name, dtype):
    """Results are right up to the last x with a normal result, and 0 or infinity from the next on"""
    info = np.finfo(dtype)
    low, high = (dtype(np.log(np.longdouble(end))) for end in (info.smallest_normal, info.max))
    inside = np.concatenate([np.linspace(low * dtype(0.9999), low * dtype(0.8), 1001, dtype=dtype),
                             np.linspace(high * dtype(0.8), high * dtype(0.9999), 1001, dtype=dtype)])
    with np.errstate(over="ignore"):
        assert_within_ulps(vector(name, inside), EXACT[name](inside.astype(np.longdouble)), 2)
    below, above = low * dtype(1 + 4 * info.eps), high * dtype(1 + 4 * info.eps)
    beyond = np.array([below, 1.0001 * low, 1.01 * low, 2 * low, above, 1.0001 * high, 1.01 * high, 2 * high], dtype)
    least, most = {"exp": (0, np.inf), "expm1": (-1, np.inf), "sigmoid": (0, 1)}[name]
    np.testing.assert_array_equal(vector(name, beyond), np.array([least] * 4 + [most] * 4, dtype))


def run(isa, *arguments):
    environment = os.environ | {"FASTBP_ISA": isa}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=HERE, env=environment)


@pytest.mark.skipif("FASTBP_ISA" in os.environ, reason="one instruction set is forced already")
@pytest.mark.parametrize("isa", [isa for isa in _kernels.available if isa != _kernels.isa])
def test_every_instruction_set_passes_the_core_of_the_suite(isa):
    core = (
        "kernels", "gradient", "losses", "dropout", "extremes", "optimizers", "published", "rules",
        "rules_of_others", "trainer", "training",
    )
    files = [str(HERE / f"test_{name}.py") for name in core]
    done = run(isa, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "not long and not ctrl", *files)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert run(isa, "-c", "from fastbp import _kernels; print(_kernels.isa)").stdout.strip() == isa


def test_unknown_instruction_set_is_refused_at_import():
    done = run("nonsense", "-c", "import fastbp")
    assert done.returncode != 0
    assert "FASTBP_ISA" in done.stderr
    assert "baseline" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh"])
def test_every_float32_is_within_two_ulp(name):
    """All 2^32 float32 against double precision, a few minutes each; results below the smallest normal may be 0"""
    exact = {"exp": np.exp, "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "tanh": np.tanh}[name]
    worst, step, out = 0.0, 2**24, np.empty(2**24, np.float32)
    with np.errstate(all="ignore"):
        for first in range(0, 2**32, step):
            x = np.arange(first, first + step, dtype=np.uint32).view(np.float32)
            _kernels.function(name, x, out)
            expected = exact(x.astype(np.float64))
            nan = np.isnan(expected)
            assert np.isnan(out[nan]).all()
            ordinary = ~nan & (np.abs(expected) <= np.finfo(np.float32).max)
            tiny = ordinary & (np.abs(expected) < np.finfo(np.float32).tiny)
            assert (np.abs(out[tiny] - expected[tiny]) <= np.finfo(np.float32).tiny).all()
            ordinary &= ~tiny
            if ordinary.any():
                ulp = np.ldexp(1.0, np.frexp(np.abs(expected[ordinary]))[1] - 24)
                worst = max(worst, float((np.abs(out[ordinary] - expected[ordinary]) / ulp).max()))
            beyond = ~nan & (np.abs(expected) > np.finfo(np.float32).max)
            assert (np.abs(out[beyond]) >= np.finfo(np.float32).max).all()
    assert worst <= 2, worst
