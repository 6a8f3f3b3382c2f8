"""Networks and their training results as a table."""

from collections.abc import Sequence
from typing import Any

from ..history import History
from ..network import Network


def table(nets: Sequence[Network], histories: Sequence[History]) -> Any:
    """A pandas DataFrame with a row for each network that `train_many` has trained. Needs pandas.

    Parameters
    ----------
    nets : list of Network
    histories : list of History
        In the same order.

    Returns
    -------
    DataFrame
        layer_sizes, activation, output, loss, dtype, n_parameters, epochs, examples, the last value of each column of
        the histories, seconds of all epochs, stopped and error.

    Raises
    ------
    ImportError
        pandas is not installed.
    ValueError
        There are more networks than histories, or fewer.

    See Also
    --------
    train_many

    Examples
    --------
    >>> import fastbp
    >>> X, Y = fastbp.datasets.load_digits()
    >>> nets = [fastbp.Network([64, h, 10], output="softmax", seed=h) for h in (8, 16)]
    >>> frame = fastbp.many.table(nets, fastbp.train_many(nets, X / 16, Y, epochs=2, seed=0))
    >>> list(frame["n_parameters"])
    [610, 1210]
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError("table needs pandas (pip install pandas)") from error
    if len(nets) != len(histories):
        raise ValueError(f"nets and histories must have the same length; got {len(nets)} and {len(histories)}")
    return pandas.DataFrame([_row(net, history) for net, history in zip(nets, histories, strict=True)])


def _row(net: Network, history: History) -> dict[str, Any]:
    last = {name: column[-1] if column else None for name, column in history.columns.items() if name != "seconds"}
    return {
        "layer_sizes": tuple(net.layer_sizes), "activation": tuple(net.activation), "output": net.output,
        "loss": net.loss, "dtype": net.dtype.name, "n_parameters": net.n_parameters, "epochs": len(history),
        "examples": history.examples, **last, "seconds": sum(history.seconds), "stopped": history.stopped,
        "error": None if history.error is None else f"{type(history.error).__name__}: {history.error}",
    }
