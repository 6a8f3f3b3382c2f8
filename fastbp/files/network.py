"""Save and load a network, alone or with its training state. `files.container` writes the bytes."""

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from .._types import Arrays, Loss, Path, State
from ..engine import own
from ..network import STATE, Network
from . import added, container
from .strict_json import FormatError

# The kinds of files: the fields of version 1 in addition to kind, version and network, and those that version 2 adds.
# Version 2 also has `added`, if it needs any of the fields of added.py.
KINDS: dict[str, tuple[set[str], set[str]]] = {
    "network": (set(), set()),
    "trainer": ({"optimizer", "state", "settings", "dropout", "notes"}, {"mean_weight"}),
    "training": ({"conditions", "optimizer", "state", "settings", "history", "callbacks", "generator", "position"},
                 {"mean_weight"}),
}
SETTINGS = STATE - {"theta"}
# Kinds of files that hold more than networks: (is it such an object?, to a file, from a file).
OTHERS: dict[
    str, tuple[Callable[[Any], bool], Callable[[Any], tuple[Arrays, State]], Callable[[Arrays, State], Any]]
] = {}


def save(path: Path, net: Any) -> None:
    """Write a network into a file that replaces `path` atomically: a reader sees the old file or the new one.

    The file keeps the network bit by bit: layer sizes, functions, dtype, init, theta. For a fitted estimator of
    `fastbp.sklearn` or `fastbp.tabular` it keeps the parameters and everything that predictions need, for a
    `fastbp.Laplace` everything.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        An old file keeps its mode; a symbolic link stays, and the file that it points to is replaced.
    net : Network, a fitted estimator, Laplace or Ensemble

    Raises
    ------
    ValueError, TypeError
        The message names the argument. Nothing has been written. A theta that is not finite is an error too: it must
        not replace a network that works.
    OSError
        As the system reports it (no such folder, no space left, not a regular file, ...); an old file is unchanged.

    See Also
    --------
    load, Trainer.save

    Notes
    -----
    The format is a safetensors file with a checksum: docs/file_format.md.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network([4, 8, 3], output="softmax", seed=0)
    >>> fastbp.save("iris.fastbp", net)
    >>> fastbp.load("iris.fastbp")
    Network([4, 8, 3], activation=['sigmoid'], output='softmax', loss='cross_entropy', dtype=float64)
    """
    for is_its_own, to_file, _ in OTHERS.values():
        if is_its_own(net):
            container.write(path, *to_file(net))
            return
    if not isinstance(net, Network):
        raise TypeError("net must be a fastbp.Network, a fitted estimator of fastbp.sklearn or fastbp.tabular, a "
                        f"Laplace or an Ensemble; got {net!r:.200}")
    arrays, settings = pack(net)
    container.write(path, arrays, {**kind("network", net, arrays), "network": settings})


def load(path: Path, *, loss: Loss | None = None) -> Any:
    """The network, estimator or Laplace in a file of `save` or `Trainer.save`, or in a checkpoint.

    Reading executes nothing.

    Parameters
    ----------
    path : str, bytes or os.PathLike
    loss : function, optional
        The loss of the network, if it is your own: files keep its importable name and its parameters (those of a
        functools.partial), not the function. Without it the network predicts, but has no cost.

    Returns
    -------
    Network, estimator, Laplace or Ensemble

    Raises
    ------
    FormatError
        A ValueError: the file is damaged (any changed or missing byte is found), has a newer version, or holds no
        network. The message gives the place and the reason.
    OSError
        The file cannot be opened or read, or is not a regular file.

    See Also
    --------
    save

    Examples
    --------
    >>> import fastbp
    >>> fastbp.save("net.fastbp", fastbp.Network([2, 1], seed=0))
    >>> fastbp.load("net.fastbp").layer_sizes
    (2, 1)
    """
    arrays, meta = container.read(path, ("theta",))
    with container.located(path):
        if isinstance(kind := meta.get("kind"), str) and kind in OTHERS:
            if loss is not None:
                article = "an" if kind[0] in "aeiou" else "a"
                raise ValueError(f"loss is for files of networks; this one holds {article} {kind}")
            return OTHERS[kind][2](arrays, meta)
        checked(meta, *KINDS)
        fields = added.decode(meta, arrays)
        net = unpack(_own(arrays), meta["network"], fields)
    return net if loss is None else _with_loss(net, loss)


def _with_loss(net: Network, loss: Loss) -> Network:
    """The network with this loss in place of the one that its file names."""
    given = own.of(loss)
    if given is None or net.plan.own is None:
        raise ValueError("loss must be a function, for a file whose network has your own loss; got "
                         f"{loss!r}, and the file has the loss {net.settings()['loss']!r}")
    given.check_dtype(net.dtype)
    twin = Network.__new__(Network)
    twin.__setstate__(net.__getstate__() | {"loss": given.with_parameters(net.loss_parameters)})
    return twin


