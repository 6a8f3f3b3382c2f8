"""Fitted estimators outside Python: skl2onnx with scikit-learn's own converters, emlearn by public attributes."""

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn.datasets import load_iris, make_multilabel_classification, make_regression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from fastbp.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore::FutureWarning"),
]

X_iris, y_iris = load_iris(return_X_y=True)
X_reg, y_reg = make_regression(150, 5, random_state=0)
X_reg, y_reg = X_reg.astype(np.float32), y_reg / y_reg.std()
X_labels, y_labels = make_multilabel_classification(120, random_state=0)


@pytest.fixture(scope="module")
def to_onnx():
    """The code of docs/from_scikit_learn.md"""
    skl2onnx = pytest.importorskip("skl2onnx")
    from skl2onnx.operator_converters import multilayer_perceptron as converters
    from skl2onnx.shape_calculators.linear_classifier import calculate_linear_classifier_output_shapes
    from skl2onnx.shape_calculators.linear_regressor import calculate_linear_regressor_output_shapes

    skl2onnx.update_registered_converter(
        MLPClassifier, "FastbpMLPClassifier", calculate_linear_classifier_output_shapes,
        converters.convert_sklearn_mlp_classifier,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]},
    )
    skl2onnx.update_registered_converter(
        MLPRegressor, "FastbpMLPRegressor", calculate_linear_regressor_output_shapes,
        converters.convert_sklearn_mlp_regressor,
    )
    return skl2onnx.to_onnx


def run(model, X):
    session = pytest.importorskip("onnxruntime").InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: X})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("case", ["three classes", "two classes", "strings", "several labels"])
def test_classifiers_in_onnxruntime(to_onnx, case, activation, dtype):
    X, y = (X_labels, y_labels) if case == "several labels" else (X_iris, y_iris)
    if case == "two classes":
        X, y = X[:100], y[:100]
    if case == "strings":
        y = np.array(["setosa", "versicolor", "virginica"])[y]
    # onnxruntime has no Binarizer of doubles: scikit-learn's own class with several labels fails there too
    X = X.astype(np.float32 if case == "several labels" else dtype)
    estimator = MLPClassifier((9, 5), activation=activation, max_iter=30, random_state=0).fit(X, y)
    labels, proba = run(to_onnx(estimator, X[:1], options={"zipmap": False}), X)
    np.testing.assert_array_equal(labels, estimator.predict(X))
    np.testing.assert_allclose(proba, estimator.predict_proba(X), rtol=0, atol=1e-5)


def test_a_regressor_in_a_pipeline_in_onnxruntime(to_onnx):
    estimator = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=9, max_iter=30, random_state=0))
    estimator.fit(X_reg, y_reg)
    (h,) = run(to_onnx(estimator, X_reg[:1]), X_reg)
    np.testing.assert_allclose(h.ravel(), estimator.predict(X_reg), rtol=0, atol=1e-5)


@pytest.mark.parametrize("parameters", [{"activation": "gelu"}, {"activation": ["tanh"]}])
def test_functions_that_its_converter_has_not_are_refused_there(to_onnx, parameters):
    estimator = MLPRegressor(hidden_layer_sizes=(9,), max_iter=2, **parameters).fit(X_reg, y_reg)
    with pytest.raises((KeyError, TypeError)):
        to_onnx(estimator, X_reg[:1])
    with pytest.raises(KeyError, match="exp"):
        to_onnx(MLPRegressor("poisson", (9,), max_iter=2).fit(X_reg, np.abs(y_reg)), X_reg[:1])


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic"])
def test_emlearn_reads_what_is_public(activation, tmp_path, monkeypatch):
    emlearn = pytest.importorskip("emlearn")
    monkeypatch.chdir(tmp_path)     # it compiles in a folder tmp of the current one
    X = X_iris.astype(np.float32)
    estimator = MLPClassifier((9, 5), activation=activation, solver="lbfgs", max_iter=60, random_state=0)
    estimator.fit(X, y_iris)
    in_C = emlearn.convert(estimator)
    proba = in_C.predict_proba(X)
    np.testing.assert_allclose(proba, estimator.predict_proba(X), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(in_C.predict(X), estimator.predict(X))
    regressor = MLPRegressor(hidden_layer_sizes=9, activation=activation, max_iter=30, random_state=0)
    h = emlearn.convert(regressor.fit(X_reg, y_reg), return_type="regressor").predict(X_reg)
    np.testing.assert_allclose(np.ravel(h), regressor.predict(X_reg), rtol=0, atol=1e-4)
