"""Sockets."""

from __future__ import annotations

import enum
import os
import socket as _plain
import sys
import warnings
from ctypes import byref, c_int64, c_uint64
from types import TracebackType
from typing import Any, Callable, Iterable, Optional, Tuple, Type, TypeVar, Union

from . import _abi, _check
from ._address import Address, read_address, write_address
from ._buffer import Datagram, Export, Exports, new_bytes
from ._engine import Engine, rest_at_exit
from ._errors import Status, error_of
from ._operation import AsyncResult, Memory
from ._option import Options
from ._runtime import Runtime, default_runtime

T = TypeVar("T")
R = TypeVar("R", bytes, int)
S = TypeVar("S", bound="Socket")

_MOST = 2**63 - 1


class SocketType(enum.IntEnum):
    """What a `Socket` carries: a stream of bytes (TCP), or datagrams (UDP). Over unix addresses there are both."""

    STREAM = _abi.ASOCK_STREAM
    DATAGRAM = _abi.ASOCK_DATAGRAM


class Shutdown(enum.IntEnum):
    """What `Socket.shutdown` ends. The numbers are those of socket.SHUT_RD, SHUT_WR and SHUT_RDWR."""

    RECEIVE = 0
    SEND = 1
    BOTH = 2


_SHUTDOWN = {
    Shutdown.RECEIVE: _abi.ASOCK_SHUTDOWN_RECEIVE,
    Shutdown.SEND: _abi.ASOCK_SHUTDOWN_SEND,
    Shutdown.BOTH: _abi.ASOCK_SHUTDOWN_BOTH,
}


class SendFlag(enum.IntFlag):
    """COPY: the data is copied at once and may be changed. MORE: more follows at once. OUT_OF_BAND: urgent data."""

    NONE = 0
    COPY = _abi.ASOCK_SEND_COPY
    MORE = _abi.ASOCK_SEND_MORE
    OUT_OF_BAND = _abi.ASOCK_SEND_OUT_OF_BAND


class ReceiveFlag(enum.IntFlag):
    """ALL: until the buffer is full or the stream ends. PEEK: the bytes stay in the stream. OUT_OF_BAND: urgent data."""

    NONE = 0
    ALL = _abi.ASOCK_RECEIVE_ALL
    PEEK = _abi.ASOCK_RECEIVE_PEEK
    OUT_OF_BAND = _abi.ASOCK_RECEIVE_OUT_OF_BAND


class CloseFlag(enum.IntFlag):
    """DRAIN: what is queued is sent first. RESET: the connection is reset."""

    NONE = 0
    DRAIN = _abi.ASOCK_CLOSE_DRAIN
    RESET = _abi.ASOCK_CLOSE_RESET


