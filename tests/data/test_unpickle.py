"""Restricted unpickling: arrays come back as they were, and nothing that a stream asks for is ever run."""

from __future__ import annotations

import contextlib
import os
import pickle
import pickletools
import struct
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from failing import fails
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from eavdash.data.formats import unpickle
from eavdash.data.formats.pickle_parts import STAND_INS
from eavdash.data.formats.unpickle import load_arrays
from eavdash.errors import RecordingError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def save(path: Path, content: Any, protocol: int = pickle.DEFAULT_PROTOCOL) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return (
            isinstance(other, np.ndarray)
            and one.shape == other.shape
            and one.dtype == other.dtype
            and all(map(same, one.flat, other.flat))
        )
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return isinstance(other, dict) and list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    return type(one) is type(other) and (one == other or (one != one and other != other))


CONTENT = {
    "list": [1, -(2**70), 2.5, True, None, "tëxt", b"by\x00\xfftes", 1 + 2j],
    "tuple": (np.float64(2.5), np.int8(-3), np.bool_(True), np.str_("x"), np.complex64(1j)),
    "order": np.asfortranarray(np.arange(24, dtype="f4").reshape(2, 3, 4)),
    "axes": np.arange(24).reshape(2, 3, 4).transpose(1, 2, 0),
    "strided": np.arange(20)[::3],
    "big": np.arange(5, dtype=">i2"),
    "texts": np.array(["a", "bcd", "é"]),
    "bytes": np.array([b"a", b"bc"]),
    "half": np.zeros(3, "f2"),
    "empty": np.empty((0, 3)),
    "none": np.array(5),
    "objects": np.array([np.arange(3), 2, 2.5, None], dtype=object)[:3],
    "grid": np.asfortranarray(np.array([[1, 2.5], [np.zeros(2), 4]], dtype=object)),
    "nested": [[[(1, {"a": [np.ones(2)]})]]],
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("modules", ["numpy._core", "numpy.core"])
def test_arrays_and_plain_values_come_back(tmp_path: Path, protocol: int, modules: str) -> None:
    path = save(tmp_path / "x.pkl", CONTENT, protocol)
    stream = path.read_bytes()
    if modules == "numpy.core" and protocol < 4:  # below 4 names carry no length
        assert b"numpy._core" in stream
        path.write_bytes(stream.replace(b"numpy._core", b"numpy.core"))
    loaded = load_arrays(path)
    for name in CONTENT:
        assert same(CONTENT[name], loaded[name]), name
    assert same(CONTENT, load_arrays(path, outline=True))


def test_numpy_1_names_with_a_length(tmp_path: Path) -> None:
    stream = pickle.dumps(np.arange(3), 4)
    old, new = b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray"
    assert old in stream
    frame = struct.unpack("<Q", stream[3:11])[0]
    path = tmp_path / "x.pkl"
    path.write_bytes(stream[:3] + struct.pack("<Q", frame - 1) + stream[11:].replace(old, new))
    assert load_arrays(path).tolist() == [0, 1, 2]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    npst.arrays(
        st.sampled_from(["u1", "i4", ">i8", "f4", "<f8", "c16", "?", "U3", "S4"]),
        npst.array_shapes(max_dims=4, min_side=0),
    ),
    st.sampled_from(PROTOCOLS),
    st.booleans(),
)
def test_any_array_comes_back(tmp_path: Path, array: np.ndarray, protocol: int, fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    assert same(array, load_arrays(save(tmp_path / "x.pkl", array, protocol)))


def test_python_2_pickles(tmp_path: Path) -> None:
    """As Python 2 wrote them: names of its modules, texts of bytes, an array's bytes as such a text."""
    raw = np.arange(3, dtype="<f8").tobytes()
    text = b"T" + struct.pack("<i", len(raw)) + raw
    dtype = b"cnumpy\ndtype\n(U\x02f8K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x03t"
        + dtype
        + b"\x89"
        + text
        + b"tb"
    )
    path = tmp_path / "x.dat"
    path.write_bytes(b"\x80\x02}(U\x04data" + array + b"U\x05otherc__builtin__\nset\n(](K\x01K\x02etRu.")
    loaded = load_arrays(path)
    assert same(loaded["data"], np.arange(3.0))
    assert loaded["other"] == {1, 2}


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def touch(path: Path) -> list[tuple[str, Any]]:
    """Content that would make the file ``path`` if it were run."""
    command = f"touch {path}"
    inside = np.empty(1, dtype=object)
    inside[0] = Calls(os.system, command)
    return [
        ("system", Calls(os.system, command)),
        ("eval", Calls(eval, f"__import__('os').system('{command}')")),
        ("exec", [1, {"a": Calls(exec, f"open('{path}', 'w').close()")}]),
        ("open", Calls(open, str(path), "w")),
        ("import", Calls(__import__, "antigravity")),
        ("getattr", Calls(getattr, 1, "__class__")),
        ("partial", Calls(__import__("functools").partial, os.system, command)),
        ("object array", inside),
        ("array in a list", [np.zeros(3), (1, inside)]),
        ("ordered", OrderedDict(a=1)),
        ("path", path),
        ("load", Calls(np.load, str(path))),
        ("memmap", Calls(np.memmap, str(path), "u1", "w+", 0, (1,))),
        ("record", np.zeros(2, dtype=[("a", "f8"), ("b", "O")])),
        ("matrix", np.matrix([[1]])),
        ("masked", np.ma.array([1], mask=[True])),
        ("date", np.array(["2020-01-01"], dtype="datetime64[D]")),
        ("type", np.dtype("f8")),
        ("class", np.ndarray),
        ("function", len),
        ("texts as objects", np.array(["a", "b"], dtype=object)),
    ]


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_the_attacks_would_run_elsewhere(tmp_path: Path) -> None:
    """The planted defect: what is refused here does harm where pickles are trusted."""
    victim = tmp_path / "victim"
    for name, content in touch(victim)[:3]:
        pickle.loads(pickle.dumps(content))
        assert victim.exists(), name
        victim.unlink()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("number", range(21))
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_anything_else_is_refused_and_not_run(tmp_path: Path, number: int, protocol: int) -> None:
    victim = tmp_path / "victim"
    name, content = touch(victim)[number]
    path = save(tmp_path / "x.pkl", content, protocol)
    for outline in (False, True):
        with fails(RecordingError, where="x.pkl") as error:
            load_arrays(path, outline=outline)
        assert "\n" not in str(error.value), name
    assert not victim.exists()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def stack_global(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def array_of(dtype: bytes, raw: bytes, shape: bytes = b"K\x01\x85") -> bytes:
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    return start + b"(K\x01" + shape + dtype + b"\x89" + raw + b"tb"


def dtype_of(code: str, flags: int = 0, fields: bytes = b"NNN", size: int = -1) -> bytes:
    return (
        b"cnumpy\ndtype\n"
        + text(code)
        + b"\x89\x88\x87R(K\x03"
        + text("<")
        + fields
        + b"J"
        + struct.pack("<i", size)
        + b"J\xff\xff\xff\xffK"
        + bytes([flags])
        + b"tb"
    )


POINTER = b"C\x08" + struct.pack("<Q", 0x4141414141414141)
ATTACKS = {
    # Names with dots in them would be looked up attribute by attribute.
    "dotted name": stack_global("numpy", "core.multiarray._reconstruct"),
    "dotted builtin": stack_global("builtins", "set.__class__.__base__"),
    "name through numpy": stack_global("numpy.core.multiarray", "os.system") + text("true") + b"\x85R",
    "dotted module": b"cnumpy.core.multiarray.os\nsystem\n" + text("true") + b"\x85R",
    "inst": b"(" + text("true") + b"ios\nsystem\n",
    "obj": b"(cos\nsystem\n" + text("true") + b"o",
    "newobj": b"cbuiltins\nset\n)\x81",
    "newobj with words": b"cbuiltins\nset\n)}\x92",
    "persistent": b"Psomething\n",
    "persistent from the stack": text("something") + b"Q",
    "extension": b"\x82\x01",
    # Numbers read as pointers to objects: numpy's own unpickling believes the flags in the stream.
    "objects without their flag": array_of(dtype_of("O8", flags=0), POINTER),
    "object scalar": b"cnumpy.core.multiarray\nscalar\n" + dtype_of("O8") + POINTER + b"\x86R",
    "object scalar of a list": b"cnumpy.core.multiarray\nscalar\n" + dtype_of("O8") + b"]\x86R",
    "objects from a buffer": b"cnumpy.core.numeric\n_frombuffer\n("
    + POINTER
    + dtype_of("O8")
    + b"K\x01\x85"
    + text("C")
    + b"tR",
    "record": array_of(dtype_of("V8", fields=b"N" + text("a") + b"\x85}", size=8), POINTER),
    "fields on a number": array_of(dtype_of("f8", fields=b"N" + text("a") + b"\x85}"), POINTER),
    "dtype by name": b"cnumpy\ndtype\n" + text("os.system") + b"\x85R",
    "dtype of a list": b"cnumpy\ndtype\n]\x85R",
    "array class called": b"cnumpy\nndarray\nK\x01\x85R",
    "another class of array": b"cnumpy.core.multiarray\n_reconstruct\ncbuiltins\nset\nK\x00\x85C\x01b\x87R",
    "too short": array_of(dtype_of("f8"), b"C\x04abcd"),
    "too long": array_of(dtype_of("f8"), POINTER, b"K\x00\x85"),
    "negative shape": array_of(dtype_of("f8"), POINTER, b"J\xff\xff\xff\xff\x85"),
    "huge shape": array_of(dtype_of("f8"), POINTER, b"\x8a\x08" + b"\xff" * 7 + b"\x7f\x85"),
    "huge empty shape": array_of(dtype_of("S0"), b"C\x00", b"\x8a\x08" + b"\xff" * 7 + b"\x7f\x85"),
    "numbers from a list": array_of(dtype_of("f8"), b"(K\x01l"),
    "no such dtype": array_of(dtype_of("f3"), POINTER),
    # Changing what reads the file, so that the next file is read by something else.
    "state of a stand-in": b"cnumpy\ndtype\n}" + text("__call__") + b"K\x01sb",
    "attributes of a stand-in": b"cnumpy\ndtype\nN}" + text("_make") + b"K\x01s\x86b",
    "state of a builtin": b"cbuiltins\ncomplex\n}" + text("real") + b"K\x01sb",
    "items of a stand-in": b"cnumpy\ndtype\nK\x01a",
    "encode to run": b"c_codecs\nencode\n" + text("x") + text("rot13") + b"\x86R",
    "bytes of a size": b"cbuiltins\nbytes\n\x8a\x08" + b"\xff" * 7 + b"\x7f\x85R",
    "holds itself": b"]q\x00h\x00a",
    "array that holds itself": array_of(dtype_of("O8"), b"]q\x05h\x05a"),
    "deep": b"]" * 5000 + b"a" * 4999,
    "long length": b"\x8e" + b"\xff" * 7 + b"\x7f",
    "memo far away": b"Nr\xff\xff\xff\x00j\xfe\xff\xff\x00",
    "nothing": b"",
    "mark only": b"(",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_made_up_streams_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.pkl"
    before = dict(STAND_INS)
    path.write_bytes(b"\x80\x03" + ATTACKS[name] + b".")
    for outline in (False, True):
        with fails(RecordingError, where="x.pkl"):
            load_arrays(path, outline=outline)
    assert before == STAND_INS
    assert same(load_arrays(save(tmp_path / "y.pkl", CONTENT)), CONTENT)


def test_numpys_own_unpickling_would_have_taken_the_flags(tmp_path: Path) -> None:
    """The planted defect: with numpy's own classes admitted, the stream's flags are believed."""

    class Careless(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            assert module.startswith("numpy")
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)

    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x03" + dtype_of("O8", flags=0) + b".")
    with path.open("rb") as file:
        loaded = Careless(file).load()
    assert loaded.hasobject is False or loaded.flags == 0
    with fails(RecordingError, where="x.pkl"):
        load_arrays(path)


def test_damaged_files_are_one_sentence(tmp_path: Path) -> None:
    whole = pickle.dumps([np.arange(100), [1, 2]], 4)
    path = tmp_path / "x.pkl"
    for cut in (*range(1, len(whole), 7), len(whole) - 1):
        path.write_bytes(whole[:cut])
        with fails(RecordingError, where="x.pkl"):
            load_arrays(path)
    path.write_bytes(b"")
    with fails(RecordingError, found="0 bytes"):
        load_arrays(path)
    path.write_bytes(b"RIFF....WAVE")
    with fails(RecordingError, expected="complete pickle"):
        load_arrays(path)
    with fails(RecordingError, found="No such file"):
        load_arrays(tmp_path / "absent.pkl")
    with fails(RecordingError, found="folder"):
        load_arrays(tmp_path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_changed_bytes_never_run_anything(tmp_path: Path, data: st.DataObject) -> None:
    stream = bytearray(pickle.dumps(CONTENT["nested"], data.draw(st.sampled_from(PROTOCOLS))))
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 127))
    path = tmp_path / "x.pkl"
    path.write_bytes(bytes(stream))
    with contextlib.suppress(RecordingError):
        load_arrays(path)


@pytest.mark.parametrize("protocol", PROTOCOLS[1:])  # 0 is all text, and has to be read
def test_outline_has_shapes_and_small_arrays_but_reads_no_payload(
    tmp_path: Path, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = np.arange(3 * 200_000, dtype="f8").reshape(3, 200_000)
    content = [large, np.arange(5), large.astype("f4").T, [1, 2]]
    path = save(tmp_path / "x.pkl", content, protocol)
    passed: list[int] = []
    over = unpickle._Stream._pass
    monkeypatch.setattr(unpickle._Stream, "_pass", lambda self, n: (passed.append(n), over(self, n))[1])
    loaded = load_arrays(path, outline=True)
    assert [a.shape for a in loaded[:3]] == [(3, 200_000), (5,), (200_000, 3)]
    assert [a.dtype for a in loaded[:3]] == [np.dtype("f8"), np.dtype(int), np.dtype("f4")]
    assert not loaded[0].any()
    assert loaded[1].tolist() == [0, 1, 2, 3, 4]
    assert loaded[3] == [1, 2]
    assert sum(passed) >= large.nbytes * 1.5
    assert same(load_arrays(path), content)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with fails(RecordingError, where=path.name):
        load_arrays(path, outline=True)


DAMAGED = {
    "memo": b"Nr\xff\xff\xff\x7f.",
    "bytes": b"\x8e" + struct.pack("<Q", 2**36) + b"abc.",
    "bytearray": b"\x96" + struct.pack("<Q", 2**36) + b"abc.",
    "text": b"\x8d" + struct.pack("<Q", 2**36) + b"abc.",
    "old bytes": b"T\xff\xff\xff\x7fabc.",
    "number": b"\x8b\xff\xff\xff\x7fabc.",
    "frame": b"\x95" + struct.pack("<Q", 2**36) + b"N.",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_lengths_that_are_not_there_take_no_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x05" + DAMAGED[name])
    tracemalloc.start()
    try:
        with contextlib.suppress(RecordingError):
            assert load_arrays(path) is None
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_outline_of_a_stream_with_a_large_frame_is_read_whole(tmp_path: Path) -> None:
    content = ["x" * 300] * 3 + [str(n) for n in range(300_000)]
    body = pickle.dumps(content, 3)[2:]
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body)
    assert len(body) > unpickle.OUTLINE
    assert load_arrays(path, outline=True) == content
    assert next(pickletools.genops(path.read_bytes()))[0].name == "PROTO"


def encoded_often(text: bytes, times: int) -> bytes:
    """A list of ``times`` copies of a text's bytes, the text itself in the stream once."""
    once = b"X" + struct.pack("<I", len(text)) + text + b"q\x00X\x06\x00\x00\x00latin1q\x01"
    return b"\x80\x02]q\x02(" + once + b"c_codecs\nencode\nq\x030" + b"h\x03h\x00h\x01\x86R" * times + b"e."


def test_copies_of_a_text_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(encoded_often(b"a" * 1_000_000, 5))
    assert len(load_arrays(path)) == 7
    path.write_bytes(encoded_often(b"a" * 1_000_000, 10_000))
    tracemalloc.start()
    try:
        with fails(RecordingError, where=str(path), found="copies"):
            load_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def test_the_outline_of_an_array_has_no_more_numbers_than_its_bytes(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pkl", np.zeros(2_000_000, "u1"))
    data = path.read_bytes()
    shape = struct.pack("<I", 2_000_000)
    assert data.count(b"J" + shape) == 1
    path.write_bytes(data.replace(b"J" + shape, b"J" + struct.pack("<I", 2_000_000_000)))
    with fails(RecordingError, where=str(path), found="2000000000"):
        load_arrays(path, outline=True)


def test_a_file_larger_than_any_is_not_read(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pkl", [1])
    os.truncate(path, 10**10)
    with fails(RecordingError, where=str(path), found="10,000,000,000 bytes"):
        load_arrays(path)
