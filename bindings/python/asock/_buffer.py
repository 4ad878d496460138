"""Memory that the library may use: the buffer protocol, held for as long as an operation runs.

An object's memory is exported as C code would do it, with PyObject_GetBuffer: no copy, read-only objects as well, and a
bytearray cannot be resized until the export is released. ctypes' own from_buffer takes writable objects only.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_ssize_t, c_void_p, py_object
from typing import Any, List, Tuple, Union

from . import _abi
from ._address import Address, read_address

_SIMPLE = 0
_WRITABLE = 1


class _View(Structure):
    """Py_buffer, whose layout is part of Python's stable binary interface."""

    _fields_ = [
        ("buf", c_void_p),
        ("obj", c_void_p),
        ("len", c_ssize_t),
        ("itemsize", c_ssize_t),
        ("readonly", c_int),
        ("ndim", c_int),
        ("format", c_char_p),
        ("shape", POINTER(c_ssize_t)),
        ("strides", POINTER(c_ssize_t)),
        ("suboffsets", POINTER(c_ssize_t)),
        ("internal", c_void_p),
    ]


# Own function objects, so that the types set here bind nobody else who uses ctypes.pythonapi.
_get = ctypes.PYFUNCTYPE(c_int, py_object, POINTER(_View), c_int)(("PyObject_GetBuffer", ctypes.pythonapi))
_release = ctypes.PYFUNCTYPE(None, POINTER(_View))(("PyBuffer_Release", ctypes.pythonapi))
_new_bytes = ctypes.PYFUNCTYPE(py_object, c_void_p, c_ssize_t)(("PyBytes_FromStringAndSize", ctypes.pythonapi))


class Export:
    """The memory of an object, held until `release`."""

    __slots__ = ("_view",)

    def __init__(self, data: object, writable: bool, what: str) -> None:
        view = _View()
        if isinstance(data, str):
            raise TypeError(f"{what} takes a bytes-like object, not str: encode it first, for example text.encode()")
        try:
            _get(data, byref(view), _WRITABLE if writable else _SIMPLE)
        except TypeError:
            kind = type(data).__name__
            raise TypeError(
                f"{what} takes a bytes-like object (such as bytes, bytearray, memoryview or array), not {kind}"
            ) from None
        except BufferError as error:
            if writable and memoryview(data).readonly:  # type: ignore[arg-type]
                kind = type(data).__name__
                raise TypeError(f"{what} takes a writable buffer, such as a bytearray; this {kind} is read-only") from None
            raise BufferError(f"{what} takes a contiguous buffer; copy it first with bytes(...): {error}") from None
        self._view = view

    @property
    def address(self) -> int:
        return self._view.buf or 0

    @property
    def length(self) -> int:
        return int(self._view.len)

    def release(self) -> None:
        """Gives the memory back. The second time it does nothing: Python's function marks what it has released."""
        _release(byref(self._view))

    def finish(self, transferred: int, _: int) -> int:
        self.release()
        return transferred


class Exports:
    """The memory of several objects, in their order, held until `release`."""

    __slots__ = ("_exports",)

    def __init__(self, pieces: Any, writable: bool, what: str) -> None:
        if isinstance(pieces, (str, bytes, bytearray, memoryview)):
            kind = type(pieces).__name__
            raise TypeError(f"{what} takes a list of bytes-like objects; put this {kind} into one")
        try:
            found = iter(pieces)
        except TypeError:
            raise TypeError(f"{what} takes a list of bytes-like objects, not {type(pieces).__name__}") from None
        self._exports: List[Export] = []
        try:
            for piece in found:
                self._exports.append(Export(piece, writable, what))
        except BaseException:
            self.release()
            raise

    def array(self) -> "ctypes.Array[_abi.asock_buffer]":
        """What the library is given, which copies it."""
        made = (_abi.asock_buffer * len(self._exports))()
        for place, export in zip(made, self._exports):
            place.data = export.address
            place.length = export.length
        return made

    def release(self) -> None:
        for export in self._exports:
            export.release()

    def finish(self, transferred: int, _: int) -> int:
        self.release()
        return transferred


class Datagram:
    """Room for one datagram, new bytes or the memory of an object, and for the address of its sender."""

    __slots__ = ("_memory", "sender")

    def __init__(self, memory: Union[bytes, Export]) -> None:
        self._memory = memory
        self.sender = _abi.asock_address()

    def finish(self, transferred: int, _: int) -> "Tuple[Union[bytes, int], Union[Address, None]]":
        memory = self._memory
        sender = read_address(self.sender)
        if isinstance(memory, bytes):
            return memory[:transferred], sender
        return memory.finish(transferred, 0), sender


def new_bytes(size: int) -> bytes:
    """A bytes object of that size with undefined contents, for a receive to write into before anybody has seen it.

    socket.recv of the standard library does the same: the data is received where it stays.
    """
    if size > sys.maxsize // 2:
        raise MemoryError(f"no {size} bytes for a receive")
    made = _new_bytes(None, size)
    assert isinstance(made, bytes)
    return made


__all__ = ["Datagram", "Export", "Exports", "new_bytes"]
