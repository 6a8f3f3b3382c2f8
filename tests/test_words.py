"""Words of scikit-learn, Keras and PyTorch: accepted as names, explained as keywords; the first try at regression."""

import copy
import inspect
import pickle

import numpy as np
import pytest
from communicators import ranks

import fastbp
from fastbp import callbacks, keywords, optimizers, schedules, words

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X @ [1.0, -2.0, 0.5] + 3


def said(call, kind=TypeError):
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def made(**given):
    net = fastbp.Network([3, 4, 2], **given)
    return net.output, net.loss


# ---------------------------------------------------------------- output and loss

@pytest.mark.parametrize(("output", "loss"), [
    ("identity", "squared_error"), ("tanh", "squared_error"), ("sigmoid", "cross_entropy"),
    ("softmax", "cross_entropy"), ("exp", "poisson"), ("linear", "squared_error"),
])
def test_fault_78_an_output_alone_has_the_loss_that_belongs_to_it(output, loss):
    assert made(output=output)[1] == loss


@pytest.mark.parametrize(("loss", "output"), [
    ("cross_entropy", "sigmoid"), ("log_loss", "sigmoid"), ("BCELoss", "sigmoid"), ("poisson", "exp"),
    ("squared_error", "identity"), ("MSELoss", "identity"), ("absolute_error", "identity"), ("huber", "identity"),
    ("quantile", "identity"), ("categorical_crossentropy", "softmax"), ("CrossEntropyLoss", "softmax"),
    ("SparseCategoricalCrossentropy", "softmax"), ("NLLLoss", "softmax"), ("nll", "softmax"), ("NLL-loss", "softmax"),
    ("Negative_Log_Likelihood", "softmax"), ("softmax_cross_entropy_with_logits", "softmax"),
    ("CategoricalCrossentropyLoss", "softmax"), ("sigmoid_cross_entropy", "sigmoid"), ("L2Loss", "identity"),
])
def test_fault_78_a_loss_alone_has_the_output_that_belongs_to_it(loss, output):
    assert made(loss=loss)[0] == output


def test_fault_78_neither_is_sigmoid_with_cross_entropy_and_both_are_as_given():
    assert made() == ("sigmoid", "cross_entropy")
    assert made(output="sigmoid", loss="squared_error") == ("sigmoid", "squared_error")
    assert made(output="sigmoid", loss="categorical_crossentropy") == ("sigmoid", "cross_entropy")
    assert "output must be a string" in said(lambda: made(loss="mse", output=3.5))
    assert "loss must be a string" in said(lambda: made(loss=3.5))
    assert "output must be a string" in said(lambda: made(output=3.5))


def test_fault_78_files_and_pickles_hold_both_names(tmp_path):
    net = fastbp.Network([3, 1], output="sigmoid", loss="squared_error", seed=0)
    fastbp.save(tmp_path / "net", net)
    for twin in (fastbp.load(tmp_path / "net"), pickle.loads(pickle.dumps(net)), copy.copy(net)):
        assert (twin.output, twin.loss) == ("sigmoid", "squared_error")
    with pytest.raises(TypeError, match="output must be a string"):
        net.__setstate__({**net.__getstate__(), "output": None})


def test_fault_78_regression_is_right_at_the_first_try():
    net = fastbp.Network([3, 20, 1], activation="ReLU", output="linear", seed=0)
    history = fastbp.train(net, X, Y, optimizer=fastbp.Adam(0.02), epochs=100, metrics=["r2_score"], seed=0)
    assert history["r2"][-1] > 0.95


@pytest.mark.parametrize("output", ["sigmoid", "tanh", "exp"])
def test_fault_78_targets_out_of_reach_name_the_network_for_them(output):
    text = said(lambda: fastbp.train(fastbp.Network([3, 1], output=output), X, Y, epochs=1), ValueError)
    assert "cannot reach" in text
    assert "output='identity', loss='squared_error'" in text
    assert "softmax" not in text


def test_fault_78_classes_in_one_output_name_the_network_for_them():
    net = fastbp.Network([3, 8, 1])
    text = said(lambda: fastbp.train(net, X, np.arange(40) % 3, epochs=1), ValueError)
    assert "for 3 classes with layer_sizes that end with 3 and output='softmax'" in text
    assert "softmax" not in said(lambda: net.cost(X, np.where(Y > 0, 1, -1)), ValueError)


# ---------------------------------------------------------------- names

