"""Stand-ins for numpy in a pickle's stream: inert objects that record the parts of an array.

In: the calls made by unpickling (``numpy.dtype("f8")``, ``_reconstruct`` and so on, with the names of numpy 1 and 2 and
of Python 2 and 3). Out: records (:class:`Dtype`, :class:`Array`, :class:`Scalar`), or an :class:`UnsafePickleError`. A
stream can neither modify a stand-in nor reach anything through it.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Any, Literal, NoReturn, cast

import numpy as np

_CODE = re.compile(r"[biufcSUO][0-9]*")  # dtypes: no records, no dates
_AXES = 8  # maximum number


class UnsafePickleError(pickle.UnpicklingError):
    """The stream requests something other than an array, a number, a text or a plain container."""


class _StandIn:
    """The object that the stream gets for a name: it can be called but not modified."""

    __slots__ = ("_make",)
    _make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]) -> None:
        object.__setattr__(self, "_make", make)

    def __call__(self, *parts: Any) -> Any:
        return self._make(*parts)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise UnsafePickleError("a change to what reads the file")

    def __setstate__(self, state: Any) -> NoReturn:
        raise UnsafePickleError("a change to what reads the file")


class Dtype:
    """The parts of a dtype; ``size`` in bytes if its code does not contain it (texts), else -1."""

    __slots__ = ("code", "order", "size")

    def __init__(self, code: str) -> None:
        self.code, self.order, self.size = code, "=", -1

    def __setstate__(self, state: Any) -> None:
        """numpy's: (version, byte order, subdtype, names, fields, size, alignment, flags, ...)."""
        version, order, *rest = state
        plain = version in (1, 2, 3, 4) and order in ("<", ">", "|", "=")
        if not plain or any(part is not None for part in rest[:3]):
            raise UnsafePickleError("an array of records")
        self.order, self.size = str(order), int(rest[3])

    def dtype(self) -> np.dtype[Any]:
        """Build the dtype."""
        code = self.code
        if code[0] in "SU" and self.size >= 0:
            code = f"{code[0]}{self.size // (4 if code[0] == 'U' else 1)}"
        return np.dtype(code).newbyteorder(cast(Literal["<", ">", "="], self.order.replace("|", "=")))


class Array:
    """The parts of an array: ``raw`` (bytes, Python 2's text of bytes, or a list of objects), dtype and shape."""

    __slots__ = ("axes", "dtype", "order", "raw", "shape")

    def __init__(self) -> None:
        self.raw: bytes | bytearray | str | list[Any] = b""
        self.shape: tuple[int, ...] = (0,)
        self.dtype, self.order, self.axes = Dtype("u1"), "C", None

    def __setstate__(self, state: Any) -> None:
        """numpy's: (version, shape, dtype, True for Fortran order, bytes or, for objects, a list)."""
        shape, dtype, fortran, raw = state[-4:]
        self.fill(raw, dtype, shape, "F" if fortran else "C")

    def fill(self, raw: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Array:
        """Record the parts of the array; ``axes``: the permutation of its axes to apply afterwards."""
        known = isinstance(dtype, Dtype) and isinstance(raw, (bytes, bytearray, str, list))
        if not known or order not in ("C", "F", "K") or (order == "K") != (axes is not None):
            raise UnsafePickleError("an array in a form that numpy does not write")
        sizes = tuple(int(length) for length in (shape if isinstance(shape, (tuple, list)) else (shape,)))
        if len(sizes) > _AXES or min(sizes, default=0) < 0:
            raise UnsafePickleError(f"an array of shape {sizes}")
        self.raw, self.dtype, self.shape, self.order, self.axes = raw, dtype, sizes, order, axes
        return self


class Scalar(Array):
    """The parts of a numpy scalar."""

    __slots__ = ()


def _dtype(code: Any, *_: Any) -> Dtype:
    code = code.decode("latin1") if isinstance(code, bytes) else code
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise UnsafePickleError(f"an array of type {code!r:.60}")
    return Dtype(code)


def _reconstruct(kind: Any, *_: Any) -> Array:
    if kind is not _NDARRAY:
        raise UnsafePickleError("a kind of array that is not numpy's plain one")
    return Array()


def _ndarray(*_: Any) -> NoReturn:
    raise UnsafePickleError("an array in a form that numpy does not write")


def _frombuffer(raw: Any, dtype: Any, shape: Any, order: str, axes: Any = None) -> Array:
    return Array().fill(raw, dtype, shape, order, axes)


def _scalar(dtype: Any, raw: Any = b"") -> Array:
    return Scalar().fill(raw, dtype, (), "C")


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Bytes as written by protocols 0 to 2."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UnsafePickleError("an encoding other than latin1")
    return text.encode("latin1")


def _bytes(*parts: Any) -> bytes:
    if parts and not (len(parts) <= 2 and isinstance(parts[0], (bytes, bytearray, str))):
        raise UnsafePickleError("bytes in a form that Python does not write")
    return _encode(*parts) if parts and isinstance(parts[0], str) else bytes(*parts[:1])


def _set(items: Any = ()) -> set[Any]:
    if not isinstance(items, list):
        raise UnsafePickleError("a set in a form that Python does not write")
    return set(items)


def _complex(real: Any, imaginary: Any) -> complex:
    if not isinstance(real, float) or not isinstance(imaginary, float):
        raise UnsafePickleError("a complex number in a form that Python does not write")
    return complex(real, imaginary)


_NDARRAY = _StandIn(_ndarray)
#: Other names of the modules: Python 2's, and numpy 2's.
MODULES = {
    "__builtin__": "builtins",
    "numpy._core.multiarray": "numpy.core.multiarray",
    "numpy._core.numeric": "numpy.core.numeric",
}
STAND_INS = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _StandIn(_dtype),
    ("numpy.core.multiarray", "_reconstruct"): _StandIn(_reconstruct),
    ("numpy.core.multiarray", "scalar"): _StandIn(_scalar),
    ("numpy.core.numeric", "_frombuffer"): _StandIn(_frombuffer),
    ("_codecs", "encode"): _StandIn(_encode),
    ("builtins", "bytes"): _StandIn(_bytes),
    ("builtins", "bytearray"): _StandIn(_bytes),
    ("builtins", "set"): _StandIn(_set),
    ("builtins", "frozenset"): _StandIn(_set),
    ("builtins", "complex"): _StandIn(_complex),
}
