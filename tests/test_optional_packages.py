"""Without optional packages fastbp works, or names the missing package."""

import io
import subprocess
import sys

import numpy as np
import pytest

import fastbp


def run(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False)


@pytest.mark.parametrize(("missing", "module", "extra"), [
    ("matplotlib.figure", "fastbp.plot", "fastbp[plot]"), ("sklearn", "fastbp.sklearn", "fastbp[sklearn]"),
    ("sklearn", "fastbp.tabular", "fastbp[sklearn]"),
])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(missing, module, extra):
    done = run(f"import sys; sys.modules[{missing!r}] = None; import {module}")
    assert done.returncode != 0
    assert "ImportError" in done.stderr
    assert extra in done.stderr.splitlines()[-1]


def test_a_scikit_learn_that_is_too_old_is_refused_with_its_version():
    done = run("import sys, types; old = sys.modules['sklearn'] = types.ModuleType('sklearn'); "
               "old.__version__ = '1.6.2'; import fastbp.sklearn")
    said = done.stderr.splitlines()[-1]
    assert said == "ImportError: fastbp.sklearn needs scikit-learn 1.7 or newer; installed is 1.6.2"


def test_a_scikit_learn_that_is_new_enough_is_taken_however_its_version_is_written():
    pytest.importorskip("sklearn")
    done = run("import importlib, sklearn; sklearn.__version__ = '1.7.0'; import fastbp.sklearn as estimators\n"
               "for version in ('1.10.dev0', '2.0.0rc1', '1.6.9'):\n"
               "    sklearn.__version__ = version; importlib.reload(estimators); print(version)")
    assert done.stdout.split() == ["1.10.dev0", "2.0.0rc1"], done.stderr
    assert done.stderr.splitlines()[-1].endswith("installed is 1.6.9")      # so each was looked at


def test_estimators_do_without_the_callbacks_of_a_newer_scikit_learn():
    pytest.importorskip("sklearn")
    done = run("import sys, sklearn.neural_network; sys.modules['sklearn.callback'] = None\n"
               "import numpy as np, fastbp.sklearn as s\n"
               "X = np.arange(40.0).reshape(20, 2) / 40; y = np.arange(20) // 10\n"
               "seen = []\n"
               "e = s.MLPClassifier(random_state=0, max_iter=3, tol=0, n_iter_no_change=99, callbacks=[seen.append])\n"
               "import warnings; warnings.simplefilter('ignore'); e.fit(X, y); print(e.n_iter_, len(seen))")
    assert done.stdout.split() == ["3", "3"], done.stderr


def test_progress_is_lines_of_text_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    fastbp.train(fastbp.Network([2, 1], seed=0), np.eye(2), np.array([0.0, 1.0]), epochs=3, progress=True)
    assert len(screen.getvalue().splitlines()) == 3
    assert "\r" not in screen.getvalue()


def test_tables_need_neither_pandas_nor_polars():
    pytest.importorskip("sklearn")
    done = run("import sys\n"
               "class Missing:\n"
               "    def find_spec(self, name, path=None, target=None):\n"
               "        if name.partition('.')[0] in ('pandas', 'polars'): raise ImportError(name)\n"
               "sys.meta_path.insert(0, Missing())\n"
               "from fastbp.tabular import TabularRegressor\n"
               "X = [[1, 'a'], [2, 'b'], [None, 'a'], [4, 'b']]\n"
               "print(TabularRegressor(2, epochs=1).fit(X, [1, 2, 3, 4]).predict(X).shape)")
    assert done.stdout.split() == ["(4,)"], done.stderr
