"""Sockets."""

from __future__ import annotations

import os
import socket as _plain
import sys
import warnings
from ctypes import byref, c_int64, c_uint64
from types import TracebackType
from typing import Any, Callable, Optional, Type, TypeVar, Union

from . import _abi, _check
from ._address import Address, read_address, write_address
from ._engine import Engine, rest_at_exit
from ._errors import Status, error_of
from ._flags import CloseFlag, Shutdown, SocketType
from ._operation import AsyncResult
from ._runtime import Runtime, default_runtime
from ._transfer import Transfers

S = TypeVar("S", bound="Socket")

_SHUTDOWN = {
    Shutdown.RECEIVE: _abi.ASOCK_SHUTDOWN_RECEIVE,
    Shutdown.SEND: _abi.ASOCK_SHUTDOWN_SEND,
    Shutdown.BOTH: _abi.ASOCK_SHUTDOWN_BOTH,
}


class Socket(Transfers):
    """A socket that never waits: each `begin_...` returns at once, and its outcome comes later.

    `callback`, if given, is called with the `AsyncResult`, once: on the thread of the runtime, or in `Runtime.poll`. The
    callbacks of a socket never run at the same time, and run in the order in which its operations ended. `state` comes
    back as `AsyncResult.state`. The `end_...` method of the kind returns the outcome, waiting if need be, or raises the
    failure. Several sends and receives may be pending; each direction takes effect in the order begun.

    `type` is SocketType.STREAM, or SocketType.DATAGRAM. Keep a reference: a socket that nobody has any more is closed,
    with a ResourceWarning.
    """

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

    def begin_close(
        self,
        callback: Optional[Callable[[AsyncResult[None]], object]] = None,
        state: Any = None,
        *,
        flags: int = CloseFlag.DRAIN,
    ) -> AsyncResult[None]:
        """Closes the socket and tells when all is over. What is queued is sent first, unless `flags` say otherwise."""
        bits = _check.flags(flags)
        result: AsyncResult[None] = self._result(_abi.ASOCK_KIND_CLOSE, None, callback, state, "")
        self._begun(self._engine.begin(result, _abi.library.asock_begin_close, self._handle, bits), "close")
        self._open = False
        return result

    def end_connect(self, result: AsyncResult[None]) -> None:
        """Waits for the end of a connect, and raises if it failed."""
        self._ended(result, _abi.ASOCK_KIND_CONNECT, "end_connect")

    def end_accept(self, result: AsyncResult[Socket]) -> Socket:
        """Waits for a connection, and returns it; `remote_address` of it tells whose it is."""
        return self._ended(result, _abi.ASOCK_KIND_ACCEPT, "end_accept")

    def end_close(self, result: AsyncResult[None]) -> None:
        """Waits until a `begin_close` is over, and raises if it was cut short: canceled, past its limit, or stopped.
        Whether the peer's reset cut what was queued, the sends tell."""
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
