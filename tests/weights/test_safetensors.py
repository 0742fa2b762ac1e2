"""What the safetensors package writes is read back, without a copy; what breaks the format is refused by name."""

import json
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import safetensors
from hostile import check_limits, check_message, damaged_bytes, outcomes, replace, shown, span
from hostile_json import damaged_json
from safetensors.numpy import save_file

from divebell.errors import BadFile, Unsupported
from divebell.weights.formats import F8_E4M3, F32, OWN
from divebell.weights.safetensors import Tensors, read_file

F8 = ml_dtypes.float8_e4m3fn


def numbers(shape: tuple[int, ...], dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(dtype)


STORED = {
    "a": numbers((3, 4)),
    "half": numbers((5,), np.float16),
    "brain": numbers((2, 3, 2), ml_dtypes.bfloat16),
    "eight": numbers((5, 7), F8),
    "nothing": numbers((0, 4)),
    "one": numbers(()),
    "naïve 名": numbers((1,)),
}


def write(path, header: dict | bytes, data: bytes = b""):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return replace(path, len(raw).to_bytes(8, "little") + raw + data)


def one(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def test_what_the_package_writes_is_read(path):
    save_file(STORED, path, metadata={"format": "pt"})
    tensors = Tensors(read_file(path))
    assert set(tensors) == set(STORED)
    for name, array in STORED.items():
        assert tensors[name].shape == array.shape
        np.testing.assert_array_equal(tensors[name].f32(), array.astype(np.float32))


def test_the_data_is_the_files_own(path):
    big = numbers((1000, 1000))
    save_file({"big": big}, path)
    tracemalloc.start()
    tensor = Tensors(read_file(path))["big"]
    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()
    _, begin, end, size = span(tensor.data)
    assert (end - begin, end) == (big.nbytes, size)
    assert not tensor.data.flags.writeable


def test_fp8_takes_its_scales_along(path):
    matrix, scales = numbers((300, 200), F8), numbers((3, 2))
    save_file({"w.weight": matrix, "w.weight_scale_inv": scales, "plain": numbers((4, 4), F8)}, path)
    tensors = Tensors(read_file(path))
    assert set(tensors) == {"w.weight", "plain"}
    assert "w.weight_scale_inv" not in tensors
    assert tensors["plain"].scales is None
    spread = np.repeat(np.repeat(scales, 128, axis=0), 128, axis=1)[:300, :200]
    assert tensors["w.weight"].format is F8_E4M3
    np.testing.assert_array_equal(tensors["w.weight"].f32(), matrix.astype(np.float32) * spread)


def test_data_at_any_address_is_read(path):
    """Headers are padded to eight bytes by the package, but need not be; tensors behind an odd one lie oddly too."""
    values = np.float32([1.5, -2])
    scales = np.float32([[3]])
    header = {"b": one("F8_E4M3", [1, 1], [0, 1]), "b_scale_inv": one("F32", [1, 1], [1, 5]), "a": one(offsets=[5, 13])}
    for space in range(8):
        raw = json.dumps(header).encode() + b" " * space
        tensors = Tensors(read_file(write(path, raw, F8(0.5).tobytes() + scales.tobytes() + values.tobytes())))
        assert tensors["b"].f32() == 1.5
        np.testing.assert_array_equal(tensors["a"].f32(), values)


def test_integers_are_passed_over_until_asked_for(path):
    save_file({"ids": np.arange(3), "a": STORED["a"]}, path)
    tensors = Tensors(read_file(path))
    assert set(tensors) == {"ids", "a"}
    assert tensors["a"].format is F32
    with pytest.raises(
        Unsupported, match=r"model\.safetensors: tensor 'ids': number format 'I64' is not .*known: BF16"
    ):
        tensors["ids"]


TWO = {"a": one(), "b": one(offsets=[8, 16])}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"", r"header: is empty"),
        (b"{", r"header: is not valid JSON: Expecting property name"),
        (b"[]", r"header: must be a JSON object, is list"),
        (b'{"a": 1, "a": 1}', r"header: .*key 'a' is there twice"),
        (b'{"a": {"dtype": 1, "dtype": 1}}', r"header: .*key 'dtype' is there twice"),
        (b'{"\xff": 1}', r"header: .*can't decode byte 0xff"),
        (b'{"\\ud800": 1}', r"header: .*half of a surrogate pair"),
        (b'{"a": ' + b"[" * 100_000, r"header: is nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", r"header: .*a number has 5000 digits; at most 400 are allowed"),
        ({"a": [1]}, r"'a': must have exactly dtype, shape and data_offsets"),
        ({"a": {"dtype": "F32", "shape": [2]}}, r"'a': must have exactly dtype, shape and data_offsets"),
        ({"a": one() | {"more": 1}}, r"'a': must have exactly dtype, shape and data_offsets"),
        ({"a": one(dtype=4)}, r"'a': dtype: must be a string"),
        ({"a": one(shape="2")}, r"'a': shape: must be at most 16 whole numbers, not negative"),
        ({"a": one(shape=[2.0])}, r"'a': shape: must be at most 16 whole numbers"),
        ({"a": one(shape=[True, 2])}, r"'a': shape: must be at most 16 whole numbers"),
        ({"a": one(shape=[-2])}, r"'a': shape: must be at most 16 whole numbers"),
        ({"a": one(shape=[2**63])}, r"'a': shape: must be at most 16 whole numbers"),
        ({"a": one(shape=[1] * 17)}, r"'a': shape: must be at most 16 whole numbers"),
        ({"a": one(shape=[2**31, 2**31])}, r"'a': shape: .* is more than 2\^60 numbers"),
        ({"a": one(shape=[0, 2**62], offsets=[0, 0])}, r"'a': shape: .* is more than 2\^60 numbers"),
        ({"a": one(shape=[3])}, r"'a': data_offsets: 8 bytes; F32 of shape \(3,\) takes 12"),
        ({"a": one(dtype="F4", shape=[15])}, r"'a': data_offsets: 8 bytes; F4 of shape \(15,\) takes 7.5"),
        ({"a": one(offsets=[0])}, r"'a': data_offsets: must be two numbers"),
        ({"a": one(offsets=[0, 8, 8])}, r"'a': data_offsets: must be at most 2 whole numbers"),
        ({"a": one(offsets=[8, 0])}, r"'a': data_offsets: \[8, 0\] does not lie within the 16 bytes of data"),
        ({"a": one(offsets=[16, 24])}, r"'a': data_offsets: \[16, 24\] does not lie within the 16 bytes of data"),
        ({"a": one(offsets=[2**63 - 9, 2**63 - 1])}, r"'a': data_offsets: .* does not lie within the 16 bytes"),
        (TWO | {"b": one(offsets=[0, 8])}, r"'b': data_offsets: begins at 0, .* ends at 8: an overlap or a hole"),
        (TWO | {"b": one(offsets=[4, 12])}, r"'b': data_offsets: begins at 4, .* ends at 8: an overlap or a hole"),
        ({"b": one(offsets=[8, 16])}, r"'b': data_offsets: begins at 8, .* ends at 0: an overlap or a hole"),
        ({"a": one()}, r"data: 8 bytes after the last tensor belong to none"),
        (TWO | {"__metadata__": []}, r"__metadata__: must be an object of strings"),
        (TWO | {"__metadata__": {"format": 1}}, r"__metadata__: must be an object of strings"),
    ],
    ids=shown,
)
def test_damage_is_named(path, header, words):
    with pytest.raises(BadFile, match=rf"model\.safetensors: {words}") as caught:
        read_file(write(path, header, bytes(16)))
    check_message(caught.value, [path])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\x02\0\0\0\0\0\0", r"the file has 7 bytes; at least 8 are needed"),
        (b"\x03\0\0\0\0\0\0\0{}", r"3 bytes; the file has 2 more \(cut short\?\)"),
        ((2**63).to_bytes(8, "little") + b"{}", r"9223372036854775808 bytes; the file has 2 more"),
        (b"\xff" * 8 + b"{}", r"18446744073709551615 bytes; the file has 2 more"),
    ],
    ids=shown,
)
def test_wrong_header_lengths_are_named(path, raw, words):
    with pytest.raises(BadFile, match=rf"model\.safetensors: header length: {words}"):
        read_file(replace(path, raw))


