"""What stands in fastbp's files: a network, and what its training goes on from. How it stands there, byte by byte, is
`fastbp.container`'s."""

from typing import Any

from numpy.typing import NDArray

from .._types import Path
from ..network import STATE, Network
from . import container
from .container import FormatError

# What a file may hold, the version of its fields, and which these are beside kind, version and network.
KINDS = {
    "network": (1, set()),
    "trainer": (1, {"optimizer", "state", "settings", "dropout", "notes"}),
    "training": (1, {"conditions", "optimizer", "state", "settings", "history", "callbacks", "generator", "position"}),
}
SETTINGS = STATE - {"theta"}


def save(path: Path, net: Network) -> None:
    """Write a network into a file, which replaces `path` as a whole: whoever reads sees the old file or the new one.

    All of it is kept, bit by bit: layer sizes, functions, dtype, how it is initialised, theta.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        An old file keeps its mode; a symbolic link stays, and the file it points to is replaced.
    net : Network

    Raises
    ------
    ValueError, TypeError
        Naming the argument, before anything has been written; also where theta is not finite: no method of a network
        works with it, and it should not take the place of one that does.
    OSError
        As the system reports it (no such folder, no space left, not a regular file, ...); an old file is as it was.

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
    if not isinstance(net, Network):
        raise TypeError(f"net must be a fastbp.Network; got {net!r}")
    arrays, settings = pack(net)
    container.write(path, arrays, {**kind("network"), "network": settings})


def load(path: Path) -> Network:
    """The network of a file that `save`, `Trainer.save` or a training's checkpoint made. Nothing in it is executed.

    Raises
    ------
    FormatError
        A ValueError that says what is wrong and where: the file is damaged (any changed or missing byte is found), of
        a newer version, or holds no network.
    OSError
        It cannot be opened or read, or is no regular file.
    """
    arrays, meta = container.read(path)
    with container.located(path):
        checked(meta, *KINDS)
        return unpack(_own(arrays), meta["network"])


def kind(name: str) -> dict[str, Any]:
    """What a file of this kind says of itself"""
    return {"kind": name, "version": KINDS[name][0]}


def checked(meta: dict[str, Any], *kinds: str) -> None:
    """The values of a file: of one of these kinds, of the version known here, with the fields of that."""
    if meta.get("kind") not in kinds:
        raise FormatError(f"kind is {meta.get('kind')!r:.60}; accepted are {', '.join(map(repr, kinds))}")
    version, names = KINDS[meta["kind"]]
    if type(meta.get("version")) is not int or meta["version"] != version:
        raise FormatError(f"version is {meta.get('version')!r:.60}; this version of fastbp reads {version}")
    if meta.keys() != {"kind", "version", "network", *names}:
        raise FormatError(f"the fields must be {', '.join(sorted(('kind', 'version', 'network', *names)))}; "
                          f"they are {', '.join(sorted(meta)):.200}")


def of_kind(arrays: dict[str, NDArray[Any]], meta: dict[str, Any], kind: str) -> Network:
    """The network of a file of this kind; its arrays are taken out of `arrays`."""
    checked(meta, kind)
    own = _own(arrays)
    for name in own:
        del arrays[name]
    return unpack(own, meta["network"])


def _own(arrays):
    """The arrays of the network"""
    return {name: arrays[name] for name in ("theta", "init") if name in arrays}


def pack(net: Network) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """(arrays, settings) of a network, as a file keeps them: theta, init where it is values; the rest as JSON."""
    settings, state = net._settings(), net.__getstate__()
    return {name: state[name] for name in ("theta", "init") if not isinstance(state[name], str)}, settings


def unpack(arrays: dict[str, NDArray[Any]], settings: Any) -> Network:
    """The network of exactly these arrays, which become its own, and settings; FormatError where they make none."""
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
        raise FormatError(f"network, init is {init!r:.60}; accepted are the name of a scheme, or null beside an array")
    if arrays.keys() != ({"theta", "init"} if init is None else {"theta"}):
        raise FormatError(f"the arrays must be theta, and init where network, init is null (it is {init!r:.60}); "
                          f"they are {', '.join(sorted(arrays)):.200}")
    for name, a in arrays.items():
        if a.dtype.name != dtype:
            raise FormatError(f"array {name!r} is {a.dtype.name}; network, dtype says {dtype}")
    net = Network.__new__(Network)
    try:
        net._restore({**settings, "init": init, **arrays}, own=_same)
    except (ValueError, TypeError) as error:
        raise FormatError(f"network: {error!s:.500}") from None
    if net._settings() != settings:     # an alias, or a value that is implied
        raise FormatError(f"network is {settings!s:.500}; written by fastbp it is {net._settings()!s:.500}")
    return net


def _same(array):
    return array
