"""The benchmark counts correctly, clears variables that slow a peer down, and all its peers do the same work."""

import dataclasses
import functools
import importlib
import itertools
import json
import os
import subprocess
import sys
import types
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
    command,
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


# ---------------------------------------------------------------- the pages

class Dying:
    """A worker whose process ends when it prepares the form "bad"."""

    module, labels, n_threads = "peer_x", ["good", "bad", "also good"], 1

    def __init__(self):
        self.code, self.process = None, types.SimpleNamespace(poll=lambda: self.code)

    def revive(self):
        self.code = None

    def close(self):
        self.code = 0

    def ask(self, do, labels=(), **request):
        self.code = -6 if "bad" in labels else None
        return {"error": "the worker ended (-6)"} if self.code else {"ok": dict.fromkeys(labels, 0.0)}


def test_a_form_that_ends_its_process_is_named_and_the_others_run():
    said = []
    trial = contest.Contest.__new__(contest.Contest)
    trial.say, trial.workers, trial.settings = said.append, [Dying()], types.SimpleNamespace(full=True, peers=())
    ready = trial._prepare("path", workloads.TABLE[0])
    assert [contestant.label for contestant in ready] == ["good", "also good"]
    assert said == [f"bad on {workloads.TABLE[0].name}: the worker ended (-6)"]


def result(name, peer, dtype, threads, seconds):
    workload = BY_NAME[name]
    m, unit = workload.m, workload.unit
    return {
        "workload": name, "isa": "native", "dtype": dtype, "peer": peer, "threads": threads, "m": m,
        "seconds": seconds, "value": unit.value(seconds, workload.count(m)), "unit": unit.name,
        "wall_seconds": seconds, "cpu_seconds": seconds, "turns": [[seconds, seconds]], "prepare_seconds": 0.0,
        "first_seconds": seconds, "figures": [1.0], "agrees": peer != "liar", "roofline_seconds": seconds / 4,
    }  # fmt: skip


def made_up():
    name = "J and D 400-25-10"
    figures = [("fastbp", 1, 2e-3), ("fastbp", 2, 1e-3), ("JAX", 1, 3e-3), ("JAX", 2, 2.5e-3), ("liar", 2, 1e-6),
               ("fastbp steps", 2, 1e-6)]
    ceilings = {"flops": {"float32": 2e11, "float64": 1e11}, "sizes": dict(ceiling.SIZES),
                "bandwidths": {level: {"update": 1e11, "read": 1e11} for level in ceiling.LEVELS}}
    return {
        "machine": "a machine", "date": "2026-01-02T03:04:05+00:00", "command": "python -m bench --full",
        "versions": {"native": {"peer_fastbp": "fastbp 0.1.0 (avx512)", "peer_jax": "jax 0"}}, "missing": {},
        "ceilings": {"native": ceilings},
        "results": [result(name, peer, "float32", threads, seconds) for peer, threads, seconds in figures],
    }  # fmt: skip


def test_tables_compare_with_the_fastest_peer_that_did_the_same_work_and_with_one_thread_of_our_own():
    block = page.page(made_up()).partition("## Every peer")[0]
    assert "## AVX-512, one thread" in block
    one, two = ([cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines() if "J and D" in line)
    assert one[:6] == ["J and D 400-25-10", "ms, m = 5,000", "2", "25 %", "JAX 3", "1.50"]
    assert two[:7] == ["J and D 400-25-10", "ms, m = 5,000", "2", "1", "2.00", "JAX 2.5", "2.50"]
    assert "2026-01-02" in block
    assert "GFLOP/s: AVX-512 200 float32 and 100 float64" in block


def test_only_what_stands_between_the_marks_is_written(tmp_path):
    (tmp_path / "docs").mkdir()
    pages = [tmp_path / "README.md", tmp_path / "docs" / "benchmark.md"]
    for path in pages:
        path.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    for _ in range(2):
        assert page.write(made_up(), tmp_path) == pages
        for path in pages:
            text = path.read_text()
            assert text.startswith(f"before\n{page.BEGIN}\n")
            assert text.endswith(f"{page.END}\nafter\n")
            assert "old" not in text
            assert "JAX 3 " in text
        assert "JAX 2.5" in pages[1].read_text()    # two threads: the long page
    (tmp_path / "README.md").write_text("no marks")
    with pytest.raises(ValueError, match="bench: begin"):
        page.write(made_up(), tmp_path)


@pytest.mark.parametrize("path", ["README.md", "docs/benchmark.md"])
def test_the_pages_have_the_marks_once(path):
    text = (ROOT / path).read_text()
    assert text.count(page.BEGIN) == text.count(page.END) == 1
    assert text.index(page.BEGIN) < text.index(page.END)


def test_several_runs_are_read_as_one(tmp_path):
    native, other = made_up(), made_up()
    other["results"] = [r | {"isa": "avx2"} for r in other["results"]]
    for key in ("versions", "ceilings"):
        other[key] = {"avx2": other[key]["native"]}
    other["versions"]["avx2"]["peer_fastbp"] = "fastbp 0.1.0 (avx2)"
    for name, found in (("a", native), ("b", other)):
        report.write_json(found, tmp_path / name)
    both = report.read_json([tmp_path / "a", tmp_path / "b"])
    block = page.page(both).partition("## Every peer")[0]
    assert [line for line in block.splitlines() if line.startswith("#")] == [
        "## AVX-512, one thread", "## AVX-512, two threads", "## AVX2, one thread", "## AVX2, two threads"]


def test_what_is_measured_again_counts_as_in_the_later_run(tmp_path):
    early, late = made_up(), made_up()
    late["results"] = [late["results"][0] | {"seconds": 77.0}]
    for name, found in (("a", early), ("b", late)):
        report.write_json(found, tmp_path / name)
    both = report.read_json([tmp_path / "a", tmp_path / "b"])
    assert len(both["results"]) == len(early["results"])
    assert [r["seconds"] for r in both["results"]].count(77.0) == 1
    assert set(page.SHORT) <= set(workloads.WORKLOADS)


def test_the_command_line_knows_quick_and_full(monkeypatch):
    for arguments, full, rounds in (([], False, 3), (["--quick"], False, 3), (["--full"], True, 9)):
        monkeypatch.setattr(sys, "argv", ["bench", *arguments])
        settings = command.arguments()
        assert (settings.full, settings.rounds) == (full, rounds)
        assert command.chosen(settings) == workloads.TABLE


def test_fast_math_in_a_library_leaves_the_process_its_subnormal_numbers():
    compiler.library("double half(double x) { return x / 2; }", "-ffast-math")
    assert np.float64(1e-310) / 2 > 0
