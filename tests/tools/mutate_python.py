"""Mutation testing of the Python layer by the operators of cosmic-ray.

    pip install cosmic-ray
    python tests/tools/mutate_python.py                         # a random sample of 25 mutants per module
    python tests/tools/mutate_python.py engine/checks training/feed --sample 0      # all of these two

Each mutant is one change in a copy of the tree, which the tests of its module must notice. Of the variants of an
operator at one place (a + b as a - b, a * b, ...) one is drawn; --seed draws others. Prints the survivors and, for each
module, the numbers of killed and of all mutants; exit status 1 if one survived that EXPLAINED does not name.
"""

import argparse
import contextlib
import difflib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import trees

RANKS = ["test_distributed.py", "test_ranks.py", "test_ranks_kept.py", "test_distributed_faults.py"]
NAMES = ["test_package.py"]     # tests of files that only import
MODULES = {     # the file under fastbp/ -> its tests, the likeliest to notice first
    "__init__": ["test_package.py"],
    "__main__": ["test_main.py"],
    "_types": NAMES,
    "base": ["test_optimizers.py", "test_settings.py", "test_schedules.py", "test_replaced.py",
             "test_replaced_state.py", "test_rules.py"],
    "callbacks": ["test_callbacks.py", "test_loop.py"],
    "config": ["test_package.py"],
    "container": ["test_container.py"],
    "evaluation": ["test_prepared.py", "test_gradient.py", "test_checks.py", "test_network.py", *RANKS],
    "html": ["test_shown.py"],
    "keywords": ["test_words.py"],
    "words": ["test_words.py", "test_network.py"],
    "engine/explain": ["test_words.py", "test_checks.py"],
    "engine/scalars": ["test_checks.py", "test_network.py", "test_trainer.py"],
    "curvature": ["test_curvature_minimize.py", "test_curvature.py"],
    "derivatives": ["test_outside.py", "test_each.py", "test_curvature.py"],
    "gradient": ["test_gradient.py", "test_settings.py", "faults/test_bad_calls.py"],
    "history": ["test_history.py", "test_progress.py", "test_callbacks.py"],
    "metrics": ["test_metrics.py"],
    "lbfgs": ["test_full_batch.py", "test_lbfgs.py"],
    "network": ["test_network.py", "test_gradient.py", "test_checks.py", "test_files.py"],
    "optimizers": ["test_optimizers.py", "test_replaced.py", "test_replaced_state.py", "test_rules.py",
                   "test_settings.py"],
    "rprop": ["test_optimizers.py", "test_replaced.py", "test_replaced_state.py", "test_rules.py", "test_settings.py"],
    "rules": ["test_optimizers.py", "test_replaced.py", "test_replaced_state.py", "test_rules.py", "test_settings.py"],
    "plot": ["test_plot.py"],
    "schedules": ["test_schedules.py", "test_settings.py"],
    "show": ["test_network.py", "test_losses.py"],
    "standardise": ["test_standardise.py"],
    "verify": ["faults/test_kernels_of_this_machine.py"],
    "datasets/__init__": ["test_datasets.py"],
    "distributed/__init__": NAMES,
    "distributed/describe": RANKS,
    "distributed/group": RANKS,
    "distributed/own": ["test_own_ranks.py"],
    "distributed/shard": RANKS,
    "distributed/sum": RANKS,
    "engine/__init__": NAMES,
    "engine/blas": ["test_gradient.py", "test_processes.py"],
    "engine/checks": ["test_checks.py", "test_arrays.py", "test_settings.py", "test_network.py"],
    "engine/classes": ["test_network.py", "test_metrics.py", "test_checks.py", "test_sklearn_additions.py"],
    "engine/data": ["test_prepared.py", "test_mean_weight.py", "test_mean_weight_kept.py", "test_arrays.py",
                    "test_checks.py", "test_training.py", *RANKS],
    "engine/initialize": ["test_initialize.py", "test_network.py"],
    "engine/memory": ["test_entries_kept.py", "test_normal.py", "test_network.py", "test_files.py"],
    "engine/curvature": ["test_curvature.py", "test_curvature_minimize.py"],
    "engine/each": ["test_each.py"],
    "engine/factors": ["test_factors.py"],
    "engine/frozen": ["test_frozen.py"],
    "engine/normal": ["test_normal.py", "test_lm.py"],
    "engine/outside": ["test_outside.py", "test_outside_steps.py"],
    "engine/own": ["test_own_losses.py", "test_own_loss_faults.py", "test_own_compiled.py", "test_added_fields.py"],
    "engine/objective": ["test_gradient.py", "test_regularisation.py", "test_network.py"],
    "engine/plan": ["test_network.py", "test_checks.py", "test_losses.py", "test_large.py", "test_dropout.py",
                    "test_cython_source.py"],
    "engine/quota": ["faults/test_threads.py", "test_crew_kept.py"],
    "engine/regularisation": ["test_regularisation.py", "test_rules.py", "test_settings.py"],
    "engine/sums": ["test_gradient.py", "test_network.py", "test_crew.py", "test_processes.py", "test_large.py"],
    "engine/threads": ["test_crew.py", "test_crew_kept.py", "test_crew_ends.py", "test_processes.py", "test_large.py",
                       "faults/test_threads.py"],
    "files/__init__": NAMES,
    "files/atomic": ["test_files.py", "test_container.py", "faults/test_interrupted_saves.py",
                     "faults/test_places_of_files.py"],
    "files/folder": ["faults/test_other_systems.py", "faults/test_interrupted_saves.py",
                     "faults/test_places_of_files.py", "test_files.py"],
    "files/container": ["test_container.py", "test_files.py", "faults/test_damaged_files.py",
                        "faults/test_forged_headers.py"],
    "files/added": ["test_added_fields.py"],
    "files/network": ["test_files.py", "test_added_fields.py", "faults/test_damaged_files.py",
                      "faults/test_forged_headers.py"],
    "files/estimator": ["test_estimator_files.py", "faults/test_forged_estimators.py"],
    "files/strict_json": ["test_container.py", "test_files.py", "faults/test_damaged_files.py",
                          "faults/test_forged_headers.py"],
    "files/values": ["test_values.py", "test_states.py", "faults/test_forged_checkpoints.py", "test_checkpoint.py"],
    "second_order/__init__": NAMES,
    "second_order/bayesian": ["test_bayesian.py"],
    "second_order/equations": ["test_lm.py", "test_bayesian.py"],
    "second_order/laplace": ["test_laplace.py"],
    "second_order/laplace_file": ["test_laplace.py"],
    "second_order/lm": ["test_lm.py"],
    "second_order/posterior": ["test_laplace.py"],
    "second_order/ranks": ["test_least_squares.py"],
    "training/__init__": NAMES,
    "training/arguments": ["test_loop.py", "test_settings.py", "test_training.py"],
    "training/checkpoint": ["test_checkpoint.py", "test_checkpoint_course.py", "test_checkpoint_interrupted.py",
                            "faults/test_forged_checkpoints.py",
                            *RANKS],
    "training/curved": ["test_curvature_minimize.py"],
    "training/diagonal": ["test_diagonal.py", "test_diagonal_kept.py"],
    "training/full_batch": ["test_full_batch.py"],
    "training/feed": ["test_feed.py", "test_training.py", "test_progress.py"],
    "training/hooks": ["test_callbacks.py", "test_loop.py", "test_checkpoint_course.py",
                       "test_checkpoint_interrupted.py", *RANKS],
    "training/kept": ["test_checkpoint.py", "test_checkpoint_refused.py", "test_checkpoint_course.py",
                      "test_checkpoint_interrupted.py", "faults/test_forged_checkpoints.py", *RANKS],
    "training/kinds": ["test_training.py", "test_trainer.py", "test_trainer_state.py", "test_optimizers.py", *RANKS],
    "training/least_squares": ["test_least_squares.py", "test_lm.py"],
    "training/loop": ["test_loop.py", "test_callbacks.py", "test_training.py", "test_checkpoint.py",
                      "test_checkpoint_course.py", "test_checkpoint_interrupted.py", *RANKS],
    "training/measures": ["test_training.py", "test_feed.py", "test_loop.py", "test_history.py", *RANKS],
    "training/lbfgs": ["test_lbfgs.py"],
    "training/minimize": ["test_minimize.py", *RANKS],
    "training/problem": ["test_minimize.py", "test_lm.py", "test_settings.py", *RANKS],
    "training/progress": ["test_progress.py", "test_optional_packages.py"],
    "training/quick": ["test_quick.py", "test_many.py"],
    "training/ranks/__init__": NAMES,
    "training/ranks/batches": RANKS,
    "training/ranks/feed": RANKS,
    "training/ranks/minimize": RANKS,
    "training/ranks/start": RANKS,
    "training/ranks/steps": RANKS,
    "training/rule": ["test_replaced.py", "test_replaced_state.py", "test_rules.py", "test_trainer.py",
                      "test_trainer_state.py"],
    "training/stretch": ["test_stretch.py", "test_many.py"],
    **{f"many/{name}": ["test_many.py", "test_many_errors.py", "test_many_kept.py"] for name in (
        "__init__", "job", "keeper", "progress", "quick", "ranks", "shared", "spread", "table", "train", "workers")},
    **{f"many/{name}": ["test_many_resumed.py", "test_many_ranks_resumed.py",
                        "test_many_kept.py"] for name in ("kept", "together", "under_way")},
    "many/ensemble": ["test_ensemble.py"],
    "training/start": ["test_training.py", "test_feed.py", "test_loop.py", "test_checkpoint.py", *RANKS],
    "training/states": ["test_states.py", "test_trainer_file.py", "faults/test_forged_checkpoints.py",
                        "test_checkpoint.py"],
    "training/outside": ["test_outside_steps.py"],
    "training/own": ["test_own_losses.py", "test_own_loss_faults.py", "test_frozen.py"],
    "training/ranks/own": ["test_own_ranks.py"],
    "training/steps": ["test_trainer.py", "test_trainer_state.py", "test_states.py", "test_trainer_file.py",
                       "test_optimizers.py", "test_dropout.py", "test_training.py", *RANKS],
    "training/train": ["test_training.py", "test_loop.py", "test_dropout.py", "test_checkpoint.py", *RANKS],
    "training/trainer": ["test_trainer.py", "test_trainer_state.py", "test_trainer_file.py", "test_optimizers.py",
                         "test_training.py", *RANKS],
    "training/trainer_file": ["test_trainer_file.py", "test_states.py", "faults/test_forged_checkpoints.py"],
    "sklearn/__init__": ["test_optional_packages.py"],
    "sklearn/base": ["test_sklearn_additions.py", "test_sklearn_interface.py", "test_sklearn_estimators.py"],
    "sklearn/callbacks": ["test_sklearn_additions.py", "test_optional_packages.py"],
    "sklearn/checkpoint": ["test_sklearn_checkpoint.py"],
    "sklearn/classifier": ["test_sklearn_additions.py", "test_sklearn_interface.py", "test_sklearn_estimators.py",
                           "test_sklearn_outputs.py"],
    "sklearn/fitting": ["test_sklearn_additions.py", "test_sklearn_engine.py", "test_sklearn_stopping.py",
                        "test_sklearn_estimators.py", "test_sklearn_interrupted.py", "test_sklearn_checkpoint.py"],
    "sklearn/inputs": ["test_sklearn_additions.py", "test_sklearn_estimators.py", "test_sklearn_engine.py"],
    "sklearn/kept": ["test_estimator_files.py", "faults/test_forged_estimators.py"],
    "sklearn/labels": ["test_sklearn_estimators.py", "test_sklearn_dropin.py", "test_sklearn_additions.py"],
    "sklearn/lbfgs": ["test_sklearn_engine.py", "test_sklearn_additions.py", "test_sklearn_estimators.py",
                      "test_sklearn_equality.py"],
    "sklearn/messages": ["test_sklearn_engine.py", "test_sklearn_estimators.py", "test_sklearn_interface.py"],
    "sklearn/model": ["test_sklearn_additions.py", "test_sklearn_interface.py", "test_sklearn_estimators.py"],
    "sklearn/one_thread": ["test_one_thread.py"],
    "sklearn/outputs": ["test_sklearn_outputs.py"],
    "sklearn/overrides": ["test_sklearn_dropin.py"],
    "sklearn/private": ["test_sklearn_outputs.py", "test_sklearn_dropin.py"],
    "sklearn/quick": ["test_sklearn_estimators.py", "test_sklearn_engine.py"],
    "sklearn/regressor": ["test_sklearn_additions.py", "test_sklearn_interface.py", "test_sklearn_estimators.py"],
    "sklearn/stochastic": ["test_sklearn_engine.py", "test_sklearn_additions.py", "test_sklearn_estimators.py",
                           "test_sklearn_reach.py"],
    **{f"tabular/{name}": ["test_tabular.py", "test_tabular_odd.py", "test_tabular_preparation.py"] for name in (
        "__init__", "base", "calibration", "choice", "classifier", "columns", "folds", "frames", "intervals",
        "preparation", "progress", "regressor", "training")},
    "tabular/given": ["test_first_steps.py", "test_tabular_odd.py"],
    "tabular/several": ["test_tabular_several.py"],
    "tabular/kept": ["test_estimator_files.py", "faults/test_forged_estimators.py"],
}
# module -> regular expression of the mutated line, optionally with " => " and one of the result -> why no test can
# notice
SEEDS = "from how many seeds one is drawn: any number that is large does"
EXPLAINED = {
    "engine/checks": {r"a\.ndim == 1 and K > 1 => ndim <= 1": "of 0 dimensions it was refused before"},
    "__main__": {r"comm\.Get_rank\(\) == 0 => <= 0": "a rank is never negative"},
    "datasets/__init__": {r"allow_pickle=False => True": "there is none in the file that the package brings"},
    "distributed/group": {
        r"hasattr\(os, .sched_getaffinity.\) else 0 => else ": "any constant does where none is told",
    },
    "sklearn/classifier": {r"np\.isfinite\(w\) & \(w >= 0\) => \*": "of true and false they are the same"},
    "sklearn/stochastic": {
        r"divisor == 1 or => divisor < ": "the longer way sums to the same but for rounding",
        r"trainer\.batch_lam == 0 => batch_lam <= 0": "it is never negative",
    },
    "sklearn/model": {r"random_state\.randint\(2\*\*31 - 1\) => 2\*\* ?(30|32)|2\*\*31 - ?[02]|2\*\*31 \+": SEEDS},
    "engine/data": {r"few\[0\] != theta\.dtype => is not": "NumPy has one object for each dtype in native order"},
    "engine/plan": {r"sum\(sizes\) > 16 \* CACHED => ": "a threshold of speed: both ways give the same bits"},
    "plot": {
        r"reshape\(len\(X\), -1\) => ~1": "to NumPy any negative length is the one that is left",
        r"\"linewidths\": 0\.6 => ": "how wide a line is",
    },
    "engine/regularisation": {
        r"self\.l1 == self\.batch_lam == 0 => batch_lam == -1|l1 < ": "never true: the longer way sums to the same",
    },
    "standardise": {r"given\[:, 0\] => given\[:, ?-1\]": "there is one column"},
    "engine/threads": {
        r"^TRIAL, LEAST => TRIAL": "lengths of trials: a matter of speed",
    },
    "training/ranks/feed": {r"rng\.integers\(2\*\*63\) => 2\*\* ?6[24]": SEEDS},
    "training/kinds": {
        r"^LARGE = 8 => ": "a threshold of speed: both ways sum to the same but for rounding",
    },
}


