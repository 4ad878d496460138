"""Options of sockets, as properties."""

from __future__ import annotations

from ctypes import byref, c_int64
from typing import Any, Callable, Generic, Optional, SupportsFloat, TypeVar, Union, overload

from . import _abi, _check
from ._engine import Engine, rest_at_exit
from ._errors import Status, error_of

T = TypeVar("T")

_MOST = 2**63 - 1


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
    def __get__(self, socket: Options, owner: type) -> T: ...

    def __get__(self, socket: Optional[Options], owner: type) -> Union[_Option[T], T]:
        if socket is None:
            return self
        value = c_int64()
        status = _abi.library.asock_get_option(socket._handle, self._option, byref(value))
        socket._begun(status, self._name)
        return self._read(value.value)

    def __set__(self, socket: Options, value: T) -> None:
        if self._write is None:
            raise AttributeError(f"{self._name} can only be read")
        status = _abi.library.asock_set_option(socket._handle, self._option, self._write(value, self._name))
        socket._begun(status, self._name)


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


class Options:
    """What a socket has besides its operations. Those of the system may be set before there is a connection."""

    _handle = 0
    _open = False
    _engine: Engine

    def _begun(self, status: int, what: str, advice: Optional[str] = None) -> None:
        if status != Status.OK:
            rest_at_exit()
            raise error_of(self._engine.cause(status) if self._open else status, what, advice=advice)

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
    reuse_address = _bool_option(
        _abi.ASOCK_OPTION_REUSE_ADDRESS, "True, before `bind`, takes an address that old connections still use."
    )
    reuse_port = _bool_option(
        _abi.ASOCK_OPTION_REUSE_PORT, "True, before `bind`, lets several sockets share a local address."
    )
    ttl = _int_option(_abi.ASOCK_OPTION_TTL, "Hops that a packet may make.")
    v6_only = _bool_option(
        _abi.ASOCK_OPTION_V6_ONLY, "True, before `bind`, keeps an IPv6 socket from carrying IPv4."
    )
    broadcast = _bool_option(_abi.ASOCK_OPTION_BROADCAST, "True permits datagrams to broadcast addresses.")
    multicast_loop = _bool_option(
        _abi.ASOCK_OPTION_MULTICAST_LOOP,
        "False keeps what is sent to a group from the receivers on this machine. True by default.",
    )
    multicast_ttl = _int_option(
        _abi.ASOCK_OPTION_MULTICAST_TTL, "Hops that a datagram to a group may make: 1 by default, 0 for this machine."
    )
    multicast_interface = _int_option(
        _abi.ASOCK_OPTION_MULTICAST_INTERFACE,
        "The index (`socket.if_nametoindex`) of the interface for datagrams to groups; 0, the default: any.",
    )
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
    accept_timeout = _timeout_option(
        _abi.ASOCK_OPTION_ACCEPT_TIMEOUT_MS, "Seconds that an accept begun from now on may take; None: no limit."
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
