"""Asynchronous sockets: begin an operation, go on, get one completion.

    import asock

    with asock.Socket() as client:
        client.end_connect(client.begin_connect("127.0.0.1", 11000))
        client.begin_send(b"This is a test<EOF>")
        reply = client.begin_receive(256)
        # ... do something else ...
        print(client.end_receive(reply))

Failures are exceptions of the builtin classes (ConnectionRefusedError, TimeoutError, socket.gaierror, ...) that are also
`asock.Error`, with `errno` and with the library's own `status` and `status_name`.
"""

from ._abi import library as _library
from ._address import Address
from ._errors import Error, Status
from ._flags import CloseFlag, ReceiveFlag, SendFlag, Shutdown, SocketType
from ._operation import AsyncResult
from ._runtime import Backend, Runtime, Stats, default_runtime
from ._socket import Socket

#: The version of the library that was loaded.
__version__: str = _library.asock_version_string().decode("ascii")

__all__ = [
    "Address",
    "AsyncResult",
    "Backend",
    "CloseFlag",
    "Error",
    "ReceiveFlag",
    "Runtime",
    "SendFlag",
    "Shutdown",
    "Socket",
    "SocketType",
    "Stats",
    "Status",
    "default_runtime",
]