def family(operator):
    """The operator without its replacement: a family of variants of one change"""
    return re.sub(r"_[A-Za-z]+$", "", operator) if operator.count("_") > 1 else operator


def mutants(path):
    """[(line, operator, mutated source)], one for each place and family of operators"""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    source = path.read_text()
    tree = get_ast(source)
    places = defaultdict(list)
    for name in sorted(operator_names()):
        kind = get_operator(name)
        if kind.arguments():
            continue
        operator, occurrence = kind(), 0
        for node in ast_nodes(tree):
            for start, end in operator.mutation_positions(node):
                places[start, end, family(name)].append((name, occurrence))
                occurrence += 1

    def made(place, dice):
        name, occurrence = dice.choice(places[place])
        return place[0][0], name, mutate_code(source, get_operator(name)(), occurrence)

    return source, sorted(places), made


def change(before, after):
    """The lines that differ"""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))[2:]
    return [line for line in lines if line[0] in "-+"]


def explanation(module, lines):
    """The reason why no test can notice these differences; None without one"""
    before, after = ("\n".join(line[1:] for line in lines if line[0] == sign) for sign in "-+")
    for pattern, why in EXPLAINED.get(module, {}).items():
        line, _, became = pattern.partition(" => ")
        if re.search(line, before, re.M) and re.search(became, after, re.M):
            return why
    return None


