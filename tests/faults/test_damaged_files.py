"""Files that are damaged, cut, forged or foreign raise a FormatError with place and reason, and no other error."""

import hashlib
import io
import itertools
import json
import os
import random

import fuzz_container
import numpy as np
import pytest
import second_reader
from golden_files import GOLDEN

import fastbp
from fastbp import FormatError
from fastbp.files import container
from fastbp.files import network as files

SMALL = GOLDEN / "no_hidden_float32.fastbp"
OTHERS = sorted(set(GOLDEN.glob("*.fastbp")) - {SMALL})
NET = {"layer_sizes": [2, 1], "activation": [], "output": "sigmoid", "loss": "cross_entropy",
       "loss_parameters": {}, "dtype": "float32", "init": "glorot_uniform", "eps": None}
LIMIT = container.MAX_HEADER


def refused(data, path=None):
    """The message with which a file of these bytes is refused; through the file system if a path is given"""
    if path is not None:
        path.write_bytes(data)
    with pytest.raises(ValueError) as raised:
        unpacked(data) if path is None else fastbp.load(path)
    assert type(raised.value) is FormatError, repr(raised.value)
    return str(raised.value)


def unpacked(data):
    """The network in these bytes"""
    arrays, meta = container.parse(io.BytesIO(data), len(data))
    return files.unpack(arrays, meta.get("network"))


def sealed(data):
    """The bytes with the checksum that a forger would compute"""
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


def forged(text, data=bytes(12), length=None, pad=True):
    """A file with this header and the data of its arrays, correct in every other way"""
    text = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if pad:
        text += b" " * (-len(text) % 8)
    return sealed((len(text) if length is None else length).to_bytes(8, "little") + text + data + bytes(32))


def header(metadata=None, **arrays):
    """The header of a small network of 3 float32, with some members replaced"""
    theta = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
    digest = {"dtype": "U8", "shape": [32], "data_offsets": [12, 44]}
    meta = {"fastbp_format": "1", "kind": '"network"', "version": "1", "network": json.dumps(NET)}
    members = {"__metadata__": meta if metadata is None else metadata, "theta": theta, "sha256": digest, **arrays}
    return json.dumps({name: member for name, member in members.items() if member is not ...})


def with_settings(**changes):
    settings = {name: value for name, value in {**NET, **changes}.items() if value is not ...}
    meta = {"fastbp_format": "1", "kind": '"network"', "version": "1", "network": json.dumps(settings)}
    return forged(header(meta))


def with_meta(**changes):
    meta = {"fastbp_format": "1", "kind": '"network"', "version": "1", "network": json.dumps(NET), **changes}
    return forged(header({name: text for name, text in meta.items() if text is not ...}))


def test_the_forged_file_is_right_where_nothing_is_changed(tmp_path):
    """Otherwise the files below would be refused for another reason"""
    for data in (forged(header()), with_settings(), with_meta()):
        (tmp_path / "a").write_bytes(data)
        assert repr(fastbp.load(tmp_path / "a")) == (
            "Network([2, 1], output='sigmoid', loss='cross_entropy', dtype=float32)"
        )
        second_reader.read(data)


# ---------------------------------------------------------------- damage


def test_fault_43_every_flipped_bit_is_found(quick_folder):
    data, path = SMALL.read_bytes(), quick_folder / "damaged.fastbp"
    for _, _, changed in flipped(data):
        assert str(path) in refused(changed, path)


def flipped(data):
    """(place, bit, the data with that bit flipped), for every bit"""
    for i, bit in itertools.product(range(len(data)), range(8)):
        changed = bytearray(data)
        changed[i] ^= 1 << bit
        yield i, bit, changed