@pytest.mark.parametrize(("given", "name"), [
    ("ReLU", "relu"), ("Tanh", "tanh"), ("LeakyReLU", "leaky_relu"), ("leaky-relu", "leaky_relu"), ("ELU", "elu"),
    ("SiLU", "silu"), ("swish", "silu"), ("GELU", "gelu"), ("logistic", "sigmoid"), ("linear", "identity"),
])
def test_fault_78_activations_may_be_spelled_as_elsewhere(given, name):
    assert fastbp.Network([3, 4, 1], activation=given).activation == (name,)
    assert fastbp.Network([3, 4, 1], activation=[given]).activation == (name,)


@pytest.mark.parametrize(("given", "name"), [
    ("mean_squared_error", "squared_error"), ("MSE", "squared_error"), ("mean_absolute_error", "absolute_error"),
    ("l2", "squared_error"), ("NLL", "cross_entropy"),
    ("L1Loss", "absolute_error"), ("HuberLoss", "huber"), ("SmoothL1Loss", "huber"), ("pinball", "quantile"),
    ("binary_crossentropy", "cross_entropy"), ("BCE", "cross_entropy"), ("BCEWithLogitsLoss", "cross_entropy"),
    ("sparse_categorical_crossentropy", "cross_entropy"), ("PoissonNLLLoss", "poisson"), ("Poisson", "poisson"),
])
def test_fault_78_losses_may_be_spelled_as_elsewhere(given, name):
    assert fastbp.Network([3, 2], loss=given).loss == name


@pytest.mark.parametrize(("given", "name"), [
    ("GlorotUniform", "glorot_uniform"), ("xavier_uniform_", "glorot_uniform"), ("kaiming_normal", "he_normal"),
    ("HeNormal", "he_normal"),
])
def test_fault_78_start_values_may_be_spelled_as_elsewhere(given, name):
    nets = [fastbp.Network([3, 2], init=init, seed=0) for init in (given, name)]
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes()
    assert nets[0].settings() == nets[1].settings()


@pytest.mark.parametrize(("given", "dtype"), [
    ("Float32", np.float32), ("FP32", np.float32), ("single", np.float32), ("torch.float64", np.float64),
    ("float", np.float64), ("f4", np.float32),
])
def test_fault_78_dtypes_may_be_spelled_as_elsewhere(given, dtype):
    assert fastbp.Network([3, 2], dtype=given).dtype == dtype


def test_fault_78_optimizers_methods_and_metrics_may_be_spelled_as_elsewhere():
    def net():
        return fastbp.Network([3, 1], output="identity", seed=0)

    for given in ("Adam", "RMSProp", "SGD", "NAdam", "AdamW", "Rprop"):
        assert type(fastbp.Trainer(net(), given).optimizer) in optimizers.NAMED.values()
    history = fastbp.train(net(), X, Y, epochs=1, optimizer="ADAM", metrics=["MSE", "mean_absolute_error"])
    assert list(history.metrics) == ["mse", "mae"]
    assert fastbp.minimize(net(), X, Y, method="lbfgs").fun == fastbp.minimize(net(), X, Y, method="L-BFGS").fun
    text = said(lambda: fastbp.Trainer(net(), "L-BFGS"), ValueError)
    assert "accepted are sgd, adam" in text
    assert "fastbp.minimize" in text


@pytest.mark.parametrize("given", ["relu6", "", "_", "re lu", "loss", "hard_sigmoid", "softmax"])
def test_fault_78_other_names_are_refused_and_the_accepted_listed(given):
    assert "accepted are sigmoid, tanh, relu" in said(lambda: fastbp.Network([3, 4, 1], activation=given), ValueError)
    with pytest.raises(ValueError, match="accepted are cross_entropy, squared_error"):
        fastbp.Network([3, 4, 1], loss=given)


def test_every_name_of_a_neighbour_stands_for_one_of_ours():
    kernels = fastbp._kernels
    assert set(words.LOSSES.values()) <= set(kernels.losses)
    assert set(words.FUNCTIONS.values()) <= {*kernels.activations, *kernels.outputs}
    assert set(words.METRICS.values()) <= set(fastbp.metrics.NAMED)
    for name in {*words.LOSSES} - {"poisson"}:
        assert words.resolve(name, kernels.losses, words.LOSSES) == words.LOSSES[name]
    assert words.resolve("swish", ("relu",), words.FUNCTIONS) is None


