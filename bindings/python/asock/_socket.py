"""Sockets."""

from __future__ import annotations

import enum
import warnings
from ctypes import byref, c_int64, c_uint64, create_string_buffer
from types import TracebackType
from typing import Any, Callable, Generic, NamedTuple, Optional, SupportsFloat, Type, TypeVar, Union, overload

from . import _abi, _check
from ._buffer import Export, new_bytes
from ._engine import rest_at_exit
from ._errors import Status, error_of
from ._operation import AsyncResult
from ._runtime import Runtime, default_runtime

T = TypeVar("T")
R = TypeVar("R", bytes, int)

_MOST = 2**63 - 1


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


class Address(NamedTuple):
    """The address of a socket, as `begin_connect(*address)` takes it; str() writes it as "127.0.0.1:80"."""

    host: str
    port: int

    def __str__(self) -> str:
        if self.host.startswith("unix:"):
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _address(raw: _abi.asock_address) -> Optional[Address]:
    text = create_string_buffer(_abi.ASOCK_ADDRESS_TEXT_MAX)
    status = _abi.library.asock_address_format(byref(raw), text, len(text))
    if status != Status.OK:
        raise error_of(status, "address")
    written = text.value.decode("utf-8", "replace")
    if not written:
        return None
    if written.startswith("unix:"):
        return Address(written, 0)
    host, _, _ = written.rpartition(":")
    return Address(host.strip("[]"), int(_abi.library.asock_address_port(byref(raw))))


class _Option(Generic[T]):
    """An option of the library as a property of the socket."""

    def __init__(
        self,
        option: int,
        text: str,
        read: Callable[[int], T],
        write: Optional[Callable[[Any, str], int]],
    ) -> None:
        self._option = option
        self._read = read
        self._write = write
        self.__doc__ = text

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, socket: None, owner: type) -> _Option[T]: ...

    @overload
    def __get__(self, socket: Socket, owner: type) -> T: ...

    def __get__(self, socket: Optional[Socket], owner: type) -> Union[_Option[T], T]:
        if socket is None:
            return self
        value = c_int64()
        status = _abi.library.asock_get_option(socket._handle, self._option, byref(value))
        if status != Status.OK:
            raise error_of(status, self._name)
        return self._read(value.value)

    def __set__(self, socket: Socket, value: T) -> None:
        if self._write is None:
            raise AttributeError(f"{self._name} can only be read")
        status = _abi.library.asock_set_option(socket._handle, self._option, self._write(value, self._name))
        if status != Status.OK:
            raise error_of(status, self._name)


def _switch(value: object, name: str) -> int:
    if isinstance(value, bool) or value in (0, 1):
        return int(bool(value))
    raise TypeError(f"{name} must be True or False, not {value!r}")


def _whole(value: object, name: str) -> int:
    return _check.number(value, name, 0, 2**31 - 1)


def _bool_option(option: int, text: str) -> _Option[bool]:
    return _Option(option, text, bool, _switch)


def _int_option(option: int, text: str) -> _Option[int]:
    return _Option(option, text, int, _whole)


def _timeout_option(option: int, text: str) -> _Option[Optional[float]]:
    def write(value: Optional[SupportsFloat], name: str) -> int:
        limit = _check.seconds(value, name, positive=True)
        return 0 if limit is None else _check.milliseconds(limit)

    return _Option(option, text, lambda value: value / 1000 if value else None, write)


def _write_linger(value: object, name: str) -> int:
    return -1 if value is None else _whole(value, name)


def _write_queue_limit(value: object, name: str) -> int:
    return 0 if value is None else _check.number(value, name, 1, _MOST)