@pytest.mark.parametrize("file", OTHERS, ids=lambda file: file.stem)
def test_fault_43_a_flipped_bit_of_each_byte_of_the_golden_files_is_found(file):
    """The flipped bit differs between neighbouring bytes, and between bytes eight apart"""
    data = file.read_bytes()
    container.parse(io.BytesIO(data), len(data))
    for i, bit, changed in flipped(data):
        if bit == (i + i // 8) % 8:
            with pytest.raises(FormatError):
                container.parse(io.BytesIO(changed), len(changed))
            with pytest.raises(second_reader.RefusedError):
                second_reader.read(bytes(changed))


@pytest.mark.slow
@pytest.mark.parametrize("file", OTHERS, ids=lambda file: file.stem)
def test_fault_43_every_flipped_bit_of_the_golden_files_is_found(file):
    for _, _, changed in flipped(file.read_bytes()):
        with pytest.raises(FormatError):
            container.parse(io.BytesIO(changed), len(changed))


def test_fault_45_the_byte_that_is_not_utf_8_is_told():
    assert refused(forged(b'{"a":"\xff"}')) == "byte 14: the header is not UTF-8"


def test_fault_43_a_wrong_checksum_is_told_with_the_right_one():
    data = SMALL.read_bytes()
    changed = data[:-1] + bytes([data[-1] ^ 1])
    assert f"{changed[-32:].hex()}, is not the SHA-256 of the {len(data) - 32} bytes before, {data[-32:].hex()}" in (
        refused(changed))


def test_fault_43_every_truncation_and_every_byte_more_is_found(quick_folder):
    data, path = SMALL.read_bytes(), quick_folder / "damaged.fastbp"
    for n in range(len(data)):
        assert str(path) in refused(data[:n], path)
        refused(data[n + 1:], path)                     # the front cut off
        refused(data[:n] + data[n + 1:], path)          # one byte lost
        refused(data[:n] + b"\0" + data[n:], path)      # one byte more
    for more in (b"\0", b" ", data[-32:], data, bytes(4096)):
        refused(data + more, path)


@pytest.mark.slow
def test_fault_43_every_value_of_every_byte_is_found():
    data = SMALL.read_bytes()
    for i, value in itertools.product(range(len(data)), range(256)):
        if data[i] != value:
            refused(data[:i] + bytes([value]) + data[i + 1:])


def test_fault_43_every_flipped_bit_under_a_right_checksum_is_refused_or_a_whole_network():
    """A forger's file raises only FormatError; a network that loads works, and is saved with the same bytes"""
    data, loaded = SMALL.read_bytes(), 0
    for i, _, changed in flipped(data):
        if i == len(data) - 32:
            break
        changed = sealed(bytes(changed))
        try:
            net = unpacked(changed)
        except FormatError:
            continue
        loaded += 1
        assert net.predict(np.zeros(net.layer_sizes[0])).shape == (net.layer_sizes[-1],)
        assert sum(T.size for T in net.Theta) == len(net.theta)
    assert loaded > 8 * 8       # at least the bits of theta's numbers


def test_fault_43_what_millions_of_tries_of_a_fuzzer_have_kept_is_refused_or_whole():
    """Each of these inputs reached a line or branch that no earlier one had"""
    kept = fuzz_container.corpus()
    assert len(kept) > 150
    for data in kept.values():
        fuzz_container.one_input(data)      # raises any error that is not a FormatError


@pytest.mark.parametrize("reader", [container.parse, None], ids=["ours", "second"])
def test_fault_43_random_damage_of_many_kinds_is_found(reader):
    dice, originals = random.Random(0), [file.read_bytes() for file in (SMALL, *OTHERS)]
    for _ in range(3000):
        data = bytearray(dice.choice(originals))
        for _ in range(dice.choice([1, 1, 2, 8])):
            at, n = dice.randrange(len(data)), dice.randrange(1, 40)
            match dice.randrange(5):
                case 0:
                    data[at:at + n] = dice.randbytes(n)
                case 1:
                    del data[at:at + n]
                case 2:
                    data[at:at] = data[:n]
                case 3:
                    data[at:at + n] = bytes(len(data[at:at + n]))
                case 4:
                    data[at:at + n], data[:n] = data[:n], data[at:at + n]
        if bytes(data) in originals:
            continue
        if reader:
            with pytest.raises(FormatError):
                reader(io.BytesIO(data), len(data))
        else:
            with pytest.raises(second_reader.RefusedError):
                second_reader.read(bytes(data))


def test_files_of_other_kinds_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones(3))
    np.save(tmp_path / "a.npy", np.ones(3))
    others = [b"", b"\0", bytes(8), bytes(4096), b"{}", b"\x89PNG\r\n\x1a\n" + bytes(99), os.urandom(4096),
              *(file.read_bytes() for file in tmp_path.iterdir())]
    for data in others:
        assert "header" in refused(data, tmp_path / "other")
