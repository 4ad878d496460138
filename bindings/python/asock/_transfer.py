"""Sending and receiving: of bytes, in pieces, of files, and of datagrams."""

from __future__ import annotations

import os
from ctypes import byref
from typing import Any, Callable, Iterable, Optional, Tuple, TypeVar, Union

from . import _abi, _check
from ._address import Address, write_address
from ._buffer import Datagram, Export, Exports, new_bytes
from ._errors import Status, error_of
from ._flags import ReceiveFlag, SendFlag
from ._operation import AsyncResult, Memory
from ._option import Options

T = TypeVar("T")
R = TypeVar("R", bytes, int)

_MOST = 2**63 - 1


class Transfers(Options):
    """What a socket has once it is there: its options, and the operations that carry bytes."""

    def begin_send(
        self,
        data: Any,
        callback: Optional[Callable[[AsyncResult[int]], object]] = None,
        state: Any = None,
        *,
        flags: int = SendFlag.NONE,
    ) -> AsyncResult[int]:
        """Begins to send all of a bytes-like object, which is not copied and cannot be resized until the send ends.

        Do not change its contents meanwhile either; with SendFlag.COPY both may be done at once. On a datagram socket
        it is one datagram to the peer that the socket is connected to.
        """
        bits = _check.flags(flags)
        if type(data) is bytes:
            return self._send(data, data, len(data), bits, callback, state)
        export = Export(data, False, "begin_send")
        try:
            result = self._send(export, export.address, export.length, bits, callback, state)
        except BaseException:
            export.release()
            raise
        return result

    def _send(
        self,
        memory: Union[bytes, Export],
        pointer: Union[bytes, int],
        length: int,
        flags: int,
        callback: Optional[Callable[[AsyncResult[int]], object]],
        state: Any,
    ) -> AsyncResult[int]:
        result: AsyncResult[int] = self._result(_abi.ASOCK_KIND_SEND, memory, callback, state, "")
        function = _abi.library.asock_begin_send
        status = self._engine.begin(result, function, self._handle, pointer, length, flags)
        self._begun(status, "send")
        if flags & SendFlag.COPY and isinstance(memory, Export):
            memory.release()
        return result

    def begin_receive(
        self,
        size: int,
        callback: Optional[Callable[[AsyncResult[bytes]], object]] = None,
        state: Any = None,
        *,
        flags: int = ReceiveFlag.NONE,
    ) -> AsyncResult[bytes]:
        """Begins to receive at most `size` bytes; `end_receive` returns them, b"" at the end of the stream.

        On a datagram socket it receives one, which may be empty; `AsyncResult.truncated` tells that it was larger.
        """
        bits = _check.flags(flags)
        memory = _room(size, "begin_receive_into")
        result: AsyncResult[bytes] = self._result(_abi.ASOCK_KIND_RECEIVE, memory, callback, state, "")
        function = _abi.library.asock_begin_receive
        status = self._engine.begin(result, function, self._handle, memory, len(memory), bits)
        self._begun(status, "receive")
        return result

    def begin_receive_into(
        self,
        buffer: Any,
        callback: Optional[Callable[[AsyncResult[int]], object]] = None,
        state: Any = None,
        *,
        flags: int = ReceiveFlag.NONE,
    ) -> AsyncResult[int]:
        """Begins to receive into a writable buffer; `end_receive` returns how many bytes, 0 at the end of the stream.

        The buffer cannot be resized until the receive ends; do not use its contents before.
        """
        bits = _check.flags(flags)
        export = Export(buffer, True, "begin_receive_into")
        try:
            result: AsyncResult[int] = self._result(_abi.ASOCK_KIND_RECEIVE, export, callback, state, "")
            function = _abi.library.asock_begin_receive
            status = self._engine.begin(result, function, self._handle, export.address, export.length, bits)
            self._begun(status, "receive")
        except BaseException:
            export.release()
            raise
        return result

    def begin_send_vectored(
        self,
        buffers: Iterable[Any],
        callback: Optional[Callable[[AsyncResult[int]], object]] = None,
        state: Any = None,
        *,
        flags: int = SendFlag.NONE,
    ) -> AsyncResult[int]:
        """Like `begin_send`, of several bytes-like objects, one after the other; on a datagram socket they make one
        datagram. `end_send` returns how many bytes they were together."""
        bits = _check.flags(flags)
        exports = Exports(buffers, False, "begin_send_vectored")
        function = _abi.library.asock_begin_send_vectored
        result = self._vectored(_abi.ASOCK_KIND_SEND, function, exports, bits, callback, state, "send")
        if bits & SendFlag.COPY:
            exports.release()
        return result

    def begin_receive_vectored(
        self,
        buffers: Iterable[Any],
        callback: Optional[Callable[[AsyncResult[int]], object]] = None,
        state: Any = None,
        *,
        flags: int = ReceiveFlag.NONE,
    ) -> AsyncResult[int]:
        """Like `begin_receive_into`, into several writable buffers, each full before the next is begun. `end_receive`
        returns how many bytes came altogether."""
        bits = _check.flags(flags)
        exports = Exports(buffers, True, "begin_receive_vectored")
        function = _abi.library.asock_begin_receive_vectored
        return self._vectored(_abi.ASOCK_KIND_RECEIVE, function, exports, bits, callback, state, "receive")

    def _vectored(
        self,
        kind: int,
        function: Callable[..., int],
        exports: Exports,
        flags: int,
        callback: Optional[Callable[[AsyncResult[int]], object]],
        state: Any,
        what: str,
    ) -> AsyncResult[int]:
        try:
            pieces = exports.array()
            result: AsyncResult[int] = self._result(kind, exports, callback, state, "")
            self._begun(self._engine.begin(result, function, self._handle, pieces, len(pieces), flags), what)
        except BaseException:
            exports.release()
            raise
        return result

    def begin_send_file(
        self,
        file: Any,
        callback: Optional[Callable[[AsyncResult[int]], object]] = None,
        state: Any = None,
        *,
        offset: int = 0,
        length: Optional[int] = None,
    ) -> AsyncResult[int]:
        """Begins to send a regular file, a file object or a descriptor, from `offset` on: `length` bytes of it, or all
        up to its present end. The system sends it without the bytes passing through this process.

        The file object may be closed at once; its position is neither used nor moved, and what it has not yet flushed
        is not in the file. `end_send` returns how many bytes were sent: all of them.
        """
        start = _check.number(offset, "offset", 0, _MOST)
        number = _descriptor(file)
        if length is None:
            try:
                count = max(0, os.fstat(number).st_size - start)
            except OSError as error:
                raise error_of(Status.INVALID_ARGUMENT, "send_file", error.errno or 0) from None
        else:
            count = _check.number(length, "length", 0, _MOST)
        result: AsyncResult[int] = self._result(_abi.ASOCK_KIND_SEND, None, callback, state, "send_file")
        function = _abi.library.asock_begin_send_file
        status = self._engine.begin(result, function, self._handle, number, start, count)
        self._begun(status, "send_file")
        return result

    def begin_send_to(
        self,
        data: Any,
        address: Tuple[Any, ...],
        callback: Optional[Callable[[AsyncResult[int]], object]] = None,
        state: Any = None,
        *,
        flags: int = SendFlag.NONE,
    ) -> AsyncResult[int]:
        """Begins to send one datagram to an `Address`, or another pair of a literal address and a port.

        `data` is as in `begin_send`. A datagram socket need not be bound for this.
        """
        bits = _check.flags(flags)
        to = byref(write_address(address, "begin_send_to"))
        memory = data if type(data) is bytes else Export(data, False, "begin_send_to")
        try:
            result: AsyncResult[int] = self._result(_abi.ASOCK_KIND_SEND_TO, memory, callback, state, "")
            function = _abi.library.asock_begin_send_to
            if isinstance(memory, Export):
                status = self._engine.begin(result, function, self._handle, memory.address, memory.length, bits, to)
            else:
                status = self._engine.begin(result, function, self._handle, memory, len(memory), bits, to)
            self._begun(status, "send_to")
        except BaseException:
            if isinstance(memory, Export):
                memory.release()
            raise
        if bits & SendFlag.COPY and isinstance(memory, Export):
            memory.release()
        return result

    def begin_receive_from(
        self,
        size: int,
        callback: Optional[Callable[[AsyncResult[Tuple[bytes, Optional[Address]]]], object]] = None,
        state: Any = None,
        *,
        flags: int = ReceiveFlag.NONE,
    ) -> AsyncResult[Tuple[bytes, Optional[Address]]]:
        """Begins to receive one datagram; `end_receive_from` returns at most `size` bytes of it, and its sender.

        It may be empty; `AsyncResult.truncated` tells that it was larger. A unix socket without a name has the address
        ("unix:", 0); after a shutdown of the receiving side there is none.
        """
        memory = _room(size, "begin_receive_from_into")
        result: AsyncResult[Tuple[bytes, Optional[Address]]]
        result = self._receive_from(memory, memory, len(memory), flags, callback, state)
        return result

    def begin_receive_from_into(
        self,
        buffer: Any,
        callback: Optional[Callable[[AsyncResult[Tuple[int, Optional[Address]]]], object]] = None,
        state: Any = None,
        *,
        flags: int = ReceiveFlag.NONE,
    ) -> AsyncResult[Tuple[int, Optional[Address]]]:
        """Like `begin_receive_from`, into a writable buffer; `end_receive_from` returns how many bytes, and whose."""
        export = Export(buffer, True, "begin_receive_from_into")
        try:
            result: AsyncResult[Tuple[int, Optional[Address]]]
            result = self._receive_from(export, export.address, export.length, flags, callback, state)
        except BaseException:
            export.release()
            raise
        return result

    def _receive_from(
        self,
        memory: Union[bytes, Export],
        pointer: Union[bytes, int],
        length: int,
        flags: int,
        callback: Optional[Callable[[AsyncResult[T]], object]],
        state: Any,
    ) -> AsyncResult[T]:
        bits = _check.flags(flags)
        datagram = Datagram(memory)
        result: AsyncResult[T] = self._result(_abi.ASOCK_KIND_RECEIVE_FROM, datagram, callback, state, "")
        function = _abi.library.asock_begin_receive_from
        sender = byref(datagram.sender)
        self._begun(self._engine.begin(result, function, self._handle, pointer, length, bits, sender), "receive_from")
        return result

    def end_send(self, result: AsyncResult[int]) -> int:
        """Waits for the end of a send, and returns how many bytes were sent: all of them."""
        return self._ended(result, _abi.ASOCK_KIND_SEND, "end_send")

    def end_receive(self, result: AsyncResult[R]) -> R:
        """Waits for the end of a receive, and returns the bytes, or of a `begin_receive_into` how many there are."""
        return self._ended(result, _abi.ASOCK_KIND_RECEIVE, "end_receive")

    def end_send_to(self, result: AsyncResult[int]) -> int:
        """Waits for the end of a `begin_send_to`, and returns how many bytes were sent: all of them."""
        return self._ended(result, _abi.ASOCK_KIND_SEND_TO, "end_send_to")

    def end_receive_from(
        self, result: AsyncResult[Tuple[R, Optional[Address]]]
    ) -> Tuple[R, Optional[Address]]:
        """Waits for a datagram, and returns its bytes (of a `begin_receive_from_into` how many there are) and its
        sender."""
        return self._ended(result, _abi.ASOCK_KIND_RECEIVE_FROM, "end_receive_from")

    def _result(
        self,
        kind: int,
        memory: Memory,
        callback: Optional[Callable[[AsyncResult[T]], object]],
        state: Any,
        what: str,
    ) -> AsyncResult[T]:
        if callback is not None and not callable(callback):
            name = type(callback).__name__
            raise TypeError(f"callback must be a function that takes the AsyncResult, or None, not {name}")
        return AsyncResult(self._engine, self._handle, kind, what, memory, callback, state)

    def _ended(self, result: AsyncResult[T], kind: int, what: str) -> T:
        if not isinstance(result, AsyncResult):
            raise TypeError(f"{what} takes the AsyncResult of a begin_ call, not {type(result).__name__}")
        if result._kind != kind:
            raise ValueError(f"{what} takes the AsyncResult of its own kind of operation, not {result!r}")
        if result._socket != self._handle:
            raise ValueError(f"{what} takes an AsyncResult of this socket; this one was begun on another")
        return result._end()


def _room(size: int, instead: str) -> bytes:
    if not isinstance(size, int) and not hasattr(size, "__index__"):
        kind = type(size).__name__
        raise TypeError(f"size must be an int, not {kind}; to receive into a buffer, use {instead}")
    return new_bytes(_check.number(size, "size", 0, _MOST))


def _descriptor(file: Any) -> int:
    if not isinstance(file, int):
        if not hasattr(file, "fileno"):
            raise TypeError(f"file must be a file object or a descriptor, not {type(file).__name__}")
        file = file.fileno()
    return _check.number(file, "file", 0, 2**31 - 1)