def test_a_header_that_fills_a_huge_file_is_not_read(path):
    with replace(path, (1 << 39).to_bytes(8, "little")).open("r+b") as file:
        file.truncate(1 << 40)
    check_limits(lambda: read_file(path))
    with pytest.raises(BadFile, match=r"header length: 549755813888 bytes; at most 16777216 are allowed"):
        read_file(path)


def test_a_number_format_without_a_size_is_not_supported(path):
    with pytest.raises(Unsupported, match=r"model\.safetensors: tensor 'a': dtype 'Q4' is not supported; known: BF16"):
        read_file(write(path, {"a": one("Q4")}, bytes(8)))


@pytest.mark.parametrize(
    ("matrix", "scales", "words"),
    [
        (
            numbers((130, 4), F8),
            numbers((1, 1)),
            r"'w_scale_inv': is F32 of shape \(1, 1\); .* must be F32 of \(2, 1\)",
        ),
        (numbers((4, 4), F8), numbers((1, 1), np.float16), r"'w_scale_inv': is F16 of shape \(1, 1\); .* must be F32"),
        (numbers((4,), F8), numbers((1,)), r"'w_scale_inv': shape: scales a tensor of 1 axes; 2 are allowed"),
    ],
    ids=shown,
)
def test_scales_that_do_not_fit_are_named(path, matrix, scales, words):
    save_file({"w": matrix, "w_scale_inv": scales}, path)
    with pytest.raises(BadFile, match=words):
        Tensors(read_file(path))


