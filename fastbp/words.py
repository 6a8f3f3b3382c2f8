"""The names of functions in other libraries: "ReLU", "mean_squared_error", "MSELoss", "kaiming_normal".

Case, underscores, hyphens and the word loss at the end of a loss are ignored.
"""

from collections.abc import Iterable, Mapping

FUNCTIONS = {"logistic": "sigmoid", "linear": "identity", "swish": "silu", "lrelu": "leaky_relu", "exponential": "exp"}

# Names that imply one class per example: the output is softmax, if none is given.
ONE_CLASS = (
    "categorical_crossentropy", "categorical_cross_entropy", "sparse_categorical_crossentropy",
    "sparse_categorical_cross_entropy", "softmax_cross_entropy", "softmax_cross_entropy_with_logits",
    "cross_entropy_loss", "nll", "nll_loss", "negative_log_likelihood",
)

LOSSES = {
    "log_loss": "cross_entropy",
    "binary_crossentropy": "cross_entropy",
    "binary_cross_entropy": "cross_entropy",
    "sigmoid_cross_entropy": "cross_entropy",
    "sigmoid_binary_cross_entropy": "cross_entropy",
    "bce": "cross_entropy",
    "bce_with_logits": "cross_entropy",
    **dict.fromkeys(ONE_CLASS, "cross_entropy"),
    "nll": "cross_entropy",
    "mse": "squared_error",
    "l2": "squared_error",
    "mean_squared_error": "squared_error",
    "squared": "squared_error",
    "mae": "absolute_error",
    "mean_absolute_error": "absolute_error",
    "l1": "absolute_error",
    "smooth_l1": "huber",
    "poisson_nll": "poisson",
    "pinball": "quantile",
}
INITS = {
    "glorot": "glorot_uniform",
    "initnw": "nguyen_widrow",
    "xavier": "glorot_uniform",
    "xavier_uniform": "glorot_uniform",
    "he": "he_normal",
    "kaiming": "he_normal",
    "kaiming_normal": "he_normal",
}
METRICS = {
    "acc": "accuracy",
    "accuracy_score": "accuracy",
    "balanced_accuracy_score": "balanced_accuracy",
    "mean_squared_error": "mse",
    "root_mean_squared_error": "rmse",
    "mean_absolute_error": "mae",
    "r2_score": "r2",
}
METHODS = {"trainlm": "lm", "levenbergmarquardt": "lm"}
DTYPES = {"single": "float32", "double": "float64", "fp32": "float32", "fp64": "float64", "float": "float64",
          "torch.float32": "float32", "torch.float64": "float64"}


def key(word: str) -> str:
    """A word in lower case, without underscores and hyphens."""
    return word.lower().replace("_", "").replace("-", "")


def resolve(word: str, accepted: Iterable[str], others: Mapping[str, str] = {}) -> str | None:
    """The accepted name that a word stands for; None if there is none."""
    accepted = tuple(accepted)
    if word in accepted:
        return word
    names = {key(other): name for other, name in others.items()} | {key(name): name for name in accepted}
    for spelled in (key(word), key(word).removesuffix("loss")):
        if names.get(spelled) in accepted:
            return names[spelled]
    return None


def one_class(loss: str) -> bool:
    """Does this name of a loss imply one class per example?"""
    own = key(loss)
    return any(spelled in map(key, ONE_CLASS) for spelled in (own, own.removesuffix("loss")))
