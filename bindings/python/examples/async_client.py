"""The asynchronous client sample of .NET's Socket once more: connect, send, receive until the end, by callbacks.

Usage: async_client.py HOST PORT

.NET keeps the socket and the text so far in a StateObject that goes from callback to callback; so does this. Where the
sample blocks its main thread on a ManualResetEvent, this uses threading.Event.
"""

from __future__ import annotations

import sys
import threading

import asock


class StateObject:
    """What one connection needs from callback to callback."""

    def __init__(self, work_socket: asock.Socket) -> None:
        self.work_socket = work_socket
        self.text = bytearray()


connect_done = threading.Event()
send_done = threading.Event()
receive_done = threading.Event()


def connect_callback(result: asock.AsyncResult[None]) -> None:
    client: asock.Socket = result.state.work_socket
    try:
        client.end_connect(result)
        print(f"Socket connected to {client.remote_address}")
    except OSError as error:
        print(error)
    connect_done.set()


def send_callback(result: asock.AsyncResult[int]) -> None:
    client: asock.Socket = result.state.work_socket
    try:
        print(f"Sent {client.end_send(result)} bytes to server.")
    except OSError as error:
        print(error)
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
        print(error)
    receive_done.set()


def start_client(host: str, port: int) -> None:
    with asock.Socket() as client:
        state = StateObject(client)

        client.begin_connect(host, port, connect_callback, state)
        connect_done.wait()

        client.begin_send(b"This is a test<EOF>", send_callback, state)
        send_done.wait()

        client.begin_receive(256, receive_callback, state)
        client.shutdown(asock.Shutdown.SEND)  # The sample's server closes after <EOF>; other servers at the end.
        receive_done.wait()

        print(f"Response received : {state.text.decode()}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    start_client(sys.argv[1], int(sys.argv[2]))
