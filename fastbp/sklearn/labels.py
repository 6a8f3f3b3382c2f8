"""Labels of a classifier as codes, and back; errors in scikit-learn's words."""

from typing import Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels


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
        binarizer, classes = self._label_binarizer, self.classes_
        if binarizer.y_type_.startswith("multilabel") or y.ndim != 1:
            if needed:
                self._check_classes(unique_labels(y), needed)
            return binarizer.transform(y).astype(np.uint8)
        codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
        if needed and (not (classes[codes] == y).all() or (needed == "same" and len(np.unique(codes)) < len(classes))):
            self._check_classes(unique_labels(y), needed)
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

    def _quick_target(self, y, dtype):
        classes = self.classes_
        if (
            y.shape != (1,) or y.dtype.kind != classes.dtype.kind or self.class_weight is not None or self.warm_start
            or self._label_binarizer.y_type_.startswith("multilabel")
        ):
            return None
        code = int(classes.searchsorted(y[0]))
        if code == len(classes) or classes[code] != y[0]:
            return None
        return np.array([code], np.int64 if self.out_activation_ == "softmax" else dtype)

    def _announce(self, y, classes):
        if _check_partial_fit_first_call(self, classes):
            with np.errstate(invalid="ignore"):     # NaN is refused later
                several = type_of_target(y).startswith("multilabel")
            self._label_binarizer = LabelBinarizer().fit(y if several else classes)

    def _labels(self, h):
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return self._label_binarizer.inverse_transform(h)
        codes = h.argmax(axis=1) if h.ndim > 1 and h.shape[1] > 1 else (h.ravel() > 0.5).astype(np.intp)
        return self.classes_.take(codes, mode="clip")
