"""The benchmark counts correctly, clears variables that slow a peer down, and all its peers do the same work."""

import dataclasses
import functools
import importlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parent.parent
if not (ROOT / "bench").is_dir():
    pytest.skip("no bench/ beside the tests", allow_module_level=True)
sys.path.insert(0, str(ROOT))
from bench import (  # noqa: E402
    ceiling,
    compiler,
    contest,
    data,
    environment,
    interpreters,
    page,
    problem,
    reference,
    report,
    roofline,
    workloads,
)

sys.path.remove(str(ROOT))
BY_NAME = workloads.WORKLOADS
TABLE = pytest.mark.parametrize("workload", workloads.TABLE, ids=lambda w: w.name)


def case(kind, m=12, sizes=(3, 4, 5, 2), **settings):
    return workloads.Workload("a case", kind, sizes, "flowers", m, workloads.PER_EXAMPLE, **settings)


def counted(sizes, backward):
    """The multiply-adds of one example, counted in the textbook's loops"""
    count = 0
    pairs = list(itertools.pairwise(sizes))
    for k, n in pairs:                          # z_j += Theta_ji a_i
        count += sum(1 for _ in range(n) for _ in range(k))
    for l, (k, n) in enumerate(pairs):
        if backward:                            # Delta_ji += delta_j a_i, then delta_i += Theta_ji delta_j
            count += sum(1 for _ in range(n) for _ in range(k))
            count += sum(1 for _ in range(k) for _ in range(n)) if l else 0
    return count


# ---------------------------------------------------------------- the roofline

@pytest.mark.parametrize("sizes", [(3, 4, 5, 2), (4, 8, 3), (784, 30, 10), (6, 2)])
@pytest.mark.parametrize("kind", ["train", "step", "gradient", "minimize", "evaluate", "predict"])
def test_operations_of_a_case_are_those_of_the_textbooks_loops(kind, sizes):
    backward = kind in ("train", "step", "gradient", "minimize")
    workload = case(kind, sizes=sizes, iterations=7 if kind == "minimize" else 0)
    assert roofline.multiply_adds(workload) == counted(sizes, backward)
    evaluations = 8 if kind == "minimize" else 1
    assert roofline.operations(workload, 12) == 2 * 12 * evaluations * counted(sizes, backward)


def test_operations_of_a_product_with_the_hessian_are_its_products_of_matrices():
    """Products: Theta and p with a; Theta with R a, delta and R delta; p with delta; R delta with a; delta with R a"""
    for sizes in ((3, 4, 5, 2), (6, 2)):
        first, rest = sizes[0] * sizes[1], counted(sizes[1:], False)
        assert roofline.multiply_adds(case("product", sizes=sizes)) == 3 * first + 8 * rest


@pytest.mark.parametrize(("workload", "sweeps"), [
    (case("train", batch_size=1), 12),                  # theta is read once per example
    (case("train", batch_size=1, epochs=3), 36),
    (case("train", batch_size=4), 3),                   # once per batch
    (case("train", batch_size=5), 3),                   # the last one short
    (case("step", batch_size=4, rows=4), 3),
    (case("gradient"), 1),                              # once per call
    (case("gradient", rows=1), 12),
    (case("product"), 1),
    (case("minimize", iterations=7), 8),                # once per evaluation, including the first
    (case("evaluate", rows=6), 2),
    (case("predict"), 12),
    (case("predict", rows=4), 3),
])
def test_bytes_of_a_case_are_theta_once_per_example_batch_or_call(workload, sweeps):
    n_parameters = sum(T.size for T in problem.start_weights(workload.layer_sizes))
    directions = 1 if workload.kind in ("predict", "evaluate") else 2
    for itemsize in (4, 8):
        assert roofline.traffic(workload, 12, itemsize) == sweeps * directions * n_parameters * itemsize


def test_roofline_is_the_longer_of_computing_and_moving_at_the_speed_of_the_cache_theta_fits_in():
    workload = case("train", batch_size=1)              # 53 parameters
    found = {"sizes": {"L1": 300, "L2": 1000, "L3": 10_000}, "flops": {"float32": 1e9, "float64": 5e8},
             "bandwidths": {level: {"update": rate, "read": 1.0} for level, rate in
                            (("L1", 1e12), ("L2", 1e3), ("L3", 1e2), ("memory", 1e1))}}
    assert workload.n_parameters == 4 * 4 + 5 * 5 + 6 * 2
    computing = 2 * 12 * counted(workload.layer_sizes, True) / 1e9
    assert roofline.seconds(workload, 12, "float32", 1, found) == pytest.approx(computing)      # 212 bytes: L1
    moving = 12 * 2 * 53 * 8 / 1e3
    assert roofline.seconds(workload, 12, "float64", 1, found) == pytest.approx(moving)         # 424 bytes: L2
    assert roofline.seconds(workload, 12, "float64", 2, found) == pytest.approx(moving / 2)
    assert [roofline.level(size, found["sizes"]) for size in (300, 301, 10_000, 10_001)] == ["L1", "L2", "L3", "memory"]


