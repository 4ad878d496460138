"""What sockets are told by numbers: what they carry, and how an operation is done."""

from __future__ import annotations

import enum

from . import _abi


class SocketType(enum.IntEnum):
    """What a `Socket` carries: a stream of bytes (TCP), or datagrams (UDP). Over unix addresses there are both."""

    STREAM = _abi.ASOCK_STREAM
    DATAGRAM = _abi.ASOCK_DATAGRAM


class Shutdown(enum.IntEnum):
    """What `Socket.shutdown` ends. The numbers are those of socket.SHUT_RD, SHUT_WR and SHUT_RDWR."""

    RECEIVE = 0
    SEND = 1
    BOTH = 2


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
