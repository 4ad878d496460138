"""Statuses as exceptions: each status has the builtin class that a Python program expects, and keeps its own name."""

from __future__ import annotations

import enum
import errno
import socket
from typing import Dict, NamedTuple, Optional, Type

from . import _abi


class Status(enum.IntEnum):
    """The statuses of the library. A later library may send others; those stay plain numbers."""

    OK = _abi.ASOCK_OK
    INVALID_ARGUMENT = _abi.ASOCK_INVALID_ARGUMENT
    INVALID_STATE = _abi.ASOCK_INVALID_STATE
    BAD_HANDLE = _abi.ASOCK_BAD_HANDLE
    NOT_SUPPORTED = _abi.ASOCK_NOT_SUPPORTED
    WOULD_DEADLOCK = _abi.ASOCK_WOULD_DEADLOCK
    FORKED = _abi.ASOCK_FORKED
    OUT_OF_MEMORY = _abi.ASOCK_OUT_OF_MEMORY
    QUEUE_FULL = _abi.ASOCK_QUEUE_FULL
    TOO_MANY_SOCKETS = _abi.ASOCK_TOO_MANY_SOCKETS
    INTERNAL = _abi.ASOCK_INTERNAL
    CANCELED = _abi.ASOCK_CANCELED
    CLOSED = _abi.ASOCK_CLOSED
    STOPPED = _abi.ASOCK_STOPPED
    TIMED_OUT = _abi.ASOCK_TIMED_OUT
    HOST_NOT_FOUND = _abi.ASOCK_HOST_NOT_FOUND
    NAME_SERVER_FAILED = _abi.ASOCK_NAME_SERVER_FAILED
    CONNECTION_REFUSED = _abi.ASOCK_CONNECTION_REFUSED
    CONNECTION_RESET = _abi.ASOCK_CONNECTION_RESET
    CONNECTION_ABORTED = _abi.ASOCK_CONNECTION_ABORTED
    NETWORK_UNREACHABLE = _abi.ASOCK_NETWORK_UNREACHABLE
    HOST_UNREACHABLE = _abi.ASOCK_HOST_UNREACHABLE
    NOT_CONNECTED = _abi.ASOCK_NOT_CONNECTED
    ALREADY_CONNECTED = _abi.ASOCK_ALREADY_CONNECTED
    SHUT_DOWN = _abi.ASOCK_SHUT_DOWN
    ADDRESS_IN_USE = _abi.ASOCK_ADDRESS_IN_USE
    ADDRESS_NOT_AVAILABLE = _abi.ASOCK_ADDRESS_NOT_AVAILABLE
    ACCESS_DENIED = _abi.ASOCK_ACCESS_DENIED
    MESSAGE_TOO_LONG = _abi.ASOCK_MESSAGE_TOO_LONG
    OS_ERROR = _abi.ASOCK_OS_ERROR


class Error(OSError):
    """What every failure of the library is. `errno` is the system's number, or the one that comes nearest."""

    #: The status of the library: a `Status`, or a plain number that this package does not know.
    status: int = Status.INTERNAL
    #: Its name as the C header has it, such as "ASOCK_CONNECTION_REFUSED".
    status_name: str = "ASOCK_INTERNAL"
    #: The bytes that had been sent or received when the operation failed.
    transferred: int = 0
    #: Of a failed `begin_receive`: those bytes.
    partial: bytes = b""


class HostNotFoundError(Error, socket.gaierror):
    """No such name, or the name server gave no answer: `errno` is socket.EAI_NONAME or socket.EAI_AGAIN."""


class RefusedError(Error, ConnectionRefusedError):
    """Nobody listens at that address."""


class ResetError(Error, ConnectionResetError):
    """The peer reset the connection, or closed it while data was under way to it."""


class AbortedError(Error, ConnectionAbortedError):
    """The connection was given up on this side: by the system, or by `close` while the operation was pending."""


class ShutDownError(Error, BrokenPipeError):
    """A send after `shutdown` of the sending side."""


class TimedOutError(Error, TimeoutError):
    """A limit of time passed."""


class AccessDeniedError(Error, PermissionError):
    """The system does not permit it."""


class NoSuchPathError(Error, FileNotFoundError):
    """There is no unix socket of that path."""


class NotSupportedError(Error, NotImplementedError):
    """This version of the library, or this system, cannot do it."""


class InvalidArgumentError(Error, ValueError):
    """An argument that cannot be."""


class StateError(Error, RuntimeError):
    """Not possible now, or not on this thread."""


class QueueFullError(Error, BlockingIOError):
    """The send would pass `send_queue_limit`: try again when an earlier send has completed."""


