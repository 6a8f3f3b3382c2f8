"""Headers that are forged: refused for what is wrong with them, in bounded memory and time."""

import json
import os
import time
import tracemalloc

import numpy as np
import pytest
import second_reader
from test_damaged_files import LIMIT, NET, forged, header, refused, unpacked, with_meta, with_settings

import fastbp
from fastbp import FormatError


def array(dtype="F32", shape=(3,), offsets=(0, 12), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


TAIL = array("U8", [32], [12, 44])
DEEP = "[" * 100000 + "]" * 100000
FORGED = {
    "length not a multiple of 8": (forged(header() + " ", pad=False), "a header of"),
    "length 0": (forged("", b""), "byte 8"),
    "length beyond the limit": (forged(header() + " " * LIMIT), f"up to {LIMIT}"),
    "length 2^64 - 8": (forged(header(), length=2**64 - 8), "18446744073709551608"),
    "length 2^63": (forged(header(), length=2**63), "9223372036854775808"),
    "length beyond the file": (forged(header(), length=2**19), "ends within its header"),
    "length too short": (forged(header(), length=8), "not JSON at byte "),
    "not an object": (forged("[1]"), "byte 8"),
    "a space first": (forged(" " + header()), "byte 8"),
    "a byte order mark": (forged("\ufeff" + header()), "byte 8"),
    "Latin-1": (forged(header().replace("theta", "th\xe9ta").encode("latin-1")), "is not UTF-8"),
    "UTF-8 of a surrogate": (forged('{"\ud800":1}'), "is not UTF-8"),
    "an escaped surrogate": (forged(header().replace('"theta"', '"\\ud800"')), "not Unicode text"),
    "a control character": (forged(header().replace("theta", "th\tta")), "not JSON"),
    "a comment": (forged(header()[:-1] + "/**/}"), "not JSON"),
    "a comma more": (forged(header()[:-1] + ",}"), "not JSON"),
    "a second object": (forged(header() + "{}"), "not JSON"),
    "NUL behind it": (forged(header() + "\0"), "not JSON"),
    "NaN": (forged(header(theta=array(shape=[float("nan")]))), "not accepted as a number"),
    "Infinity": (forged(header(theta=array(shape=[float("inf")]))), "not accepted as a number"),
    "-Infinity": (forged(header(theta=array(shape=[float("-inf")]))), "not accepted as a number"),
    "a member twice": (forged(header()[:-1] + f', "theta": {json.dumps(array())}}}'), "'theta' occurs twice"),
    "metadata twice": (forged(header()[:-1] + ', "__metadata__": {}}'), "'__metadata__' occurs twice"),
    "a field twice": (forged(header().replace('"shape": [3]', '"shape": [3], "shape": [3]')), "'shape' occurs"),
    "a key twice by an escape": (forged(header().replace('"shape": [3]', '"shape": [3], "sh\\u0061pe": [3]')), "twice"),
    "3.0 items": (forged(header(theta=array(shape=[3.0]))), "not accepted as a number"),
    "3e0 items": (forged(header().replace("[3]", "[3e0]")), "not accepted as a number"),
    "03 items": (forged(header().replace("[3]", "[03]")), "not JSON"),
    "+3 items": (forged(header().replace("[3]", "[+3]")), "not JSON"),
    "-0 as an offset": (forged(header().replace("[0, 12]", "[-0, 12]")), "whole number"),
    "0x3 items": (forged(header().replace("[3]", "[0x3]")), "not JSON"),
    "Arabic digits": (forged(header().replace("[3]", "[\u0663]")), "not JSON"),
    "true items": (forged(header(theta=array(shape=[True, 3]))), "whole numbers"),
    "a string as shape": (forged(header(theta={**array(), "shape": "3"})), "shape must be a list"),
    "null as shape": (forged(header(theta={**array(), "shape": None})), "shape must be a list"),
    "33 dimensions": (forged(header(theta=array(shape=[1] * 32 + [3]))), "up to 32"),
    "a negative size": (forged(header(theta=array(shape=[-3]))), r"whole numbers in"),
    "two negative sizes": (forged(header(theta=array(shape=[-3, -1]))), r"whole numbers in"),
    "4000 digits": (forged(header().replace("[3]", f"[{'9' * 4000}]")), "whole number"),
    "5000 digits": (forged(header().replace("[3]", f"[{'9' * 5000}]")), "whole number"),
    "2^64 + 3 items": (forged(header(theta=array(shape=[2**64 + 3]))), r"whole numbers in"),
    "2^62 items of 4 bytes": (forged(header(theta=array(shape=[2**62, 3]))), "no memory"),
    "a product that wraps to 12": (forged(header(theta=array(shape=[3, 2**32 + 1, 2**32 - 1]))), "no memory"),
    "none of 2^62 x 2^62": (forged(header(theta=array(shape=[0, 2**62, 2**62], offsets=[0, 0]))), "no memory"),
    "a terabyte": (forged(header(theta=array(shape=[2**38], offsets=[0, 2**40]))), "which have 44"),
    "one item more": (forged(header(theta=array(shape=[4]))), "takes 16 bytes"),
    "one item less": (forged(header(theta=array(shape=[2]))), "takes 8 bytes"),
    "another item size": (forged(header(theta=array("F64"))), "takes 24 bytes"),
    "offsets turned around": (forged(header(theta=array(offsets=[12, 0]))), "takes 12 bytes"),
    "one offset": (forged(header(theta=array(offsets=[0]))), "must be two numbers"),
    "three offsets": (forged(header(theta=array(offsets=[0, 12, 12]))), "up to 2"),
    "a gap at the start": (forged(header(theta=array(offsets=[4, 16]))), "begins at 4"),
    "a gap in between": (forged(header(sha256=array("U8", [32], [16, 48])), bytes(16)), "begins at 16"),
    "an overlap": (forged(header(sha256=array("U8", [32], [8, 40]))), "begins at 8"),
    "the same bytes twice": (forged(header(twin=array(), sha256=TAIL)), "comes after sha256"),
    "overlap of two": (forged(header(theta=..., sha256=...)[:-1] + f', "a": {json.dumps(array())}, '
                              f'"theta": {json.dumps(array())}, "sha256": {json.dumps(TAIL)}}}'), "begins at 0"),
    "bytes behind the last": (forged(header(), bytes(12) + bytes(4)), "4 bytes follow"),
    "no checksum": (forged(header(sha256=...)), "must be sha256"),
    "a checksum of 4-byte numbers": (forged(header(sha256=array("U32", [8], [12, 44]))), "must be sha256"),
    "a checksum of another shape": (forged(header(sha256=array("U8", [4, 8], [12, 44]))), "must be sha256"),
    "a short checksum": (forged(header(sha256=array("U8", [31], [12, 43]))), "must be sha256"),
    "a checksum that is not the last": (
        forged(header(theta=..., sha256=...)[:-1] + f', "sha256": {json.dumps(array("U8", [32], [0, 32]))}, '
               f'"theta": {json.dumps(array(offsets=[32, 44]))}}}'), "comes after sha256"),
    "an unknown dtype": (forged(header(theta=array("F16", [6]))), "has dtype 'F16'"),
    "a dtype in small letters": (forged(header(theta=array("f32"))), "has dtype 'f32'"),
    "a list as dtype": (forged(header(theta=array(["F32"]))), "has dtype"),
    "no dtype": (forged(header(theta={"shape": [3], "data_offsets": [0, 12]})), "dtype, shape and data_offsets"),
    "another field": (forged(header(theta=array(more=1))), "dtype, shape and data_offsets"),
    "an array that is none": (forged(header(theta=[0, 12])), "dtype, shape and data_offsets"),
    "an array that is null": (forged(header(theta=None)), "dtype, shape and data_offsets"),
    "a name with a slash": (forged(header().replace("theta", "../theta")), "name '../theta'"),
    "an empty name": (forged(header().replace("theta", "")), "name ''"),
    "a long name": (forged(header().replace("theta", "t" * 101)), "name 'ttt"),
    "a name that ends its line": (forged(header().replace("theta", "theta\\n")), "name 'theta"),
    "the mark as a name": (forged(header().replace("theta", "fastbp_format")), "name 'fastbp_format'"),
    "a BOOL of 2": (forged(header(theta=array("BOOL", [12])), b"\0\1\2" * 4), "is BOOL and holds the byte 2"),
    "too deep": (forged(f'{{"a": {DEEP}}}'), "nested 100001 deep"),
    "too deep behind a quote": (forged(f'{{"\\"", "\\\\", "a": {DEEP}}}'), "nested 100001 deep"),
    "too deep by objects": (forged('{"a":' * 50000 + "1" + "}" * 50000), "nested 50000 deep"),
    "brackets without end": (forged("{" + "[" * 900000), "nested 900001 deep"),
    "4 deep": (forged(header(theta={**array(), "shape": [[3]]})), "nested 4 deep"),
    "no metadata": (forged(header(...)), "not a file of fastbp"),
    "metadata that is none": (forged(header([])), "not a file of fastbp"),
    "metadata of another": (forged(header({"format": "pt"})), "not a file of fastbp"),
    "the next version": (with_meta(fastbp_format="2"), "fastbp_format is '2'"),
    "the version as a number": (with_meta(fastbp_format=1), "fastbp_format is 1"),
    "the version with a space": (with_meta(fastbp_format=" 1"), "fastbp_format is ' 1'"),
    "a value that is no string": (with_meta(other=1), "must be a string"),
    "a value of another depth": (with_meta(other=[]), "must be a string"),
    "an escaped surrogate in a value": (with_meta(other='"\\udfff"'), "not Unicode text"),
    "a surrogate as a value": (with_meta(other="\udfff"), "not Unicode text"),
    "an escaped surrogate as a key": (with_meta(other='{"\\ud800": 1}'), "not Unicode text"),
    "a value name with a space": (with_meta(**{"a b": "1"}), "name 'a b'"),
    "the checksum as a value": (with_meta(sha256="1"), "name 'sha256'"),
    "a value that is no JSON": (with_meta(other="tru"), "__metadata__, other is not JSON at byte 0"),
    "an empty value": (with_meta(other=""), "__metadata__, other is not JSON at byte 0"),
    "NaN as a value": (with_meta(other="[NaN]"), "__metadata__, other"),
    "1e999 as a value": (with_meta(other="[1e999]"), "not a finite number"),
    "-0 as a value": (with_meta(other="[-0]"), "whole number"),
    "601 digits as a value": (with_meta(other="1" * 601), "whole number"),
    "a key twice in a value": (with_meta(other='{"a": 1, "a": 1}'), "'a' occurs twice"),
    "17 deep in a value": (with_meta(other="[" * 17 + "]" * 17), "nested 17 deep"),
    "far too deep in a value": (with_meta(other=DEEP), "nested 100000 deep"),
}


@pytest.mark.parametrize("name", FORGED)
def test_fault_45_a_header_against_the_rules_is_refused_for_what_is_wrong_with_it(name, tmp_path):
    data, match = FORGED[name]
    assert match in refused(data, tmp_path / "forged")
    with pytest.raises(second_reader.RefusedError):
        second_reader.read(data)


def with_theta(values, dtype="<f4"):
    return forged(header(), np.array(values, dtype).tobytes())


NETWORKS = {
    "no kind": (with_meta(kind=...), "kind is None"),
    "another kind": (with_meta(kind='"model"'), "kind is 'model'"),
    "a training without its fields": (with_meta(kind='"training"'), "the fields must be"),
    "a trainer without its fields": (with_meta(kind='"trainer"'), "the fields must be"),
    "a list as kind": (with_meta(kind="[]"), "kind is []"),
    "no version": (with_meta(version=...), "version is None"),
    "the next version of the fields": (with_meta(version="2"), "version is 2"),
    "true as version": (with_meta(version="true"), "version is True"),
    "1.0 as version": (with_meta(version="1.0"), "version is 1.0"),
    "no network": (with_meta(network=...), "the fields must be"),
    "a field more": (with_meta(other="1"), "the fields must be"),
    "a network that is null": (with_meta(network="null"), "must have the fields"),
    "a network that is a list": (with_meta(network="[]"), "must have the fields"),
    **{f"no {name}": (with_settings(**{name: ...}), "must have the fields") for name in NET},
    "a setting more": (with_settings(cascade_min_out_epochs=1), "must have the fields"),
    "theta among the settings": (with_settings(theta=[1, 2, 3]), "must have the fields"),
    "one layer": (with_settings(layer_sizes=[2]), "layer_sizes"),
    "no layers": (with_settings(layer_sizes=[]), "layer_sizes"),
    "a layer of 0": (with_settings(layer_sizes=[2, 0]), "layer_sizes[1] is 0"),
    "a layer of -1": (with_settings(layer_sizes=[-1, 1]), "layer_sizes[0] is -1"),
    "a layer of 2.0": (with_settings(layer_sizes=[2.0, 1]), "layer_sizes"),
    "a layer of true": (with_settings(layer_sizes=[2, True]), "layer_sizes"),
    "a layer of 2^31": (with_settings(layer_sizes=[2, 2**31]), "layer_sizes[1]"),
    "a layer of 10^500": (with_settings(layer_sizes=[2, 10**500]), "layer_sizes[1]"),
    "layers as text": (with_settings(layer_sizes="21"), "layer_sizes"),
    "layers as an object": (with_settings(layer_sizes={"2": 1}), "layer_sizes"),
    "other layers": (with_settings(layer_sizes=[3, 1]), "theta must have shape (4,)"),
    "more parameters than memory": (with_settings(layer_sizes=[2**30, 2**30 - 2]), "theta must have shape"),
    "many layers": (with_settings(layer_sizes=[1] * 20002, activation=["tanh"] * 20000), "theta must have shape"),
    "an activation too many": (with_settings(activation=["tanh"]), "activation has 1 names"),
    "one activation for all": (with_settings(activation="tanh"), "activation must be a list"),
    "an unknown output": (with_settings(output="hardmax"), "output is 'hardmax'"),
    "an output in capitals": (with_settings(output="Sigmoid"), "written by fastbp it is"),
    "an alias": (with_settings(output="logistic"), "written by fastbp it is"),
    "an alias of the loss": (with_settings(loss="log_loss"), "written by fastbp it is"),
    "an output that is null": (with_settings(output=None), "output must be a string"),
    "an output that is a list": (with_settings(output=["sigmoid"]), "output must be a string"),
    "a pair that does not go together": (with_settings(loss="poisson"), "do not go together"),
    "an unknown loss": (with_settings(loss="hinge"), "loss is 'hinge'"),
    "softmax of one": (with_settings(output="softmax"), "softmax"),
    "another dtype": (with_settings(dtype="float64"), "array 'theta' is float32"),
    "an unknown dtype": (with_settings(dtype="float16"), "dtype is 'float16'"),
    "a list as dtype": (with_settings(dtype=["float32"]), "dtype is"),
    "an unknown init": (with_settings(init="zeros"), "init is 'zeros'"),
    "an empty init": (with_settings(init=""), "init is ''"),
    "init by numbers": (with_settings(init=[1, 2, 3]), "init is [1, 2, 3]"),
    "init without its array": (with_settings(init=None), "the arrays must be"),
    "eps where none belongs": (with_settings(eps=0.5), "eps"),
    "no eps where one belongs": (with_settings(init="normal"), "written by fastbp it is"),
    "a negative eps": (with_settings(init="normal", eps=-1), "eps must be in"),
    "an eps of 10^400": (with_settings(init="normal", eps=10**400), "eps must be in"),
    "eps as text": (with_settings(init="normal", eps="1"), "eps must be a number"),
    "eps true": (with_settings(init="normal", eps=True), "eps must be a number"),
    "theta by another name": (forged(header().replace("theta", "Theta")), "the arrays must be"),
    "no theta": (forged(header(theta=..., sha256=array("U8", [32], [0, 32])), b""), "the arrays must be"),
    "theta as a matrix": (forged(header(theta=array(shape=[1, 3]))), "theta must have shape (3,)"),
    "theta of whole numbers": (forged(header(theta=array("I32"))), "array 'theta' is int32"),
    "NaN in theta": (with_theta([0, np.nan, 0]), "theta contains NaN. First at theta[1]"),
    "infinity in theta": (with_theta([0, 0, -np.inf]), "First at theta[2]"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_fault_44_fields_missing_unknown_or_out_of_range_are_refused_for_what_they_are(name, tmp_path):
    data, match = NETWORKS[name]
    assert match in refused(data, tmp_path / "forged")
    second_reader.read(data)    # the container is in order


def test_fault_44_errors_name_long_and_odd_paths(tmp_path):
    folder = tmp_path
    while len(bytes(folder)) < 3500:
        folder = folder / ("d" * 200)
        folder.mkdir()
    for name in (b"n" * 255, b"\xff\xfe not UTF-8", "Θ".encode(), b"a\nb", b"%s%n{x}"):
        path = os.path.join(os.fsencode(folder), name)
        with open(path, "wb") as file:
            file.write(bytes(9))
        with pytest.raises(FormatError) as raised:
            fastbp.load(path)
        str(raised.value).encode()
        assert os.fsencode(folder).decode() in str(raised.value)
        net = fastbp.Network([2, 1], seed=0)
        fastbp.save(path, net)
        assert fastbp.load(path).theta.tobytes() == net.theta.tobytes()
        os.unlink(path)


# ---------------------------------------------------------------- memory and time

LYING = ["a terabyte", "none of 2^62 x 2^62", "2^62 items of 4 bytes", "length 2^63", "length 2^64 - 8",
         "length beyond the file", "a product that wraps to 12"]


@pytest.mark.parametrize("name", LYING)
def test_fault_42_a_lying_header_allocates_nothing(name, tmp_path):
    data, _ = FORGED[name]
    refused(data, tmp_path / "a")
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            fastbp.load(tmp_path / "a")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**18


FULL = {
    "lists": '{"a": [' + "[]," * 340000 + "[]]}",
    "numbers": '{"a": [' + "1," * 500000 + "1]}",
    "members": "{" + ",".join(f'"{i:x}":0' for i in range(95000)) + "}",
    "one member again and again": "{" + '"a":0,' * 170000 + '"a":0}',
    "a string": '{"a": "' + "a" * 1000000 + '"}',
    "escapes": '{"a": "' + "\\u0041" * 170000 + '"}',
    "digits": '{"a": ' + "1" * 1000000 + "}",
    "quotes": "{" + '"' * 1000000,
    "backslashes": '{"' + "\\" * 1000001,
    "layers": json.dumps({"layer_sizes": [1] * 70000, "activation": ["relu"] * 69998}),
}


@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("place", ["header", "value", "network"])
def test_fault_42_a_header_full_of_anything_takes_bounded_memory_and_time(name, place):
    data = {
        "header": lambda: forged(FULL[name], b""),
        "value": lambda: with_meta(other=FULL[name]),
        "network": lambda: with_meta(network=FULL[name].replace("{", '{"output": 1, ', 1)),
    }[place]()
    if len(data) > LIMIT:       # twice escaped
        data = with_meta(other=FULL[name][:LIMIT // 3])
    assert len(data) > LIMIT // 4
    tracemalloc.start()
    started = time.process_time()
    try:
        if place == "value" and name in ("lists", "numbers", "a string", "layers"):
            unpacked(data)      # a value that may be there
        else:
            refused(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20
    assert time.process_time() - started < 10


def test_fault_42_many_layers_of_one_unit_take_bounded_memory():
    """The largest network that fits a header: the memory of its layers in addition to theta"""
    net = {**NET, "layer_sizes": [1] * 60000, "activation": ["relu"] * 59998}
    meta = {"fastbp_format": "1", "network": json.dumps(net, separators=(",", ":"))}
    n = 4 * 2 * 59999
    text = header(meta, theta=array("F32", [n // 4], [0, n]), sha256=array("U8", [32], [n, n + 32]))
    data = forged(text, bytes(n))
    tracemalloc.start()
    try:
        unpacked(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(data) + 64 * 2**20
