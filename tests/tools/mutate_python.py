"""Mutation testing of the Python layer by the operators of cosmic-ray.

    pip install cosmic-ray
    python tests/tools/mutate_python.py                         # a random sample of 25 mutants a module
    python tests/tools/mutate_python.py checks feed --sample 0  # all of these two

Each mutant is one change in a copy of the tree, which the tests of its module must notice. Of the variants of an
operator at one place (a + b as a - b, a * b, ...) one is drawn; --seed draws others. Prints the survivors and, for each
module, how many of how many were killed; exit status 1 where one survived that EXPLAINED does not name.
"""

import argparse
import difflib
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import trees

MODULES = {
    "atomic": ["test_files.py", "faults/test_interrupted_saves.py"],
    "blas": ["test_gradient.py", "test_processes.py"],
    "callbacks": ["test_callbacks.py", "test_loop.py"],
    "checks": ["test_checks.py", "test_arrays.py", "test_settings.py", "test_network.py"],
    "container": ["test_files.py", "faults/test_damaged_files.py"],
    "data": ["test_arrays.py", "test_checks.py", "test_training.py"],
    "feed": ["test_loop.py", "test_training.py"],
    "files": ["test_files.py", "faults/test_damaged_files.py"],
    "fullbatch": ["test_minimize.py"],
    "gradient": ["test_gradient.py", "test_network.py", "test_processes.py", "test_large.py"],
    "history": ["test_history.py"],
    "initialize": ["test_initialize.py", "test_network.py"],
    "metrics": ["test_metrics.py"],
    "network": ["test_network.py", "test_gradient.py", "test_checks.py", "test_files.py"],
    "optimizers": ["test_optimizers.py", "test_rules.py", "test_settings.py"],
    "plan": ["test_network.py", "test_checks.py", "test_losses.py", "test_large.py", "test_dropout.py"],
    "regularisation": ["test_regularisation.py", "test_rules.py", "test_settings.py"],
    "rule": ["test_rules.py", "test_trainer.py", "test_trainer_state.py"],
    "schedules": ["test_schedules.py", "test_settings.py"],
    "standardise": ["test_standardise.py"],
    "strict_json": ["test_files.py", "faults/test_damaged_files.py"],
    "threads": ["test_processes.py", "test_large.py"],
    "training": ["test_trainer.py", "test_trainer_state.py", "test_training.py", "test_optimizers.py"],
}
# module -> regular expression of the mutated line -> why no test can tell
EXPLAINED = {}


def family(operator):
    """The operator without what it puts in: variants of one change"""
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
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))[3:]
    return "\n".join("        " + line for line in lines)


def run(module, tree, sample, seed):
    """-> killed, tried, places, the survivors as text"""
    path = Path(tree) / "fastbp" / f"{module}.py"
    source, places, made = mutants(path)
    dice = random.Random(f"{seed} {module}")
    chosen = dice.sample(places, min(sample or len(places), len(places)))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
               *(f"tests/{name}" for name in MODULES[module])]
    if trees.run(tree, command, capture_output=True).returncode:
        raise RuntimeError(f"the tests of {module} fail without a mutant")
    killed, survivors = 0, []
    for place in sorted(chosen):
        line, name, mutated = made(place, dice)
        path.write_text(mutated)
        try:
            status = trees.run(tree, command, capture_output=True, timeout=300).returncode
        except subprocess.TimeoutExpired:
            status = -1
        path.write_text(source)
        if status:
            killed += 1
            continue
        text = source.splitlines()[line - 1]
        why = next((why for pattern, why in EXPLAINED.get(module, {}).items() if re.search(pattern, text)), None)
        survivors.append(why)
        print(f"    fastbp/{module}.py:{line} {name}{f'  explained: {why}' if why else ''}", change(source, mutated),
              sep="\n", flush=True)
    print(f"{module}: {killed} of {len(chosen)} killed, {len(survivors)} survived; of {len(places)} places", flush=True)
    return sum(why is None for why in survivors)


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