class NoMemoryError(Error, MemoryError):
    """There was no memory; nothing was begun."""


class _Row(NamedTuple):
    kind: Type[Error]
    number: int
    advice: str = ""


_TABLE: Dict[int, _Row] = {
    Status.INVALID_ARGUMENT: _Row(InvalidArgumentError, errno.EINVAL),
    Status.INVALID_STATE: _Row(StateError, errno.EBUSY),
    Status.BAD_HANDLE: _Row(Error, errno.EBADF, "the socket or its runtime has been closed; make a new Socket"),
    Status.NOT_SUPPORTED: _Row(NotSupportedError, errno.EOPNOTSUPP),
    Status.WOULD_DEADLOCK: _Row(
        StateError,
        errno.EDEADLK,
        "this thread runs callbacks, which may not wait; give the operation a callback of its own",
    ),
    Status.FORKED: _Row(
        StateError, errno.EBADF, "it was made before fork, in the parent process; make a new Socket in this one"
    ),
    Status.OUT_OF_MEMORY: _Row(NoMemoryError, errno.ENOMEM),
    Status.QUEUE_FULL: _Row(
        QueueFullError, errno.EAGAIN, "wait until an earlier send has completed, or raise send_queue_limit"
    ),
    Status.TOO_MANY_SOCKETS: _Row(Error, errno.EMFILE, "close some sockets, or raise the limit"),
    Status.INTERNAL: _Row(Error, errno.EIO, "this is a defect of asock: please report it"),
    Status.CANCELED: _Row(Error, errno.ECANCELED),
    Status.CLOSED: _Row(AbortedError, errno.ECONNABORTED, "the socket was closed while the operation was pending"),
    Status.STOPPED: _Row(StateError, errno.ECANCELED, "its runtime was stopped; new sockets need a running one"),
    Status.TIMED_OUT: _Row(TimedOutError, errno.ETIMEDOUT),
    Status.HOST_NOT_FOUND: _Row(HostNotFoundError, socket.EAI_NONAME),
    Status.NAME_SERVER_FAILED: _Row(HostNotFoundError, socket.EAI_AGAIN, "a later try may succeed"),
    Status.CONNECTION_REFUSED: _Row(RefusedError, errno.ECONNREFUSED),
    Status.CONNECTION_RESET: _Row(ResetError, errno.ECONNRESET),
    Status.CONNECTION_ABORTED: _Row(AbortedError, errno.ECONNABORTED),
    Status.NETWORK_UNREACHABLE: _Row(Error, errno.ENETUNREACH),
    Status.HOST_UNREACHABLE: _Row(Error, errno.EHOSTUNREACH),
    Status.NOT_CONNECTED: _Row(Error, errno.ENOTCONN, "call begin_connect first"),
    Status.ALREADY_CONNECTED: _Row(Error, errno.EISCONN, "make a new Socket for another connection"),
    Status.SHUT_DOWN: _Row(ShutDownError, errno.EPIPE),
    Status.ADDRESS_IN_USE: _Row(Error, errno.EADDRINUSE),
    Status.ADDRESS_NOT_AVAILABLE: _Row(Error, errno.EADDRNOTAVAIL),
    Status.ACCESS_DENIED: _Row(AccessDeniedError, errno.EACCES),
    Status.MESSAGE_TOO_LONG: _Row(Error, errno.EMSGSIZE),
    Status.OS_ERROR: _Row(Error, errno.EIO),
}
_UNKNOWN = _Row(Error, errno.EIO)

# These two say their number in another numbering, that of getaddrinfo.
_OF_NAMES = (Status.HOST_NOT_FOUND, Status.NAME_SERVER_FAILED)


def _text(answer: Optional[bytes]) -> str:
    return (answer or b"").decode("utf-8", "replace")


def error_of(status: int, what: str, os_error: int = 0, advice: Optional[str] = None) -> Error:
    """The exception for a status; `what` says what was being done, `advice` what to do in place of the usual one."""
    row = _TABLE.get(status, _UNKNOWN)
    kind = row.kind
    number = row.number
    if os_error and status not in _OF_NAMES:
        number = os_error
        if status == Status.ADDRESS_NOT_AVAILABLE and os_error == errno.ENOENT:
            kind = NoSuchPathError
    message = f"{what}: {_text(_abi.library.asock_status_text(status))}"
    if advice is None:
        advice = row.advice
    if advice:
        message = f"{message}: {advice}"
    error = kind(number, message)
    error.status = Status(status) if status in _TABLE else status
    error.status_name = _text(_abi.library.asock_status_name(status))
    return error