def test_fault_78_every_name_of_one_class_is_a_loss_however_it_is_spelled():
    for name in words.ONE_CLASS:
        for given in (name, name.upper(), name.replace("_", "-"), f"{name}_loss", f"{name}Loss".replace("_", "")):
            assert made(loss=given) == ("softmax", "cross_entropy"), given
            assert made(loss=given, output="sigmoid") == ("sigmoid", "cross_entropy")
            with pytest.raises(ValueError, match="output 'softmax' needs at least 2 units"):
                fastbp.Network([3, 1], loss=given)
    assert not any(words.one_class(name) for name in {*words.LOSSES, *fastbp._kernels.losses} - {*words.ONE_CLASS})


# ---------------------------------------------------------------- keywords

def net():
    return fastbp.Network([3, 1], output="identity", seed=0)


@pytest.mark.parametrize(("given", "hint"), [
    ({"learning_rate": 0.1}, "use optimizer=fastbp.Adam(learning_rate)"), ({"lr": 0.1}, "fastbp.Adam"),
    ({"verbose": 1}, "progress=True"), ({"validation_date": (X, Y)}, "did you mean 'validation_data'?"),
    ({"batchsize": 3}, "did you mean 'batch_size'?"), ({"max_iter": 3}, "use epochs"),
    ({"early_stopping": True}, "EarlyStopping"), ({"activation": "relu"}, "an argument of fastbp.Network"),
    ({"loss": "mse"}, "fastbp.Network"), ({"random_state": 0}, "use seed"), ({"class_weight": {}}, "sample_weight"),
    ({"wholly_unknown": 0}, "it has net, X, Y, optimizer"), ({"x": X}, "the examples are X"),
])
def test_fault_78_keywords_of_train_that_there_are_not_say_what_to_give(given, hint):
    model = net()
    before = model.theta.copy()
    text = said(lambda: fastbp.train(model, X, Y, epochs=1, **given))
    assert f"train() has no argument {next(iter(given))!r}" in text
    assert hint in text
    assert (model.theta == before).all()


def test_fault_78_several_wrong_keywords_are_told_at_once():
    text = said(lambda: fastbp.train(net(), X, Y, lr=0.1, verbose=1))
    assert text == ("train() has no argument 'lr': use optimizer=fastbp.Adam(learning_rate), "
                    "and no 'verbose': progress=True shows a bar")


def test_fault_78_missing_epochs_and_arguments_by_place_are_explained():
    assert said(lambda: fastbp.train(net(), X, Y)).startswith("train() needs epochs, the number of times")
    assert "train() takes net, X, Y by position; got 4 arguments; pass the others by name: optimizer=, epochs=" in said(
        lambda: fastbp.train(net(), X, Y, 20))
    assert "Network() takes layer_sizes, one list such as [64, 100, 10], by position; got 3" in said(
        lambda: fastbp.Network(64, 100, 10))
    assert said(lambda: schedules.Constant(0.1, 2)) == "Constant() takes learning_rate by position; got 2 arguments"
    assert "missing 1 required positional argument" in said(lambda: schedules.Constant())
    needs = keywords.explained(two_by_name)
    assert needs(a=1, b=2) == 3
    assert said(lambda: needs(a=1)) == "Two() needs b"


def two_by_name(*, a, b):
    return a + b


two_by_name.__qualname__, two_by_name.__module__ = "Two", "fastbp.optimizers"


@pytest.mark.parametrize(("given", "hint"), [
    ({"units": 3}, "use layer_sizes"), ({"hidden": 3}, "use layer_sizes"), ({"lr": 0.1}, "fastbp.train"),
    ({"random_state": 0}, "use seed"), ({"activatoin": "relu"}, "did you mean 'activation'?"),
    ({"dropout": 0.5}, "an argument of fastbp.train"), ({"kernel_initializer": "he"}, "use init"),
    ({"nonsense": 0}, "it has layer_sizes, activation"),
])
def test_fault_78_keywords_of_a_network_that_there_are_not_say_what_to_give(given, hint):
    assert hint in said(lambda: fastbp.Network([3, 1], **given))