FULLEST = {
    "names": lambda: "".join(f'"{i:07}":{i},' for i in range(299_990)) + '"0000001":0',
    "wide text": lambda: '"":"' + "x" * 16_777_000 + '😀"',
    "escapes": lambda: '"":"' + r"\n" * 8_388_000 + r'\ud83d\ude00"',
    "objects": lambda: '"":[' + ",".join(['{"a":1}'] * 149_990) + "]",
    "metadata": lambda: '"__metadata__":{' + ",".join(f'"{i:07}":"Ā{i}"' for i in range(299_990)) + "}",
    "tensors": lambda: ",".join(f'"{i:06}":{json.dumps(one(shape=[0], offsets=[0, 0]))}' for i in range(42_800)),
    "digits": lambda: '"":' + "9" * 16_777_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("content", FULLEST.values(), ids=FULLEST)
def test_the_fullest_headers_stay_within_limits(path, content):
    write(path, f"{{{content()}}}".encode())
    check_limits(lambda: read_file(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: b'{"a":"' + b"x" * (16 << 20) + b'"}', r"header length: 16777224 bytes; at most 16777216 are allowed"),
        (
            lambda: b'{"a":[' + b"0," * 300_000 + b"0]}",
            r"header: holds about 300002 values; at most 300000 are allowed",
        ),
    ],
    ids=shown,
)
def test_headers_larger_than_any_model_needs_are_refused(path, content, words):
    write(path, content())
    check_limits(lambda: read_file(path))
    with pytest.raises(BadFile, match=words):
        read_file(path)


@pytest.mark.parametrize("cases", [range(1000), pytest.param(range(1000, 10_000), marks=pytest.mark.slow)], ids=len)
def test_mutated_headers_are_refused_or_read_right(tmp_path, path, cases):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    small = STORED | {"w": numbers((130, 2), F8), "w_scale_inv": numbers((2, 1)), "ids": np.arange(3)}
    save_file(small, path, metadata={"format": "pt"})
    raw = path.read_bytes()
    length = 8 + int.from_bytes(raw[:8], "little")
    header, data = json.loads(raw[8:length]), raw[length:]

    def damage(rng):
        if rng.random() < 0.25:
            replace(path, damaged_bytes(rng, raw, length))
        else:
            write(path, damaged_json(rng, header), data)
        return tmp_path

    found = outcomes(cases, damage, [path], as_the_package_reads)
    print(dict(found))
    assert found["BadFile"] > len(cases) / 2
    assert found["Unsupported"]
    assert found["loaded"] > len(cases) / 100


def as_the_package_reads(checkpoint):
    """What we take, the package takes for the same; it knows no pairs, and refuses more."""
    try:
        theirs = dict(safetensors.deserialize(checkpoint.files[0].read_bytes()))
    except safetensors.SafetensorError:
        return "loaded, but not by the package"
    assert set(checkpoint.tensors) <= set(theirs)
    for name in checkpoint.tensors:
        try:
            tensor = checkpoint.tensors[name]
        except Unsupported:
            continue
        assert (tensor.format.name, list(tensor.shape)) == (theirs[name]["dtype"], theirs[name]["shape"])
        assert tensor.data.tobytes() == theirs[name]["data"]
        if tensor.scales is not None:
            assert tensor.scales.tobytes() == theirs[name + "_scale_inv"]["data"]
    return "loaded"


@pytest.mark.parametrize("format", OWN, ids=lambda f: f.name)
def test_our_own_formats_go_by_the_name_without_their_ending(path, format):
    rows = np.random.default_rng(4).integers(0, 100, (3, format.nbytes((288,))), dtype=np.uint8)
    save_file({f"w.{format.name}": rows, "b": numbers((2,))}, path)
    tensors = Tensors(read_file(path))
    assert set(tensors) == {"w", "b"}
    assert len(tensors) == 2
    assert f"w.{format.name}" not in tensors
    assert (tensors["w"].format, tensors["w"].shape) == (format, (3, 288))
    np.testing.assert_array_equal(tensors["w"].data, rows.reshape(-1))


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ({"w.D4": np.zeros((2, 20), np.uint8)}, "w.D4: shape: (2, 20) is no rows of D4"),
        ({"w.D8": np.zeros((35,), np.uint8)}, "w.D8: shape: (35,) is no rows of D8"),
        ({"w.D4": np.zeros((2, 0), np.uint8)}, "w.D4: shape: (2, 0)"),
        ({"w.D4": np.zeros((2, 19), np.uint8), "w": numbers((2, 32))}, "w is there in another format too"),
        (
            {"w.D4": np.zeros((2, 19), np.uint8), "w.D8": np.zeros((2, 35), np.uint8)},
            "w is there in another format too",
        ),
    ],
)
def test_rows_that_are_none_of_our_own_formats_are_refused(path, stored, says):
    save_file(stored, path)
    with pytest.raises(BadFile) as error:
        Tensors(read_file(path))
    assert says in str(error.value).replace("'", "")


def test_a_name_alone_makes_no_format(path):
    save_file({"w.D4": numbers((2, 19))}, path)
    assert Tensors(read_file(path))["w.D4"].format is F32