def kind(
    name: str, net: Network, arrays: Arrays, fields: Mapping[str, Any] | None = None, **second: Any,
) -> dict[str, Any]:
    """The fields kind and version of a file of this kind, and the further fields of version 2.

    second: the fields that version 2 always has. fields: those of added.py, by name, whose arrays go into `arrays`. If
    all of these are None, the file is of version 1, without them.
    """
    more = added.encode({**added.of_network(net), **(fields or {})}, arrays)
    if not more and all(value is None for value in second.values()):
        return {"kind": name, "version": 1}
    return {"kind": name, "version": 2, **second, **({"added": more} if more else {})}


def checked(meta: State, *kinds: str) -> None:
    """Raise a FormatError unless the file has one of these kinds, a known version, and the fields of its kind.

    Missing fields of version 2 become None.
    """
    if meta.get("kind") not in kinds:
        raise FormatError(f"kind is {meta.get('kind')!r:.60}; accepted are {', '.join(map(repr, kinds))}")
    first, second = KINDS[meta["kind"]]
    versions = {1: first, 2: first | second}
    if type(meta.get("version")) is not int or meta["version"] not in versions:
        raise FormatError(f"version is {meta.get('version')!r:.60}; this version of fastbp reads "
                          f"{' and '.join(map(str, versions))}")
    names = {"kind", "version", "network", *versions[meta["version"]]}
    if meta["version"] == 2 and ("added" in meta or not second):
        names |= {"added"}
    if meta.keys() != names:
        raise FormatError(f"the fields must be {', '.join(sorted(names))} (version is {meta['version']}); they are "
                          f"{', '.join(sorted(meta)):.200}")
    for name in second - meta.keys():
        meta[name] = None


def of_kind(arrays: Arrays, meta: State, kind: str) -> Network:
    """The network of a file of this kind; its arrays are removed from `arrays`, and ``meta["added"]`` is decoded."""
    checked(meta, kind)
    meta["added"] = added.decode(meta, arrays)
    own = _own(arrays)
    for name in own:
        del arrays[name]
    return unpack(own, meta["network"], meta["added"])


def _own(arrays: Arrays) -> Arrays:
    """The arrays of the network"""
    return {name: arrays[name] for name in ("theta", "init") if name in arrays}


def pack(net: Network) -> tuple[Arrays, State]:
    """(arrays, settings) of a network for a file: theta, and init if it holds start values; the rest as JSON."""
    settings, state = net.settings(), net.__getstate__()
    settings["loss"] = net.plan.loss    # "own" for the caller's own, whose name is an added field
    return {name: state[name] for name in ("theta", "init") if not isinstance(state[name], str)}, settings


def unpack(arrays: Arrays, settings: Any, fields: Mapping[str, Any] | None = None) -> Network:
    """The network of exactly these arrays (not copied), settings and added fields; a FormatError if they do not fit.
    """
    if not isinstance(settings, dict) or settings.keys() != SETTINGS:
        found = ", ".join(sorted(settings)) if isinstance(settings, dict) else repr(settings)
        raise FormatError(f"network must have the fields {', '.join(sorted(SETTINGS))}; it has {found:.200}")
    sizes, dtype, init = (settings[name] for name in ("layer_sizes", "dtype", "init"))
    if not isinstance(sizes, list) or not all(type(s) is int for s in sizes):
        raise FormatError("network, layer_sizes must be a list of whole numbers")
    if not isinstance(settings["activation"], list):
        raise FormatError("network, activation must be a list of names")
    if dtype not in ("float32", "float64"):
        raise FormatError(f"network, dtype is {dtype!r:.60}; accepted are 'float32' and 'float64'")
    if init is not None and not isinstance(init, str):
        raise FormatError(f"network, init is {init!r:.60}; accepted are the name of a scheme, or null with an array")
    if arrays.keys() != ({"theta", "init"} if init is None else {"theta"}):
        raise FormatError(f"the arrays must be theta, and init if network, init is null (it is {init!r:.60}); "
                          f"they are {', '.join(sorted(arrays)):.200}")
    for name, a in arrays.items():
        if a.dtype.name != dtype:
            raise FormatError(f"array {name!r} is {a.dtype.name}; network, dtype says {dtype}")
    net = Network.__new__(Network)
    try:
        loss = (fields or {}).get("own_loss")
        given = {} if loss is None else {"loss": own.OwnLoss(None, loss, settings["loss_parameters"])}
        net._restore({**settings, **given, "init": init, **arrays}, own=_same)
    except (ValueError, TypeError) as error:
        raise FormatError(f"network: {error!s:.500}") from None
    written = {**net.settings(), "loss": net.plan.loss}
    if written != settings:     # an alias, or a value that is implied
        raise FormatError(f"network is {settings!s:.500}; written by fastbp it is {written!s:.500}")
    return net


def _same(array: NDArray[Any]) -> NDArray[Any]:
    return array
