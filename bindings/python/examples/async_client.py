"""The asynchronous client sample of .NET's Socket once more: connect, send, receive until the end, by callbacks.

Usage: async_client.py HOST PORT

The first step that fails ends it, with what went wrong.

.NET keeps the socket and the text so far in a StateObject that goes from callback to callback; so does this. Where the
sample blocks its main thread on a ManualResetEvent, this uses threading.Event.
"""

from __future__ import annotations

import sys
import threading
from typing import Optional

import asock


class StateObject:
    """What one connection needs from callback to callback."""

    def __init__(self, work_socket: asock.Socket) -> None:
        self.work_socket = work_socket
        self.text = bytearray()
        self.error: Optional[OSError] = None


connect_done = threading.Event()
send_done = threading.Event()
receive_done = threading.Event()


def connect_callback(result: asock.AsyncResult[None]) -> None:
    state: StateObject = result.state
    try:
        state.work_socket.end_connect(result)
        print(f"Socket connected to {state.work_socket.remote_address}")
    except OSError as error:
        state.error = error
    connect_done.set()


def send_callback(result: asock.AsyncResult[int]) -> None:
    state: StateObject = result.state
    try:
        print(f"Sent {state.work_socket.end_send(result)} bytes to server.")
    except OSError as error:
        state.error = error
    send_done.set()


def receive_callback(result: asock.AsyncResult[bytes]) -> None:
    state: StateObject = result.state
    try:
        data = state.work_socket.end_receive(result)
        if data:
            # There might be more, so store what came and get the rest.
            state.text += data
            state.work_socket.begin_receive(256, receive_callback, state)
            return
    except OSError as error:
        state.error = error
    receive_done.set()


def wait_for(done: threading.Event, state: StateObject) -> None:
    done.wait()
    if state.error is not None:
        sys.exit(str(state.error))


def start_client(host: str, port: int) -> None:
    with asock.Socket() as client:
        state = StateObject(client)

        client.begin_connect(host, port, connect_callback, state)
        wait_for(connect_done, state)

        client.begin_send(b"This is a test<EOF>", send_callback, state)
        wait_for(send_done, state)

        client.begin_receive(256, receive_callback, state)
        client.shutdown(asock.Shutdown.SEND)  # The sample's server closes after <EOF>; other servers at the end.
        wait_for(receive_done, state)

        print(f"Response received : {state.text.decode()}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    start_client(sys.argv[1], int(sys.argv[2]))
