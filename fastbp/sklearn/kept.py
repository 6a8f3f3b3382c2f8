"""MLPClassifier and MLPRegressor as values and a network, for `fastbp.save`, and estimators made from a network."""

import math
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from ..files.estimator import names_of, of_labels, of_type, put_names, to_labels, whole, words
from ..files.strict_json import FormatError
from ..files.values import fields
from ..network import Network
from .model import Model
from .outputs import FUNCTIONS

COUNTS = ("n_iter_", "t_", "_no_improvement_count")
NUMBERS = ("loss_", "best_loss_", "best_validation_score_")
CURVES = ("loss_curve_", "validation_scores_", "validation_loss_curve_")
TARGETS = ("binary", "multiclass", "multilabel-indicator")


class Kept:
    """Mixin of both estimators: the network behind coefs_ and intercepts_, and files."""

    loss: str
    out_activation_: str
    n_features_in_: int
    classes_: Any
    _label_binarizer: LabelBinarizer
    _announce_classes: Any      # of a classifier
    _functions: Any
    _hold: Any
    _model_of_weights: Any
    _output: Any

    @property
    def network_(self) -> Network:
        """A copy of the network behind ``coefs_`` and ``intercepts_``, with the loss of the fit."""
        if "coefs_" not in vars(self):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet: it has no network_")
        model = self._model_of_weights()
        if model._apply is not None:
            raise AttributeError(f"network_: out_activation_={self.out_activation_!r} has no network with "
                                 f"loss={self.loss!r}; set out_activation_={self._output()!r}")
        return model.net.copy()

    def _around(self, net: Network) -> Self:
        """Set the fitted attributes to those of a network; returns self."""
        self._hold(Model.of([Theta[:, 1:].T for Theta in net.Theta], [Theta[:, 0] for Theta in net.Theta],
                            self._functions()))
        self.n_layers_, self.n_outputs_ = len(net.layer_sizes), net.layer_sizes[-1]
        self._drawn_hidden = list(net.layer_sizes[1:-1])
        self._best_theta = self._model_of_weights().net.theta.copy()
        return self

    def _kept(self) -> tuple[dict[str, Any], list[Network]]:
        """The fitted state for files: values, and the network of coefs_ and intercepts_."""
        check_is_fitted(self)
        known = vars(self)
        values: dict[str, Any] = {
            "names": names_of(self), "n_features": int(self.n_features_in_), "out_activation": self.out_activation_,
            "counts": [int(known.get(name, 0)) for name in COUNTS],
            "numbers": [None if known.get(name) is None else float(known[name]) for name in NUMBERS],
            "curves": [None if known.get(name) is None else np.array(known[name], np.float64) for name in CURVES],
        }
        if "_label_binarizer" in known:
            values |= {"classes": of_labels(np.asarray(self.classes_)), "target": self._label_binarizer.y_type_}
        return values, [self._model_of_weights().net]

    def _take(self, values: Any, networks: list[Network]) -> None:
        """Take over the fitted state from a file."""
        own = {"classes", "target"} if hasattr(self, "_announce_classes") else set()
        fields(values, {"names", "n_features", "out_activation", "counts", "numbers", "curves"} | own,
               type(self).__name__)
        net, = networks
        names = None if values["names"] is None else words(values, "names")
        put_names(self, names, whole(values, "n_features", 1))
        self.out_activation_ = of_type(values, "out_activation", str)
        if self.out_activation_ not in FUNCTIONS or net.layer_sizes[0] != self.n_features_in_:
            raise FormatError(f"the network has {net.layer_sizes[0]} inputs for {self.n_features_in_} columns, or "
                              f"out_activation {self.out_activation_!r:.60} is unknown")
        if own:
            self._announce_classes(to_labels(values["classes"], "classes"), values["target"], net.layer_sizes[-1])
        self._take_course(values)
        self._around(net)
        found = self._model_of_weights().net
        if (found.layer_sizes, found.activation, found.output) != (net.layer_sizes, net.activation, net.output):
            raise FormatError(f"the network is {net!r:.200}; the parameters ask for {found!r:.200}")

    def _take_course(self, values: dict[str, Any]) -> None:
        """Take over counts, numbers and curves of the fit."""
        lists = [of_type(values, name, list) for name in ("counts", "numbers", "curves")]
        for given, names, is_good in zip(lists, (COUNTS, NUMBERS, CURVES), (_is_count, _is_number, _is_curve),
                                         strict=True):
            if len(given) != len(names) or not all(map(is_good, given)):
                raise FormatError(f"{', '.join(names)}: their values are {given!r:.200}")
            for name, value in zip(names, given, strict=True):
                setattr(self, name, value.tolist() if isinstance(value, np.ndarray) else value)
        if values["curves"][0] is None:     # a fit with lbfgs has none of these
            for name in (*CURVES, *NUMBERS[1:]):
                delattr(self, name)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_number(value: Any) -> bool:
    return value is None or type(value) is float