class Socket:
    """A stream socket that never waits: each `begin_...` returns at once, and its outcome comes later.

    `callback`, if given, is called with the `AsyncResult`, once: on the thread of the runtime, or in `Runtime.poll`. The
    callbacks of a socket never run at the same time, and run in the order in which its operations ended. `state` comes
    back as `AsyncResult.state`. The `end_...` method of the kind returns the outcome, waiting if need be, or raises the
    failure. Several sends and receives may be pending; each direction takes effect in the order begun.

    Keep a reference: a socket that nobody has any more is closed, with a ResourceWarning.
    """

    _handle = 0
    _open = False

    nodelay = _bool_option(_abi.ASOCK_OPTION_NODELAY, "True (the default) sends small writes at once.")
    keepalive = _bool_option(_abi.ASOCK_OPTION_KEEPALIVE, "True has the system probe an idle connection.")
    keepalive_idle = _int_option(_abi.ASOCK_OPTION_KEEPALIVE_IDLE_S, "Seconds of silence before the first probe.")
    keepalive_interval = _int_option(_abi.ASOCK_OPTION_KEEPALIVE_INTERVAL_S, "Seconds between probes.")
    keepalive_count = _int_option(_abi.ASOCK_OPTION_KEEPALIVE_COUNT, "Probes before the connection is given up.")
    linger: _Option[Optional[int]] = _Option(
        _abi.ASOCK_OPTION_LINGER_S,
        "Whole seconds that the system goes on sending after a close; 0 resets instead; None is the system's default.",
        lambda value: None if value < 0 else value,
        _write_linger,
    )
    send_buffer_size = _int_option(_abi.ASOCK_OPTION_SEND_BUFFER, "Bytes of the system's buffer; Linux doubles it.")
    receive_buffer_size = _int_option(
        _abi.ASOCK_OPTION_RECEIVE_BUFFER, "Bytes of the system's buffer; Linux doubles it."
    )
    reuse_address = _bool_option(_abi.ASOCK_OPTION_REUSE_ADDRESS, "SO_REUSEADDR.")
    reuse_port = _bool_option(_abi.ASOCK_OPTION_REUSE_PORT, "SO_REUSEPORT.")
    ttl = _int_option(_abi.ASOCK_OPTION_TTL, "Hops that a packet may make.")
    v6_only = _bool_option(_abi.ASOCK_OPTION_V6_ONLY, "True keeps an IPv6 socket from carrying IPv4.")
    connect_timeout = _timeout_option(
        _abi.ASOCK_OPTION_CONNECT_TIMEOUT_MS, "Seconds that a connect begun from now on may take; None: no limit."
    )
    send_timeout = _timeout_option(
        _abi.ASOCK_OPTION_SEND_TIMEOUT_MS,
        "Seconds that a send begun from now on may take, its time in the queue included; None: no limit.",
    )
    receive_timeout = _timeout_option(
        _abi.ASOCK_OPTION_RECEIVE_TIMEOUT_MS,
        "Seconds that a receive begun from now on may take, its time in the queue included; None: no limit.",
    )
    send_queue_limit: _Option[Optional[int]] = _Option(
        _abi.ASOCK_OPTION_SEND_QUEUE_LIMIT,
        "Bytes begun and not yet sent, past which a send is refused with BlockingIOError; None: no limit.",
        lambda value: value or None,
        _write_queue_limit,
    )
    send_queued: _Option[int] = _Option(
        _abi.ASOCK_OPTION_SEND_QUEUED, "Bytes begun and not yet sent; to read only.", int, None
    )

    def __init__(self, runtime: Optional[Runtime] = None) -> None:
        if runtime is None:
            runtime = default_runtime()
        elif not isinstance(runtime, Runtime):
            raise TypeError(f"runtime must be an asock.Runtime or None, not {type(runtime).__name__}")
        handle = c_uint64()
        engine = runtime._started
        status: int = _abi.library.asock_open(engine.handle, _abi.ASOCK_STREAM, byref(handle))
        if status != Status.OK:
            rest_at_exit()
            raise error_of(engine.cause(status), "open a socket")
        self._runtime = runtime
        self._engine = engine
        self._handle = handle.value
        self._open = True

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    @property
    def closed(self) -> bool:
        return not self._open

    @property
    def local_address(self) -> Optional[Address]:
        """The local address; None before a connect."""
        raw = _abi.asock_address()
        status = _abi.library.asock_local_address(self._handle, byref(raw))
        if status != Status.OK:
            raise error_of(status, "local_address")
        return _address(raw)

    @property
    def remote_address(self) -> Optional[Address]:
        """The address that the socket is connected to; None before that."""
        raw = _abi.asock_address()
        status = _abi.library.asock_remote_address(self._handle, byref(raw))
        if status != Status.OK:
            raise error_of(status, "remote_address")
        return _address(raw)

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

        Do not change its contents meanwhile either; with SendFlag.COPY both may be done at once.
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
        """Begins to receive at most `size` bytes; `end_receive` returns them, b"" at the end of the stream."""
        bits = _check.number(flags, "flags", 0, 2**32 - 1)
        if not isinstance(size, int) and not hasattr(size, "__index__"):
            kind = type(size).__name__
            raise TypeError(f"size must be an int, not {kind}; to receive into a buffer, use begin_receive_into")
        memory = new_bytes(_check.number(size, "size", 0, _MOST))
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
        memory: Union[None, bytes, Export],
        callback: Optional[Callable[[AsyncResult[T]], object]],
        state: Any,
        what: str,
    ) -> AsyncResult[T]:
        if callback is not None and not callable(callback):
            name = type(callback).__name__
            raise TypeError(f"callback must be a function that takes the AsyncResult, or None, not {name}")
        return AsyncResult(self._engine, self._handle, kind, what, memory, callback, state)

    def _begun(self, status: int, what: str) -> None:
        if status != Status.OK:
            raise error_of(self._engine.cause(status) if self._open else status, what)

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