def status(tree, command, seconds):
    """Exit status of the command in the tree; None after the time limit, when it and its children are ended"""
    process = subprocess.Popen(
        command, cwd=tree, env=trees.environment(tree), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(module, tree, sample, seed):
    """Try a sample of the mutants of a module; returns the number of unexplained survivors"""
    path = Path(tree) / "fastbp" / f"{module}.py"
    source, places, made = mutants(path)
    dice = random.Random(f"{seed} {module}")
    chosen = dice.sample(places, min(sample or len(places), len(places)))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
               *(f"tests/{name}" for name in MODULES[module])]
    begun = time.monotonic()
    if status(tree, command, 600) != 0:
        raise RuntimeError(f"the tests of {module} fail without a mutant: {' '.join(command)}")
    limit = 20 + 4 * (time.monotonic() - begun)     # a mutant may be an endless loop
    killed, reasons = 0, []
    for place in sorted(chosen):
        line, name, mutated = made(place, dice)
        path.write_text(mutated)
        told = status(tree, command, limit)
        path.write_text(source)
        if told != 0:
            killed += 1
            print(f"{module}: {killed} killed", file=sys.stderr, flush=True)
            continue
        lines = change(source, mutated)
        reasons.append(explanation(module, lines))
        print(f"    fastbp/{module}.py:{line} {name}{f'  explained: {reasons[-1]}' if reasons[-1] else ''}")
        print(*(f"        {each}" for each in lines), sep="\n", flush=True)
    left = reasons.count(None)
    print(f"{module}: {killed} of {len(chosen)} killed, {len(reasons) - left} explained, {left} not; of {len(places)} "
          "places", flush=True)
    return left


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", default=list(MODULES))
    parser.add_argument("--sample", type=int, default=25, help="mutants of a module; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = trees.copy(folder)
        for library in (trees.ROOT / "fastbp").glob("*.so"):
            shutil.copy2(library, tree / "fastbp")
        left = sum(run(module, tree, arguments.sample, arguments.seed) for module in arguments.modules)
    print(f"{left} survivors without an explanation")
    return 1 if left else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
