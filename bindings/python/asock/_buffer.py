"""Memory that the library may use: the buffer protocol, held for as long as an operation runs.

An object's memory is exported as C code would do it, with PyObject_GetBuffer: no copy, read-only objects as well, and a
bytearray cannot be resized until the export is released. ctypes' own from_buffer takes writable objects only.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_ssize_t, c_void_p, py_object

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


def new_bytes(size: int) -> bytes:
    """A bytes object of that size with undefined contents, for a receive to write into before anybody has seen it.

    socket.recv of the standard library does the same: the data is received where it stays.
    """
    if size > sys.maxsize // 2:
        raise MemoryError(f"no {size} bytes for a receive")
    made = _new_bytes(None, size)
    assert isinstance(made, bytes)
    return made


__all__ = ["Export", "new_bytes"]