def _is_curve(value: Any) -> bool:
    return value is None or (isinstance(value, np.ndarray) and value.dtype == np.float64 and value.ndim == 1)


def settings_of(net: Network) -> dict[str, Any]:
    """hidden_layer_sizes and activation of a network."""
    if not isinstance(net, Network):
        raise TypeError(f"net must be a fastbp.Network; got {net!r:.100}")
    names = net.activation
    one = names[0] if names and len(set(names)) == 1 else list(names) or "identity"
    return {"hidden_layer_sizes": tuple(net.layer_sizes[1:-1]), "activation": one}


def begin(estimator: Any, net: Network, output: str) -> Any:
    """The estimator with this network, as if fitted for 0 epochs."""
    estimator.n_features_in_, estimator.out_activation_ = net.layer_sizes[0], output
    estimator.n_iter_ = estimator.t_ = 0
    estimator.loss_ = math.inf
    estimator._around(net)
    estimator._start_curves()
    return estimator


class KeptClassifier(Kept):
    """The same for the classifier, whose classes have names."""

    @classmethod
    def from_network(cls, net: Network, classes: ArrayLike, **parameters: Any) -> Self:
        """An estimator that predicts with a copy of a trained network.

        Parameters
        ----------
        net : Network
            With the loss cross_entropy and softmax, or sigmoid with one output for two classes or one for each label.
        classes : array-like of shape (n_classes,)
            Name of each class, in the order of the outputs; for one sigmoid output the classes of 0 and 1.
        **parameters : dict
            Parameters of the constructor, for further training.

        Returns
        -------
        MLPClassifier
            With the activation and the hidden layers of the network.
        """
        settings, names = settings_of(net), np.asarray(classes)
        if net.loss != "cross_entropy":
            raise ValueError(f"net must have the loss cross_entropy; it has {net.loss}")
        K = net.layer_sizes[-1]
        target = "multiclass" if net.output == "softmax" else "binary" if K == 1 else "multilabel-indicator"
        estimator = cls(**{**settings, **parameters})
        estimator._announce_classes(names, target, K)
        return begin(estimator, net, "softmax" if net.output == "softmax" else "logistic")

    def _announce_classes(self, classes: np.ndarray, target: Any, K: int) -> None:
        """Set the classes of K outputs."""
        if target not in TARGETS:
            raise ValueError(f"target is {target!r:.60}; accepted are {', '.join(TARGETS)}")
        n = 2 if (target, K) == ("binary", 1) else K
        if classes.ndim != 1 or len(set(classes.tolist())) != len(classes) or not (
                len(classes) == n or (n == 2 and len(classes) == 1)):
            raise ValueError(f"classes must be {n} different labels; got {classes!r:.200}")
        binarizer = LabelBinarizer()
        binarizer.classes_, binarizer.y_type_, binarizer.sparse_input_ = classes, target, False
        self._label_binarizer, self.classes_ = binarizer, classes


class KeptRegressor(Kept):
    """The same for the regressor."""

    @classmethod
    def from_network(cls, net: Network, **parameters: Any) -> Self:
        """An estimator that predicts with a copy of a trained network.

        Parameters
        ----------
        net : Network
            With identity outputs, or exp for the loss poisson.
        **parameters : dict
            Parameters of the constructor, for further training.

        Returns
        -------
        MLPRegressor
            With the activation, the hidden layers and the loss of the network.
        """
        settings = settings_of(net)
        if (net.output, net.loss) != ("exp", "poisson") and (net.output != "identity" or net.loss == "poisson"):
            raise ValueError(f"net must have identity outputs, or exp with poisson; it has {net.output} and {net.loss}")
        estimator = cls(**{**settings, "loss": net.loss, **net.loss_parameters, **parameters})
        return begin(estimator, net, net.output)

