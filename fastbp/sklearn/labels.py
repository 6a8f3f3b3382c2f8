"""Labels of a classifier as codes, and back; errors in scikit-learn's words."""

from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels

FEW = 8     # up to this many classes are found faster one by one


def class_factors(class_weight, y, classes):
    """The factor (m,) of each example by its class, as in scikit-learn, but y may lack some of `classes`.

    For several labels y is (m, K) and class_weight has an entry for each column; their factors are multiplied.
    """
    if isinstance(class_weight, str):
        return compute_sample_weight(class_weight, y)
    if y.ndim == 1:
        if not isinstance(class_weight, dict):
            raise TypeError("a list is for several labels; y has one column")
        classes, codes = np.unique(np.concatenate([classes, y]), return_inverse=True)
        return compute_class_weight(class_weight, classes=classes, y=y)[codes[-len(y) :]]
    if isinstance(class_weight, dict) or len(class_weight) != y.shape[1]:
        return compute_sample_weight(class_weight, y)       # its errors are clear
    columns = [class_factors(each, column, [0, 1]) for each, column in zip(class_weight, y.T, strict=True)]
    return np.prod(columns, axis=0, dtype=np.float64)


@lru_cache(1024)
def _target(code, dtype):
    """The label of one row, as the engine takes it."""
    target = np.array([code], dtype)
    target.flags.writeable = False
    return target


def has_one_class(estimator):
    """Does the binarizer have a single class? False without a binarizer: scikit-learn's probabilities need none."""
    binarizer = vars(estimator).get("_label_binarizer")
    return binarizer is not None and len(binarizer.classes_) == 1


def _codes(classes, y):
    """The places of y in classes, which need not be sorted."""
    order = np.argsort(classes, kind="stable")
    codes = order[np.minimum(np.searchsorted(classes, y, sorter=order), len(classes) - 1)]
    if not (unknown := classes[codes] != y).any():
        return codes
    raise ValueError(f"`y` has {y[unknown][0]!r}, which is in `self.classes_` but not in `_label_binarizer.classes_`: "
                     f"{classes}. Set both to the same labels to continue")


def binarizer_of(y):
    """A fitted LabelBinarizer; for a plain vector of labels its checks, which take milliseconds, are skipped."""
    if y.ndim == 1 and y.dtype.kind in "iubU":
        classes = np.unique(y)
        if len(classes) <= len(y) / 2:      # else scikit-learn warns that this looks like regression
            binarizer = LabelBinarizer()
            binarizer.classes_, binarizer.sparse_input_ = classes, False
            binarizer.y_type_ = "multiclass" if len(classes) > 2 else "binary"
            return binarizer
    return LabelBinarizer().fit(y)


def refuse_bytes(y):
    """Raise scikit-learn's TypeError if a label is bytes."""
    for label in np.ravel(y):
        if isinstance(label, bytes):
            unique_labels([label])


class Labels:
    """Mixin of the classifier: y as the engine takes it, and labels of the outputs."""

    classes_: np.ndarray
    class_weight: Any
    warm_start: bool
    out_activation_: str
    _label_binarizer: LabelBinarizer

    def _encode(self, y, needed):
        """y as the engine takes it: labels 0 .. K - 1 (m,); 0 and 1 (m,) for two classes, (m, K) for several labels."""
        binarizer = self._label_binarizer
        if binarizer.y_type_.startswith("multilabel") or y.ndim != 1:
            if needed:
                self._check_classes(unique_labels(y), needed)
            return binarizer.transform(y).astype(bool).astype(np.uint8)
        classes = np.asarray(binarizer.classes_)
        codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
        if needed and (
            not (classes[codes] == y).all() or (needed == "same" and len(np.unique(codes)) < len(classes))
            or not self._agrees(classes)
        ):
            self._check_classes(unique_labels(y), needed)
            codes = _codes(classes, y)
        return codes if binarizer.y_type_ == "multiclass" else codes.astype(np.uint8)

    def _check_classes(self, classes, needed):
        if needed == "same" and set(classes) != set(self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes_}, `y` has {classes}"
            )
        if needed == "known" and len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _agrees(self, classes):
        """Is classes_ equal to these classes of the binarizer? Users may have set one of them."""
        own = self.classes_
        if own is classes or (type(own) is np.ndarray and own.dtype == classes.dtype
                              and own.tobytes() == classes.tobytes()):      # copies, as joblib makes them
            return True
        return len(own) == len(classes) and bool(np.all(own == classes))

    def _quick_target(self, y, dtype):
        classes = self._label_binarizer.classes_
        if (
            type(classes) is not np.ndarray or not self._agrees(classes)
            or y.shape != (1,) or y.dtype.kind != classes.dtype.kind or self.class_weight is not None or self.warm_start
            or self._label_binarizer.y_type_.startswith("multilabel")
        ):
            return None
        if len(classes) <= FEW and classes.dtype.kind in "iubfU":
            names, label = classes.tolist(), y.item()
            if label not in names:
                return None
            code = names.index(label)
        else:
            code = int(classes.searchsorted(y[0]))
            if code == len(classes) or classes[code] != y[0]:
                return None
        return _target(code, np.int64 if self.out_activation_ == "softmax" else dtype)

    def _announce(self, y, classes):
        if _check_partial_fit_first_call(self, classes):
            with np.errstate(invalid="ignore"):     # NaN is refused later
                several = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if several else classes)
            if not several:
                self.classes_ = self._label_binarizer.classes_      # the same object, so that _agrees is quick

    def _labels(self, h):
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return self._label_binarizer.inverse_transform(h)
        codes = h.argmax(axis=1) if h.ndim > 1 and h.shape[1] > 1 else (h.ravel() > 0.5).astype(np.intp)
        return np.asarray(self._label_binarizer.classes_).take(codes, mode="clip")
