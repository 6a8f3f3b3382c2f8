"""Bytes of every kind into the reader of files: FormatError or a network that works, and nothing else. Not run by pytest.

    python -m venv fuzz && fuzz/bin/pip install atheris -e .
    fuzz/bin/python tests/fuzz_container.py -max_total_time=300 found/ tests/golden/

Half of the inputs get the checksum that they need, so that what lies behind it is reached too.
"""

import hashlib
import io
import sys

import atheris

with atheris.instrument_imports(include=["fastbp", "json"]):
    import numpy as np

    import fastbp
    from fastbp import FormatError, container, files


def one_input(data):
    if len(data) > 32 and data[-1] & 1:
        data = data[:-32] + hashlib.sha256(data[:-32]).digest()
    try:
        arrays, meta = container.parse(io.BytesIO(data), len(data))
    except FormatError:
        return
    again = container._storable_arrays(arrays)
    assert {name: a.tobytes() for name, a in again.items()} == {name: a.tobytes() for name, a in arrays.items()}
    container._header(again, container._storable_meta(meta))
    try:
        net = files.unpack(arrays, meta.get("network"))
    except FormatError:
        return
    assert type(net) is fastbp.Network
    if net.n_parameters < 10_000:
        h = net.predict(np.zeros((2, net.layer_sizes[0])))
        assert h.shape == (2, net.layer_sizes[-1])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
