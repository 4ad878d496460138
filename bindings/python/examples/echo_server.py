"""A server that sends back what it receives, to any number of connections at once, by callbacks alone.

Usage: echo_server.py HOST PORT

PORT 0 lets the system choose one; the first line tells which. Ctrl-C ends it.
"""

from __future__ import annotations

import sys
import threading

import asock


class Connection:
    """One client. The operation that is pending holds it by its callback, so nobody has to keep a list."""

    def __init__(self, socket: asock.Socket) -> None:
        self.socket = socket
        self.receive()

    def receive(self) -> None:
        try:
            self.socket.begin_receive(65536, self.on_receive)
        except OSError:
            self.socket.close()  # The server ends.

    def on_receive(self, result: asock.AsyncResult[bytes]) -> None:
        try:
            data = self.socket.end_receive(result)
            if data:
                self.socket.begin_send(data, self.on_send)
                return
        except OSError:
            pass  # The client is gone, or the server ends.
        self.socket.close()

    def on_send(self, result: asock.AsyncResult[int]) -> None:
        # The next receive comes after the send: a client that reads slowly is read from slowly.
        try:
            self.socket.end_send(result)
        except OSError:
            self.socket.close()
        else:
            self.receive()


class Server:
    def __init__(self, runtime: asock.Runtime, host: str, port: int) -> None:
        self.listener = asock.Socket(runtime)
        self.listener.reuse_address = True
        self.listener.bind(host, port)
        self.listener.listen()
        self.accept()

    def accept(self) -> None:
        self.listener.begin_accept(self.on_accept)

    def on_accept(self, result: asock.AsyncResult[asock.Socket]) -> None:
        try:
            Connection(self.listener.end_accept(result))
        except OSError as error:
            if self.listener.closed:
                return
            print(f"no connection: {error}", file=sys.stderr)
        if not self.listener.closed:
            self.accept()


def main(host: str, port: int) -> None:
    with asock.Runtime() as runtime:
        server = Server(runtime, host, port)
        print(f"Listening on {server.listener.local_address}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        server.listener.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]))
