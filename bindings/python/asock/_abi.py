"""The C surface of asock, as include/asock.h has it: constants, structs, signatures, and how the library is found.

Everything keeps the spelling of the header, so that a search for a name finds it here. tests/test_abi.py compares this
module with the header, line by line; nothing else in the package knows a number or a layout.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from ctypes import (
    POINTER,
    Structure,
    c_char_p,
    c_int32,
    c_int64,
    c_size_t,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

# The version of the header that this module mirrors.
ASOCK_VERSION_MAJOR = 0
ASOCK_VERSION_MINOR = 1
ASOCK_VERSION_PATCH = 0

# Statuses.
ASOCK_OK = 0
ASOCK_INVALID_ARGUMENT = -1
ASOCK_INVALID_STATE = -2
ASOCK_BAD_HANDLE = -3
ASOCK_NOT_SUPPORTED = -4
ASOCK_WOULD_DEADLOCK = -5
ASOCK_FORKED = -6
ASOCK_OUT_OF_MEMORY = -7
ASOCK_QUEUE_FULL = -8
ASOCK_TOO_MANY_SOCKETS = -9
ASOCK_INTERNAL = -10
ASOCK_CANCELED = -20
ASOCK_CLOSED = -21
ASOCK_STOPPED = -22
ASOCK_TIMED_OUT = -23
ASOCK_HOST_NOT_FOUND = -40
ASOCK_NAME_SERVER_FAILED = -41
ASOCK_CONNECTION_REFUSED = -42
ASOCK_CONNECTION_RESET = -43
ASOCK_CONNECTION_ABORTED = -44
ASOCK_NETWORK_UNREACHABLE = -45
ASOCK_HOST_UNREACHABLE = -46
ASOCK_NOT_CONNECTED = -47
ASOCK_ALREADY_CONNECTED = -48
ASOCK_SHUT_DOWN = -49
ASOCK_ADDRESS_IN_USE = -50
ASOCK_ADDRESS_NOT_AVAILABLE = -51
ASOCK_ACCESS_DENIED = -52
ASOCK_MESSAGE_TOO_LONG = -53
ASOCK_OS_ERROR = -99

# Kinds of operations.
ASOCK_KIND_CONNECT = 1
ASOCK_KIND_SEND = 2
ASOCK_KIND_RECEIVE = 3
ASOCK_KIND_ACCEPT = 4
ASOCK_KIND_SEND_TO = 5
ASOCK_KIND_RECEIVE_FROM = 6
ASOCK_KIND_RESOLVE = 7
ASOCK_KIND_TIMER = 8
ASOCK_KIND_CLOSE = 9

# Flags of a result.
ASOCK_RESULT_TRUNCATED = 1

# Ways of delivery.
ASOCK_DELIVER_ON_WORKER = 0
ASOCK_DELIVER_ON_POLL = 1

# Backends.
ASOCK_BACKEND_AUTO = 0
ASOCK_BACKEND_EPOLL = 1
ASOCK_BACKEND_IO_URING = 2
ASOCK_BACKEND_KQUEUE = 3
ASOCK_BACKEND_IOCP = 4

# Types of sockets.
ASOCK_STREAM = 1
ASOCK_DATAGRAM = 2

# Directions of a shutdown.
ASOCK_SHUTDOWN_RECEIVE = 1
ASOCK_SHUTDOWN_SEND = 2
ASOCK_SHUTDOWN_BOTH = 3

# Flags of a close, a send, a receive.
ASOCK_CLOSE_DRAIN = 1
ASOCK_CLOSE_RESET = 2
ASOCK_SEND_COPY = 1
ASOCK_SEND_MORE = 2
ASOCK_SEND_OUT_OF_BAND = 4
ASOCK_RECEIVE_ALL = 1
ASOCK_RECEIVE_PEEK = 2
ASOCK_RECEIVE_OUT_OF_BAND = 4

# Options.
ASOCK_OPTION_NODELAY = 1
ASOCK_OPTION_KEEPALIVE = 2
ASOCK_OPTION_KEEPALIVE_IDLE_S = 3
ASOCK_OPTION_KEEPALIVE_INTERVAL_S = 4
ASOCK_OPTION_KEEPALIVE_COUNT = 5
ASOCK_OPTION_LINGER_S = 6
ASOCK_OPTION_SEND_BUFFER = 7
ASOCK_OPTION_RECEIVE_BUFFER = 8
ASOCK_OPTION_REUSE_ADDRESS = 9
ASOCK_OPTION_REUSE_PORT = 10
ASOCK_OPTION_BROADCAST = 11
ASOCK_OPTION_TTL = 12
ASOCK_OPTION_V6_ONLY = 13
ASOCK_OPTION_MULTICAST_LOOP = 14
ASOCK_OPTION_MULTICAST_TTL = 15
ASOCK_OPTION_MULTICAST_INTERFACE = 16
ASOCK_OPTION_CONNECT_TIMEOUT_MS = 64
ASOCK_OPTION_SEND_TIMEOUT_MS = 65
ASOCK_OPTION_RECEIVE_TIMEOUT_MS = 66
ASOCK_OPTION_ACCEPT_TIMEOUT_MS = 67
ASOCK_OPTION_SEND_QUEUE_LIMIT = 68
ASOCK_OPTION_SEND_QUEUED = 69

# Families of addresses.
ASOCK_FAMILY_NONE = 0
ASOCK_FAMILY_IPV4 = 1
ASOCK_FAMILY_IPV6 = 2
ASOCK_FAMILY_UNIX = 3

ASOCK_ADDRESS_TEXT_MAX = 160

# Levels of the log.
ASOCK_LOG_OFF = 0
ASOCK_LOG_ERROR = 1
ASOCK_LOG_WARN = 2
ASOCK_LOG_INFO = 3
ASOCK_LOG_DEBUG = 4
ASOCK_LOG_TRACE = 5

# Types that are plain numbers.
asock_status = c_int32
asock_runtime = c_uint64
asock_socket = c_uint64
asock_op = c_uint64

# Functions of the application. This package gives none: a function of Python called by a foreign thread costs up to
# fifty times what a record costs that is pulled with others. So they are plain pointers here, and always NULL.
asock_callback = c_void_p
asock_log_callback = c_void_p


class asock_runtime_config(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("delivery", c_uint32),
        ("backend", c_uint32),
        ("workers", c_uint32),
        ("resolvers", c_uint32),
        ("max_sockets", c_uint32),
        ("spin_us", c_uint32),
    ]


class asock_stats(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("operations_begun", c_uint64),
        ("operations_completed", c_uint64),
        ("operations_pending", c_uint64),
        ("bytes_sent", c_uint64),
        ("bytes_received", c_uint64),
        ("sockets_open", c_uint64),
        ("wake_ups", c_uint64),
        ("longest_callback_ns", c_uint64),
        ("backend", c_uint32),
        ("workers", c_uint32),
    ]


class asock_result(Structure):
    _fields_ = [
        ("op", asock_op),
        ("socket", asock_socket),
        ("value", c_uint64),
        ("bytes", c_size_t),
        ("buffer", c_void_p),
        ("user_data", c_void_p),
        ("kind", c_uint32),
        ("status", asock_status),
        ("os_error", c_int32),
        ("flags", c_uint32),
    ]


class asock_address(Structure):
    _fields_ = [
        ("storage", c_uint64 * 16),
        ("length", c_uint32),
        ("reserved", c_uint32),
    ]


class asock_buffer(Structure):
    _fields_ = [
        ("data", c_void_p),
        ("length", c_size_t),
    ]


# The same record once more for the struct module, which reads a batch of them ten times as fast as ctypes does.
RESULT_RECORD = struct.Struct("@QQQNPPIiiI")

_BEGIN: Tuple[Any, ...] = (asock_callback, c_void_p, POINTER(asock_op))

# Function: its result and its parameters. A pointer to a char or to anything that is a buffer is c_char_p or c_void_p.
SIGNATURES: Dict[str, Tuple[Any, Tuple[Any, ...]]] = {
    "asock_version": (c_uint32, ()),
    "asock_version_string": (c_char_p, ()),
    "asock_status_name": (c_char_p, (asock_status,)),
    "asock_status_text": (c_char_p, (asock_status,)),
    "asock_set_log": (asock_status, (c_uint32, asock_log_callback, c_void_p)),
    "asock_runtime_start": (asock_status, (POINTER(asock_runtime_config), POINTER(asock_runtime))),
    "asock_runtime_drain": (asock_status, (asock_runtime,)),
    "asock_runtime_stop": (asock_status, (asock_runtime,)),
    "asock_runtime_stats": (asock_status, (asock_runtime, POINTER(asock_stats))),
    "asock_poll": (asock_status, (asock_runtime, c_int32, POINTER(asock_result), c_size_t, POINTER(c_size_t))),
    "asock_dispatch": (asock_status, (asock_runtime, c_int32, c_size_t, c_uint32, POINTER(c_size_t))),
    "asock_poll_fd": (asock_status, (asock_runtime, POINTER(c_int64))),
    "asock_wake": (asock_status, (asock_runtime,)),
    "asock_open": (asock_status, (asock_runtime, c_uint32, POINTER(asock_socket))),
    "asock_adopt": (asock_status, (asock_runtime, c_int64, POINTER(asock_socket))),
    "asock_release": (asock_status, (asock_socket, POINTER(c_int64))),
    "asock_bind": (asock_status, (asock_socket, c_char_p, c_uint16)),
    "asock_listen": (asock_status, (asock_socket, c_int32)),
    "asock_shutdown": (asock_status, (asock_socket, c_uint32)),
    "asock_close": (asock_status, (asock_socket,)),
    "asock_set_option": (asock_status, (asock_socket, c_uint32, c_int64)),
    "asock_get_option": (asock_status, (asock_socket, c_uint32, POINTER(c_int64))),
    "asock_join_group": (asock_status, (asock_socket, POINTER(asock_address), c_uint32)),
    "asock_leave_group": (asock_status, (asock_socket, POINTER(asock_address), c_uint32)),
    "asock_local_address": (asock_status, (asock_socket, POINTER(asock_address))),
    "asock_remote_address": (asock_status, (asock_socket, POINTER(asock_address))),
    "asock_begin_connect": (asock_status, (asock_socket, c_char_p, c_uint16) + _BEGIN),
    "asock_begin_connect_address": (asock_status, (asock_socket, POINTER(asock_address)) + _BEGIN),
    "asock_begin_send": (asock_status, (asock_socket, c_void_p, c_size_t, c_uint32) + _BEGIN),
    "asock_begin_receive": (asock_status, (asock_socket, c_void_p, c_size_t, c_uint32) + _BEGIN),
    "asock_begin_close": (asock_status, (asock_socket, c_uint32) + _BEGIN),
    "asock_begin_send_vectored": (
        asock_status,
        (asock_socket, POINTER(asock_buffer), c_size_t, c_uint32) + _BEGIN,
    ),
    "asock_begin_receive_vectored": (
        asock_status,
        (asock_socket, POINTER(asock_buffer), c_size_t, c_uint32) + _BEGIN,
    ),
    "asock_begin_send_file": (asock_status, (asock_socket, c_int64, c_uint64, c_uint64) + _BEGIN),
    "asock_begin_accept": (asock_status, (asock_socket,) + _BEGIN),
    "asock_begin_send_to": (
        asock_status,
        (asock_socket, c_void_p, c_size_t, c_uint32, POINTER(asock_address)) + _BEGIN,
    ),
    "asock_begin_receive_from": (
        asock_status,
        (asock_socket, c_void_p, c_size_t, c_uint32, POINTER(asock_address)) + _BEGIN,
    ),
    "asock_begin_resolve": (
        asock_status,
        (asock_runtime, c_char_p, c_uint16, POINTER(asock_address), c_size_t) + _BEGIN,
    ),
    "asock_begin_timer": (asock_status, (asock_runtime, c_uint64) + _BEGIN),
    "asock_wait": (asock_status, (asock_op, c_int32)),
    "asock_end": (asock_status, (asock_op, POINTER(asock_result))),
    "asock_forget": (asock_status, (asock_op,)),
    "asock_cancel": (asock_status, (asock_op,)),
    "asock_set_deadline": (asock_status, (asock_op, c_int64)),
    "asock_address_parse": (asock_status, (c_char_p, c_uint16, POINTER(asock_address))),
    "asock_address_format": (asock_status, (POINTER(asock_address), c_char_p, c_size_t)),
    "asock_address_family": (c_uint32, (POINTER(asock_address),)),
    "asock_address_port": (c_uint16, (POINTER(asock_address),)),
}


def _file_name() -> str:
    if sys.platform == "win32":
        return "asock.dll"
    if sys.platform == "darwin":
        return "libasock.dylib"
    return "libasock.so"


def _candidates() -> Iterator[Path]:
    """Where the library may be: in the installed package, where ASOCK_LIBRARY says, or in the checkout that this file
    is part of."""
    here = Path(__file__).resolve()
    yield here.parent / _file_name()
    named = os.environ.get("ASOCK_LIBRARY")
    if named:
        yield Path(named)
        return  # Who names a library does not want another one in its place.
    checkout = here.parents[3] if len(here.parents) > 3 else here.parent
    if (checkout / "include" / "asock.h").is_file():
        for profile in ("release", "debug"):
            yield checkout / "target" / profile / _file_name()


def find_library() -> Path:
    looked_at: List[str] = []
    for path in _candidates():
        if path.is_file():
            return path
        looked_at.append(str(path))
    raise ImportError(
        "asock: the shared library was not found; looked at: {}. Install the package with `pip install "
        "./bindings/python` (which builds it), or run `cargo build --release` in the checkout, or set the environment "
        "variable ASOCK_LIBRARY to the path of {}".format(", ".join(looked_at), _file_name())
    )


def _load() -> ctypes.CDLL:
    path = find_library()
    try:
        # CDLL lets go of Python's lock during a call, and so must be used here: a stop waits for threads.
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ImportError(f"asock: {path} cannot be loaded: {error}") from error
    for name, (result, parameters) in SIGNATURES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise ImportError(f"asock: {path} has no function {name}; build the library of this version") from None
        function.restype = result
        function.argtypes = parameters
    found = int(library.asock_version())
    major, minor = found >> 16, (found >> 8) & 0xFF
    # Before 1.0 a minor version may break programs as well.
    if major != ASOCK_VERSION_MAJOR or (major == 0 and minor != ASOCK_VERSION_MINOR):
        raise ImportError(
            f"asock: {path} is version {major}.{minor}, this package needs {ASOCK_VERSION_MAJOR}."
            f"{ASOCK_VERSION_MINOR}; install both from the same checkout"
        )
    return library


library = _load()
