"""A fuzzer for the reader of files: any bytes give a FormatError or a working network, and nothing else.

    python -m venv fuzz && fuzz/bin/pip install atheris -e .
    fuzz/bin/python tests/fuzz_container.py -max_total_time=300 found/
    fuzz/bin/python tests/fuzz_container.py --keep found/       # as tests/golden/corpus.zip, which the tests read

An input is an unchanged file, a file that gets its checksum, or header and data that get length, padding and checksum,
so that the fuzzer also reaches the checks behind these. The corpus has the golden files in each of these forms.
"""

import contextlib
import hashlib
import io
import sys
import zipfile
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
CORPUS = GOLDEN / "corpus.zip"
if __name__ == "__main__" and "--keep" not in sys.argv:
    import atheris

    instrumented = atheris.instrument_imports(include=["fastbp", "json"])
else:
    instrumented = contextlib.nullcontext()
with instrumented:
    import numpy as np

    import fastbp
    from fastbp import FormatError
    from fastbp.files import container
    from fastbp.files import network as files
    from fastbp.training import checkpoint

AS_IT_STANDS, SEALED, FRAMED = b"a", b"s", b"f"


def file_of(data):
    """The bytes of the file for an input"""
    form, data = data[:1], data[1:]
    if form == FRAMED:
        text, _, data = data.partition(b"\n")
        text += b" " * (-len(text) % 8)
        data = len(text).to_bytes(8, "little") + text + data
    if form in (FRAMED, SEALED) and len(data) >= 32:
        data = data[:-32] + hashlib.sha256(data[:-32]).digest()
    return data


def inputs_of(data):
    """The three forms of a file"""
    n = int.from_bytes(data[:8], "little")
    return AS_IT_STANDS + data, SEALED + data, FRAMED + data[8:8 + n].rstrip() + b"\n" + data[8 + n:]


def one_input(data):
    data = file_of(data)
    try:
        arrays, meta = container.parse(io.BytesIO(data), len(data))
    except FormatError:
        return
    again = container._storable_arrays(arrays)
    assert {name: a.tobytes() for name, a in again.items()} == {name: a.tobytes() for name, a in arrays.items()}
    container._header(again, container._storable_meta(meta))
    with contextlib.suppress(FormatError):
        checkpoint.Kept("fuzzed", dict(arrays), dict(meta))
    try:
        net = files.unpack(arrays, meta.get("network"))
    except FormatError:
        return
    assert type(net) is fastbp.Network
    if net.n_parameters < 10_000:
        h = net.predict(np.zeros((2, net.layer_sizes[0])))
        assert h.shape == (2, net.layer_sizes[-1])


def corpus():
    """{name: input} of the kept corpus"""
    with zipfile.ZipFile(CORPUS) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def keep(folder):
    with zipfile.ZipFile(CORPUS, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(Path(folder).iterdir()):
            archive.writestr(zipfile.ZipInfo(path.name, (1980, 1, 1, 0, 0, 0)), path.read_bytes(), zipfile.ZIP_DEFLATED)


def fuzz(arguments):
    folders = [Path(word) for word in arguments[1:] if not word.startswith("-")]
    if folders and folders[0].is_dir():
        for golden in GOLDEN.glob("*.fastbp"):
            for i, seed in enumerate(inputs_of(golden.read_bytes())):
                (folders[0] / f"{golden.stem}-{i}").write_bytes(seed)
        for name, seed in corpus().items():
            (folders[0] / name).write_bytes(seed)
    atheris.Setup(arguments, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    keep(sys.argv[2]) if sys.argv[1:2] == ["--keep"] else fuzz(sys.argv)
