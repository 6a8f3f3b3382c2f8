"""Private methods of scikit-learn in subclasses: `_init_coef` may be overridden; any other one raises an error."""

import numpy as np
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
from sklearn.neural_network._multilayer_perceptron import MLPClassifier as MLPClassifier
from sklearn.neural_network._multilayer_perceptron import MLPRegressor as MLPRegressor

from .private import PrivateMethods

HONOURED = {"_init_coef", "_check_solver"}
GRADIENT = ("MLPRegressor(loss=...) has further losses, dropout= and clip_norm= change the gradient, solver= takes "
            "your own optimizer, and fastbp.Network gives cost and gradient for your own loop")
EPOCHS = "callbacks= is called after each epoch, solver= takes your own optimizer"
PREDICTIONS = "override predict and predict_proba"
INSTEAD = {
    "_backprop": GRADIENT,
    "_compute_loss_grad": GRADIENT,
    "_loss_grad_lbfgs": GRADIENT,
    "_unpack": "override fit, and set coefs_ and intercepts_ after super().fit(X, y)",
    "_fit_lbfgs": "callbacks= is called after each iteration; fastbp.minimize takes a Network",
    "_fit_stochastic": EPOCHS,
    "_update_no_improvement_count": f"scoring= sets the score of early stopping; {EPOCHS}",
    "_score": "scoring= sets the score of early stopping",
    "_score_with_function": "scoring= sets the score of early stopping",
    "_initialize": "override _init_coef, or pass init=(coefs, intercepts)",
    "_fit": "override fit and partial_fit",
    "_validate_input": "override fit and partial_fit",
    "_predict": PREDICTIONS,
    "_forward_pass": PREDICTIONS,
    "_forward_pass_fast": PREDICTIONS,
}


def _private(classes):
    """Names of the private methods and properties that these classes define."""
    return {
        name for cls in classes for name, value in vars(cls).items()
        if name.startswith("_") and not name.startswith("__") and (callable(value) or isinstance(value, property))
    }


OWN = {name: vars(PrivateMethods)[name] for name in ("_init_coef", "_forward_pass_fast")}
THEIRS = _private([BaseMultilayerPerceptron, MLPClassifier, MLPRegressor]) - HONOURED


ORIGINALS: dict[type, dict[str, object]] = {}   # class of fastbp -> name of a private method -> the original
NAMES: dict[type, set[str]] = {}                # class of fastbp -> private names that scikit-learn lacks


def adopt(cls, theirs):
    """Make `cls` a virtual subclass of scikit-learn's class, and remember its private methods as they are now."""
    theirs.register(cls)
    shared = _private(base for base in cls.__mro__ if base.__module__.startswith("sklearn."))
    for base in _ours(cls):
        ORIGINALS[base] = {name: getattr(base, name, None) for name in THEIRS}
        NAMES[base] = _private(_ours(base)) - shared - THEIRS - HONOURED


def _ours(cls):
    return [base for base in cls.__mro__ if base.__module__.startswith("fastbp.sklearn.")]


def check(estimator):
    """Raise TypeError if a subclass, a mixin or the instance overrides a private method that nothing calls."""
    cls = type(estimator)
    first = _ours(cls)[0]
    above = cls.__mro__[: cls.__mro__.index(first)]
    for own in [vars(estimator), *map(vars, above)]:
        for name in THEIRS & own.keys():
            _refuse(cls, first, name)
        for name in NAMES[first] & own.keys():
            raise TypeError(f"{cls.__name__} overrides {name}, a private name of fastbp's {first.__name__}; "
                            "use another name")
    for name, original in ORIGINALS[first].items():
        if getattr(first, name, None) is not original:
            _refuse(cls, first, name)
    if is_overridden(estimator, "_init_coef") and not (isinstance(estimator.init, str) and estimator.init == "auto"):
        raise ValueError(f"init={estimator.init!r} and the _init_coef of {cls.__name__} both set the start weights; "
                         "use init='auto' with _init_coef")


def _refuse(cls, base, name):
    instead = INSTEAD.get(name, "fastbp.Network and fastbp.Trainer let you write your own training")
    raise TypeError(f"{cls.__name__} overrides {name}, a private method of scikit-learn that fit of fastbp's "
                    f"{base.__name__} does not call. Instead: {instead}. "
                    "_init_coef is the only private method that may be overridden.")


def is_overridden(estimator, name):
    """Do a subclass, a mixin, a patch or the instance override this method of OWN, wrapped or not?"""
    method = getattr(estimator, name)
    return getattr(method, "__func__", None) is not OWN[name] or method.__self__ is not estimator


def draw(estimator, model):
    """Set the model's start values, layer by layer from the estimator's _init_coef(fan_in, fan_out, dtype).

    As in scikit-learn, coefs_ and intercepts_ hold the layers drawn so far, and _init_coef may change them.
    """
    estimator.coefs_, estimator.intercepts_ = [], []
    for layer, (W, b) in enumerate(zip(model.coefs, model.intercepts, strict=True)):
        estimator._drawn_layer = layer
        given = estimator._init_coef(*W.shape, model.net.dtype)
        where = f"{type(estimator).__name__}._init_coef{(*W.shape, model.net.dtype.name)}"
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise TypeError(f"{where} must return a pair (coef_init, intercept_init); got {type(given).__name__}")
        for own, a, name in ((W, given[0], "coef_init"), (b, given[1], "intercept_init")):
            own[...] = _checked(a, own, f"{where}: {name}")
        estimator.coefs_.append(W)
        estimator.intercepts_.append(b)
    del estimator._drawn_layer
    _take_over(estimator, model)


def _take_over(estimator, model):
    """Copy the arrays with which an _init_coef has replaced earlier entries of coefs_ and intercepts_."""
    for name, views in (("coefs_", model.coefs), ("intercepts_", model.intercepts)):
        arrays = getattr(estimator, name)
        if len(arrays) != len(views):
            raise ValueError(f"{name} must have an array for each of the {len(views)} layers after "
                             f"{type(estimator).__name__}._init_coef; it has {len(arrays)}")
        for layer, (view, a) in enumerate(zip(views, arrays, strict=True)):
            if a is not view:
                view[...] = _checked(a, view, f"{name}[{layer}], set in {type(estimator).__name__}._init_coef,")


def _checked(a, own, name):
    a = np.asarray(a)
    if a.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers; its dtype is {a.dtype}")
    if a.shape != own.shape:
        raise ValueError(f"{name} must have the shape {own.shape}; got {a.shape}")
    with np.errstate(over="ignore"):
        a = a.astype(own.dtype)
    if not np.isfinite(a).all():
        raise ValueError(f"{name} must hold finite numbers; it contains NaN or infinity in {own.dtype}")
    return a
