"""A network as text."""

from typing import Any


def line(net: Any) -> str:
    """The repr of a network: the call that makes one like it, except for the parameters."""
    hidden = f"activation={list(net.activation)!r}, " if net.activation else ""
    parameters = "".join(f"{name}={value:g}, " for name, value in net.loss_parameters.items())
    return (f"Network({list(net.layer_sizes)}, {hidden}output={net.output!r}, loss={loss(net)}, {parameters}"
            f"dtype={net.dtype.name})")


def loss(net: Any) -> str:
    """The loss as it is written in a call."""
    return repr(net.plan.loss if net.plan.own is None else net.plan.own)


def table(net: Any) -> str:
    """The layers of a network, one per line, followed by its loss and size."""
    lines = [f"{'layer':>5} {'units':>7}  {'function':<12} {'Theta':<14} {'parameters':>10}"]
    functions = ["input", *net.activation, net.output]
    for l, (units, function) in enumerate(zip(net.layer_sizes, functions, strict=True), 1):
        shape = net.plan.shapes[l - 2] if l > 1 else None
        lines.append(f"{l:>5} {units:>7}  {function:<12} {str(shape) if shape else '':<14} "
                     f"{shape[0] * shape[1] if shape else 0:>10}")
    parameters = "".join(f" ({name} {value:g})" for name, value in net.loss_parameters.items())
    lines.append(f"{net.settings()['loss']}{parameters}, {net.n_parameters} parameters, {net.dtype.name}, "
                 f"{net.theta.nbytes / 1024:.1f} KiB")
    return "\n".join(lines)