@pytest.mark.parametrize(("call", "hint"), [
    (lambda: fastbp.Trainer(net(), lr=0.1), "Trainer() has no argument 'lr': use optimizer=fastbp.Adam("),
    (lambda: fastbp.Trainer(net(), epochs=3), "fastbp.train has epochs"),
    (lambda: fastbp.minimize(net(), X, Y, max_iter=3), "minimize() has no argument 'max_iter': use maxiter"),
    (lambda: fastbp.minimize(net(), X, Y, weight_deca=3), "did you mean 'weight_decay'?"),
    (lambda: fastbp.Adam(lr=0.1), "Adam() has no argument 'lr': use learning_rate"),
    (lambda: fastbp.AdamW(betas=(0.9, 0.99)), "use beta_1 and beta_2"),
    (lambda: fastbp.SGD(0.1, weight_decay=0.1), "use weight_decay of fastbp.train"),
    (lambda: fastbp.RMSprop(rho=0.1), "use decay"),
    (lambda: schedules.Cosine(0.1, T_max=3), "use steps"),
    (lambda: callbacks.EarlyStopping(restore_best_weights=True), "use restore_best"),
    (lambda: callbacks.ReduceOnPlateau(min_lr=0.1), "use least"),
])
def test_fault_78_keywords_of_trainers_optimizers_schedules_and_callbacks_too(call, hint):
    assert hint in said(call)


def test_fault_78_one_callback_goes_into_a_list():
    for one in (callbacks.EarlyStopping(), print):
        text = said(lambda one=one: fastbp.train(net(), X, Y, epochs=1, callbacks=one))
        assert "callbacks must be a list" in text
        assert text.endswith("callbacks=[...]")
    assert not said(lambda: fastbp.train(net(), X, Y, epochs=1, callbacks=3)).endswith("[...]")


def test_fault_78_assigning_theta_by_layers_says_how():
    model = net()
    with pytest.raises(AttributeError, match=r"net.Theta\[l\]\[:\] = .* net.theta = "):
        model.Theta = [np.ones((1, 4))]
    model.Theta[0][:] = 1
    assert (model.theta == 1).all()


@pytest.mark.parametrize(("name", "hint"), [
    ("fit", "fastbp.train(net, X, Y, epochs=20)"), ("coefs_", "net.theta"), ("predict_proba", "net.predict(X)"),
    ("score", "net.evaluate"), ("save", "fastbp.save"),
])
def test_fault_78_methods_of_neighbours_say_what_to_call(name, hint):
    text = said(lambda: getattr(net(), name), AttributeError)
    assert text.startswith(f"'Network' object has no attribute {name!r}; ")
    assert hint in text
    assert said(lambda: net().thet, AttributeError) == "'Network' object has no attribute 'thet'"
    assert not hasattr(net(), name)


@pytest.mark.parametrize("function", [
    fastbp.train, fastbp.minimize, fastbp.Network, fastbp.Trainer, *optimizers.NAMED.values(), schedules.Cosine,
])
def test_signatures_stay_as_they_are_written(function):
    parameters = inspect.signature(function).parameters
    assert all(each.kind is not each.VAR_KEYWORD for each in parameters.values())
    assert {*parameters} == {*keywords.ARGUMENTS[function.__name__]} - {"self"}


def test_every_hint_is_found_and_names_what_there_is():
    """`use x` names an argument; a hint for another spelling of an argument names that one"""
    for name, table in keywords.HINTS.items():
        known = keywords.ARGUMENTS.get(name)
        for word, hint in table.items():
            assert word == words.key(word)
            if known:
                assert {words.key(each): each for each in known}.get(word, "") in hint, (name, word)
                given = hint.removeprefix("use ").split()[0].split("=")[0].strip(",") if "use " in hint[:5] else None
                assert given is None or given in known, (name, word, hint)
    assert not {words.key(each) for each in dir(net()) if not each.startswith("_")} & keywords.ATTRIBUTES.keys()


def test_warnings_still_point_at_the_callers_line():
    start = np.full(fastbp.Network([2, 3, 1]).n_parameters, 0.5)
    model = fastbp.Network([2, 3, 1], seed=0)
    model.theta = start
    two = np.eye(2), np.array([0.0, 1.0])
    for call in (lambda: fastbp.Network([2, 3, 1], init=start), lambda: fastbp.train(model, *two, epochs=1),
                 lambda: fastbp.minimize(model, *two, maxiter=500),
                 lambda: ranks(2, lambda comm: fastbp.train(model.copy(), *two, epochs=1, comm=comm)),
                 lambda: ranks(2, lambda comm: fastbp.minimize(model.copy(), *two, maxiter=500, comm=comm))):
        with pytest.warns(UserWarning, match="start equal") as caught:
            call()
        assert [each.filename for each in caught] == [__file__]