def test_ceiling_counts_the_operations_it_runs_and_measures_every_level():
    try:
        functions = ceiling.functions()
    except ImportError as error:
        pytest.skip(str(error))
    for dtype in ("float32", "float64"):
        lanes = functions.width() // np.dtype(dtype).itemsize
        assert getattr(functions, dtype)(10) == 2 * 10 * 12 * lanes
        assert ceiling.flops(dtype, 1) > 1e8
    assert set(ceiling.cache_sizes()) == {"L1", "L2", "L3"}


def test_cache_sizes_are_read_as_linux_tells_them(tmp_path):
    for i, told in enumerate([("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "2048K")]):
        (tmp_path / f"index{i}").mkdir()
        for name, value in zip(("level", "type", "size"), told, strict=True):
            (tmp_path / f"index{i}" / name).write_text(value + "\n")
    assert ceiling.cache_sizes(tmp_path) == {"L1": 48 * 1024, "L2": 2048 * 1024, "L3": ceiling.SIZES["L3"]}


# ---------------------------------------------------------------- the environment

SLOWING = {
    "OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_L2_SIZE": "64", "OMP_NUM_THREADS": "7", "MKL_NUM_THREADS": "7",
    "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2", "FASTBP_ISA": "baseline", "NPY_DISABLE_CPU_FEATURES": "X86_V4",
}  # fmt: skip
HARMLESS = {"PATH": "/bin", "HOME": "/root", "PYTHONPATH": "/x", "TORCHINDUCTOR_CACHE_DIR": "/y", "CC": "gcc"}


def test_environment_loses_what_slows_a_peer_down_and_nothing_else():
    assert environment.cleaned(SLOWING | HARMLESS) == HARMLESS
    assert environment.slowing(SLOWING | HARMLESS) == sorted(SLOWING)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("isa", environment.LIMITS)
def test_a_worker_is_held_to_its_threads_and_vectors_whatever_the_environment_says(monkeypatch, n_threads, isa):
    for name, value in SLOWING.items():
        monkeypatch.setenv(name, value)
    found = environment.environment(n_threads, isa)
    assert {found[name] for name in environment.THREADS} == {str(n_threads)}
    assert "OPENBLAS_L2_SIZE" not in found
    assert found.get("OPENBLAS_CORETYPE") == ("Haswell" if isa == "avx2" else None)
    assert found.get("FASTBP_ISA") == ("avx2" if isa == "avx2" else None)
    assert ("--xla_cpu_max_isa=AVX2" in found["XLA_FLAGS"]) == (isa == "avx2")
    assert ("intra_op_parallelism_threads=1" in found["XLA_FLAGS"]) == (n_threads == 1)
    assert "SSE4_2" not in found["XLA_FLAGS"]
    assert "max_isa" not in environment.environment(n_threads, isa, ("XLA_FLAGS",))["XLA_FLAGS"]


def bench(*arguments, **extra):
    clean = {name: value for name, value in os.environ.items() if name not in environment.slowing(os.environ)}
    return subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=ROOT, env=clean | extra, capture_output=True,
                          text=True, timeout=300)  # fmt: skip


def test_the_command_starts_again_in_a_clean_environment_with_a_word_and_before_numpy_is_loaded(tmp_path):
    done = bench("--workloads", "no such", **SLOWING)
    assert "no such workload" in done.stderr
    first, *others = done.stderr.splitlines()
    assert first.endswith(", ".join(sorted(SLOWING)))
    assert not any("cleared" in line for line in others)
    assert "cleared" not in bench("--workloads", "no such").stderr

    program = tmp_path / "program.py"
    program.write_text(f"import os, sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom bench.environment import restart\n"
                       "assert 'numpy' not in sys.modules\nrestart()\nprint(sys.argv[1:], *sorted(os.environ))\n")
    shown = subprocess.run([sys.executable, program, "a", "b c"], env=os.environ | SLOWING, capture_output=True,
                           text=True, timeout=60, check=True).stdout
    assert shown.startswith("['a', 'b c']")
    assert not set(SLOWING) & set(shown.split())


# ---------------------------------------------------------------- the peers

@TABLE
def test_a_workload_is_made_of_whole_batches_and_calls(workload):
    for full in (False, True):
        m = workload.size(full)
        assert m % (workload.rows or 1) == 0
        assert m % (workload.batch_size if workload.kind in ("train", "step") else 1) == 0
        assert workload.count(m) >= 1
    assert BY_NAME[workload.name] is workload


def test_the_table_of_threads_has_its_cases():
    assert {w.name for w in page.threaded()} == {
        "batch 32 784-128-10", "batch 2,000 784-256-128-10", "Adam 784-100-10", "J and D 400-25-10",
        "J and D 784-256-128-10"}  # fmt: skip


@functools.cache
def examples(name, m):
    return data.make(BY_NAME[name], m)


def small(workload, dtype):
    """The problem of the workload with a few examples"""
    batch_size = min(workload.batch_size, 64)
    m = 2 * max(workload.rows, batch_size, 20)
    workload = dataclasses.replace(workload, m=m, quick_m=0, batch_size=batch_size, epochs=min(workload.epochs, 2))
    X, Y = examples(workload.name, m)
    Theta = [T.astype(dtype) for T in problem.start_weights(workload.layer_sizes)]
    return problem.Problem(workload, X.astype(dtype), Y.astype(dtype), Theta)


@pytest.mark.parametrize("module", contest.MODULES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_peer_does_the_same_work_as_fastbp(module, dtype):
    """For each peer that is installed: the loss after training, J and D, J and accuracy, or predictions"""
    if module in interpreters.ENVIRONMENTS:
        pytest.skip("in an environment of its own")
    try:
        peer, ours = (importlib.import_module(f"bench.{name}") for name in (module, "peer_fastbp"))
        peer.version(1)
    except ImportError as error:
        pytest.skip(str(error))
    for workload in workloads.TABLE:
        if workload.alone and peer is not ours:
            continue
        here = small(workload, dtype)
        expected = run(ours, here, "fastbp")
        for label in peer.LABELS:
            if label not in getattr(peer, "FULL_ONLY", ()):
                found = run(peer, here, label)
                assert found is None or reference.agree(found, expected, dtype), (workload.name, label, found, expected)


def run(peer, here, label):
    prepared = peer.prepare(here, label)
    if prepared is None or not getattr(prepared, "same_loss", True):
        return None
    with threadpool_limits(1):      # as in a worker
        for _ in range(2):          # a second run starts where the first did
            prepared.reset()
            prepared.run()
    return reference.figures(here, prepared.outcome())


def test_an_environment_that_cannot_be_made_is_a_missing_peer_and_leaves_nothing(monkeypatch, tmp_path):
    def fails(folder):
        folder.mkdir()
        raise ImportError("no network")

    monkeypatch.setattr(interpreters, "FOLDER", tmp_path)
    monkeypatch.setattr(interpreters, "run", lambda parts: fails(Path(parts[-1])))
    said = []
    with pytest.raises(ImportError, match=r"jax==0\.4\.31.*no network"):
        interpreters.python(interpreters.OLD_JAX, said.append)
    assert len(said) == 1
    assert not list(tmp_path.iterdir())
    assert interpreters.python("peer_numpy", said.append) == sys.executable


def test_c_that_does_not_compile_is_a_missing_peer(monkeypatch, tmp_path):
    monkeypatch.setattr(compiler, "FOLDER", tmp_path)
    try:
        compiler.version()
    except ImportError as error:
        pytest.skip(str(error))
    with pytest.raises(ImportError, match="failed"):
        compiler.library("int f(void) { return x; }")
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ImportError, match="no C compiler"):
        compiler.library("int f(void) { return 1; }")


def test_a_run_names_each_missing_peer_in_one_line_and_shows_its_share_of_the_roofline(tmp_path):
    path = tmp_path / "found.json"
    done = bench("--workloads", "predict 4-8-3", "J and D of (1", "--peers", "fastbp", "numpy", "--threads", "1",
                 "--rounds", "1", "--dtype", "float32", "--json", str(path))
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert {r["peer"] for r in found["results"]} == {"fastbp", "NumPy"}
    assert all(r["agrees"] for r in found["results"])
    for name, why in found["missing"].items():
        assert f"{name} ({why})" in done.stdout
        assert "\n" not in why
    if found["ceilings"]:
        assert all(0 < r["roofline_seconds"] < r["seconds"] for r in found["results"])
        assert "of its roofline" in done.stdout
    assert report.text(report.read_json([path])) in done.stdout
