"""The pages that the benchmark writes."""

import sys
import types

import numpy as np
import pytest
from test_bench import BY_NAME, ROOT  # it finds bench/, or skips both files

from bench import (
    ceiling,
    command,
    compiler,
    contest,
    page,
    report,
    workloads,
)


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