class Socket(Options):
    """A socket that never waits: each `begin_...` returns at once, and its outcome comes later.

    `callback`, if given, is called with the `AsyncResult`, once: on the thread of the runtime, or in `Runtime.poll`. The
    callbacks of a socket never run at the same time, and run in the order in which its operations ended. `state` comes
    back as `AsyncResult.state`. The `end_...` method of the kind returns the outcome, waiting if need be, or raises the
    failure. Several sends and receives may be pending; each direction takes effect in the order begun.

    `type` is SocketType.STREAM, or SocketType.DATAGRAM. Keep a reference: a socket that nobody has any more is closed,
    with a ResourceWarning.
    """

    _open = False

    def __init__(self, runtime: Optional[Runtime] = None, *, type: int = SocketType.STREAM) -> None:
        try:
            number = SocketType(type)
        except ValueError:
            raise ValueError(f"type must be one of asock.SocketType, not {type!r}") from None
        runtime = _runtime_or_default(runtime)
        engine = runtime._started
        handle = c_uint64()
        self._opened(runtime, engine, _abi.library.asock_open(engine.handle, number, byref(handle)), "open a socket")
        self._handle = handle.value
        self._open = True

    def _opened(self, runtime: Runtime, engine: Engine, status: int, what: str, advice: Optional[str] = None) -> None:
        if status != Status.OK:
            rest_at_exit()
            raise error_of(engine.cause(status), what, advice=advice)
        self._runtime = runtime
        self._engine = engine

    @classmethod
    def adopt(cls: Type[S], plain: Union[_plain.socket, int], runtime: Optional[Runtime] = None) -> S:
        """Makes a socket of a `socket.socket` or a descriptor: TCP, UDP or unix; fresh, bound, listening or connected.

        It takes over: the plain socket is detached as by `socket.detach`. If it raises, the plain socket is as it was.
        Time-outs of the plain socket do not come along.
        """
        tls = sys.modules.get("ssl")
        if tls is not None and isinstance(plain, tls.SSLSocket):
            raise TypeError("adopt takes a plain socket: a TLS connection is more than its descriptor")
        if isinstance(plain, _plain.socket):
            number = plain.fileno()
        elif isinstance(plain, int):
            number = _check.number(plain, "descriptor", 0, 2**63 - 1)
        else:
            raise TypeError(f"adopt takes a socket.socket or a descriptor, not {type(plain).__name__}")
        runtime = _runtime_or_default(runtime)
        engine = runtime._started
        made = cls.__new__(cls)
        handle = c_uint64()
        status: int = _abi.library.asock_adopt(engine.handle, number, byref(handle))
        if status == Status.OK and isinstance(plain, _plain.socket):
            plain.detach()
        advice = "it takes an open TCP, UDP or unix socket" if status == Status.INVALID_ARGUMENT else None
        made._opened(runtime, engine, status, "adopt", advice)
        made._handle = handle.value
        made._open = True
        return made

    def release(self) -> _plain.socket:
        """Gives the socket back to the standard library: a blocking `socket.socket` with the same connection, options
        and descriptor (`.detach()` gives that alone). This socket is then closed.

        While an operation is pending, and before there is a descriptor, it raises a RuntimeError and nothing changes.
        """
        number = c_int64()
        status: int = _abi.library.asock_release(self._handle, byref(number))
        advice = None
        if status == Status.INVALID_STATE:
            advice = "wait for what is pending; a socket has no descriptor before it is bound, connected or has sent"
        self._begun(status, "release", advice)
        self._open = False
        try:
            plain = _plain.socket(fileno=number.value)
        except BaseException:
            os.close(number.value)
            raise
        # The descriptor does not wait, so that the library could use it; the standard library's do, unless told.
        plain.settimeout(_plain.getdefaulttimeout())
        return plain

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    @property
    def closed(self) -> bool:
        return not self._open

    @property
    def local_address(self) -> Optional[Address]:
        """The local address; None before a bind or a connect."""
        raw = _abi.asock_address()
        self._begun(_abi.library.asock_local_address(self._handle, byref(raw)), "local_address")
        address = read_address(raw)
        if address is None:
            rest_at_exit()  # It had one a moment ago: its descriptor goes before its handle.
        return address

    @property
    def remote_address(self) -> Optional[Address]:
        """The address that the socket is connected to; None before that."""
        raw = _abi.asock_address()
        self._begun(_abi.library.asock_remote_address(self._handle, byref(raw)), "remote_address")
        return read_address(raw)

    def bind(self, host: Optional[str] = None, port: int = 0) -> None:
        """Gives the socket its local address: a literal address, "unix:PATH" or "unix:@NAME" (which need no port), or
        None for any, of both families. Port 0 lets the system choose one, which `local_address` then tells.

        "unix:PATH" makes a file, which the close removes; one that is there already is an error.
        """
        if host is None:
            name, number = None, _check.number(port, "port", 0, 65535)
        elif host == "":
            raise ValueError("host is empty; give a literal address, 'unix:PATH', or None for any address")
        else:
            name, number = _check.host_and_port(host, port, 0)
        status: int = _abi.library.asock_bind(self._handle, name, number)
        advice = None
        if status == Status.INVALID_ARGUMENT:
            advice = "give a literal IPv4 or IPv6 address, 'unix:PATH', or None for any"
        self._begun(status, f"bind to {'any address' if host is None else Address(host, number)}", advice)

    def listen(self, backlog: Optional[int] = None) -> None:
        """Lets a bound stream socket accept connections, of which `backlog` may wait; None: as many as the system
        allows."""
        most = 0 if backlog is None else _check.number(backlog, "backlog", 1, 2**31 - 1)
        status: int = _abi.library.asock_listen(self._handle, most)
        self._begun(status, "listen", "bind it first" if status == Status.INVALID_STATE else None)

    def join_group(self, group: str, interface: int = 0) -> None:
        """Has a bound datagram socket receive what is sent to a multicast group, an IPv4 or IPv6 address.

        `interface` is an index, from `socket.if_nametoindex`; 0 lets the system choose.
        """
        self._group(_abi.library.asock_join_group, group, interface, "join_group")

    def leave_group(self, group: str, interface: int = 0) -> None:
        """Ends what `join_group` with the same arguments has begun."""
        self._group(_abi.library.asock_leave_group, group, interface, "leave_group")

    def _group(self, function: Callable[..., int], group: str, interface: int, what: str) -> None:
        index = _check.number(interface, "interface", 0, 2**32 - 1)
        address = write_address((group, 1), what)  # The port of a group does not matter, but an address has one.
        self._begun(function(self._handle, byref(address), index), f"{what} {group}")

    def begin_accept(
        self,
        callback: Optional[Callable[[AsyncResult[Socket]], object]] = None,
        state: Any = None,
    ) -> AsyncResult[Socket]:
        """Begins to accept a connection on a listening socket; `end_accept` returns it, a `Socket` of this runtime.

        Several may be pending; connections go to them in the order begun.
        """
        result: AsyncResult[Socket] = self._result(
            _abi.ASOCK_KIND_ACCEPT, _Accepting(self._runtime, self._engine), callback, state, ""
        )
        self._begun(self._engine.begin(result, _abi.library.asock_begin_accept, self._handle), "accept")
        return result

    def begin_connect(
        self,
        host: str,
        port: int = 0,
        callback: Optional[Callable[[AsyncResult[None]], object]] = None,
        state: Any = None,
    ) -> AsyncResult[None]:
        """Begins to connect to a name, an IPv4 or IPv6 address, or "unix:PATH" (which needs no port)."""
        name, number = _check.host_and_port(host, port)
        what = f"connect to {Address(host, number)}"
        result = self._result(_abi.ASOCK_KIND_CONNECT, None, callback, state, what)
        self._begun(self._engine.begin(result, _abi.library.asock_begin_connect, self._handle, name, number), what)
        return result

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
        bits = _check.number(flags, "flags", 0, 2**32 - 1)
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
        bits = _check.number(flags, "flags", 0, 2**32 - 1)
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
        bits = _check.number(flags, "flags", 0, 2**32 - 1)
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
        bits = _check.number(flags, "flags", 0, 2**32 - 1)
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
        bits = _check.number(flags, "flags", 0, 2**32 - 1)
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
        bits = _check.number(flags, "flags", 0, 2**32 - 1)
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
        bits = _check.number(flags, "flags", 0, 2**32 - 1)
        datagram = Datagram(memory)
        result: AsyncResult[T] = self._result(_abi.ASOCK_KIND_RECEIVE_FROM, datagram, callback, state, "")
        function = _abi.library.asock_begin_receive_from
        sender = byref(datagram.sender)
        self._begun(self._engine.begin(result, function, self._handle, pointer, length, bits, sender), "receive_from")
        return result

    def begin_close(
        self,
        callback: Optional[Callable[[AsyncResult[None]], object]] = None,
        state: Any = None,
        *,
        flags: int = CloseFlag.DRAIN,
    ) -> AsyncResult[None]:
        """Closes the socket and tells when all is over. What is queued is sent first, unless `flags` say otherwise."""
        bits = _check.number(flags, "flags", 0, 2**32 - 1)
        result: AsyncResult[None] = self._result(_abi.ASOCK_KIND_CLOSE, None, callback, state, "")
        self._begun(self._engine.begin(result, _abi.library.asock_begin_close, self._handle, bits), "close")
        self._open = False
        return result

    def end_connect(self, result: AsyncResult[None]) -> None:
        """Waits for the end of a connect, and raises if it failed."""
        self._ended(result, _abi.ASOCK_KIND_CONNECT, "end_connect")

    def end_send(self, result: AsyncResult[int]) -> int:
        """Waits for the end of a send, and returns how many bytes were sent: all of them."""
        return self._ended(result, _abi.ASOCK_KIND_SEND, "end_send")

    def end_receive(self, result: AsyncResult[R]) -> R:
        """Waits for the end of a receive, and returns the bytes, or of a `begin_receive_into` how many there are."""
        return self._ended(result, _abi.ASOCK_KIND_RECEIVE, "end_receive")

    def end_accept(self, result: AsyncResult[Socket]) -> Socket:
        """Waits for a connection, and returns it; `remote_address` of it tells whose it is."""
        return self._ended(result, _abi.ASOCK_KIND_ACCEPT, "end_accept")

    def end_send_to(self, result: AsyncResult[int]) -> int:
        """Waits for the end of a `begin_send_to`, and returns how many bytes were sent: all of them."""
        return self._ended(result, _abi.ASOCK_KIND_SEND_TO, "end_send_to")

    def end_receive_from(
        self, result: AsyncResult[Tuple[R, Optional[Address]]]
    ) -> Tuple[R, Optional[Address]]:
        """Waits for a datagram, and returns its bytes (of a `begin_receive_from_into` how many there are) and its
        sender."""
        return self._ended(result, _abi.ASOCK_KIND_RECEIVE_FROM, "end_receive_from")

    def end_close(self, result: AsyncResult[None]) -> None:
        """Waits until a `begin_close` is over, and raises if it could not send what was queued."""
        self._ended(result, _abi.ASOCK_KIND_CLOSE, "end_close")

    def shutdown(self, how: int = Shutdown.BOTH) -> None:
        """Ends a direction of the connection: `Shutdown.SEND` after the sends that were begun, and so on."""
        try:
            direction = _SHUTDOWN[Shutdown(how)]
        except ValueError:
            raise ValueError(f"how must be one of asock.Shutdown, not {how!r}") from None
        self._begun(_abi.library.asock_shutdown(self._handle, direction), "shutdown")

    def close(self) -> None:
        """Closes the socket at once. What is pending ends with status CLOSED; what is queued is dropped: to send it
        first, wait for the sends or use `begin_close`. Closing again does nothing."""
        if self._open:
            self._open = False
            # Whatever it answers, it is closed: by another thread, with its runtime, or with the parent process.
            _abi.library.asock_close(self._handle)

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

    def _begun(self, status: int, what: str, advice: Optional[str] = None) -> None:
        if status != Status.OK:
            rest_at_exit()
            raise error_of(self._engine.cause(status) if self._open else status, what, advice=advice)

    def _ended(self, result: AsyncResult[T], kind: int, what: str) -> T:
        if not isinstance(result, AsyncResult):
            raise TypeError(f"{what} takes the AsyncResult of a begin_ call, not {type(result).__name__}")
        if result._kind != kind:
            raise ValueError(f"{what} takes the AsyncResult of its own kind of operation, not {result!r}")
        if result._socket != self._handle:
            raise ValueError(f"{what} takes an AsyncResult of this socket; this one was begun on another")
        return result._end()

    def __enter__(self) -> Socket:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if self._open:
            if not self._engine.forked:
                _warn(f"unclosed {self!r}", ResourceWarning, source=self)
            self.close()

    def __repr__(self) -> str:
        return f"<asock.Socket {self._handle:#x}: {'open' if self._open else 'closed'}>"

    def __reduce__(self) -> Any:
        raise TypeError("an asock.Socket cannot be pickled: it belongs to this process; connect one in the other process")


class _Accepting:
    """A socket for the connection that an accept is waiting for. It is made before, so that nothing is made twice, and
    a connection that nobody takes is closed like any socket that nobody has."""

    __slots__ = ("_socket",)

    def __init__(self, runtime: Runtime, engine: Engine) -> None:
        self._socket = Socket.__new__(Socket)
        self._socket._runtime = runtime
        self._socket._engine = engine

    def finish(self, _: int, value: int) -> Socket:
        self._socket._handle = value
        self._socket._open = value != 0
        return self._socket


def _runtime_or_default(runtime: Optional[Runtime]) -> Runtime:
    if runtime is None:
        return default_runtime()
    if not isinstance(runtime, Runtime):
        raise TypeError(f"runtime must be an asock.Runtime or None, not {type(runtime).__name__}")
    return runtime


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
