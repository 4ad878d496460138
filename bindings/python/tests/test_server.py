"""Listening and accepting, unix addresses, sockets that come from the standard library and go back to it."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import random
import socket
import ssl
import tempfile
import threading
import unittest
import warnings
from pathlib import Path
from typing import List, Optional, Tuple
from unittest import mock

import asock
from asock import Status

from .support import LIMIT, WAYS, Refusal, assert_refused, echo, eventually, outcome, runtime_for, serving


def listening(runtime: Optional[asock.Runtime] = None, host: str = "127.0.0.1") -> asock.Socket:
    listener = asock.Socket(runtime)
    listener.bind(host)
    listener.listen()
    return listener


def port_of(listener: asock.Socket) -> int:
    assert listener.local_address is not None
    return listener.local_address.port


def dialed(listener: asock.Socket) -> socket.socket:
    """A plain connection to a listener."""
    return socket.create_connection(("127.0.0.1", port_of(listener)))


def pair(runtime: Optional[asock.Runtime] = None) -> Tuple[asock.Socket, socket.socket]:
    """An accepted socket, and its plain peer."""
    with listening(runtime) as listener:
        accept = listener.begin_accept()
        plain = dialed(listener)
        return listener.end_accept(accept), plain


def received(plain: socket.socket) -> bytes:
    """All up to the end."""
    pieces: List[bytes] = []
    while True:
        piece = plain.recv(1 << 16)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


class Accepts(unittest.TestCase):
    def test_in_every_way(self) -> None:
        for way in WAYS:
            with self.subTest(way=way), runtime_for(way) as runtime, listening(runtime) as listener:
                plain: List[socket.socket] = []
                accepted = outcome(
                    way, runtime, listener.begin_accept, listener.end_accept, lambda: plain.append(dialed(listener))
                )
                with accepted, plain[0] as peer:
                    self.assertIs(type(accepted), asock.Socket)
                    self.assertIs(accepted.runtime, runtime)
                    self.assertEqual(accepted.remote_address, peer.getsockname())
                    self.assertEqual(accepted.local_address, peer.getpeername())
                    self.assertTrue(accepted.nodelay)
                    accepted.begin_send(b"welcome")
                    self.assertEqual(peer.recv(7, socket.MSG_WAITALL), b"welcome")
                    peer.sendall(b"thanks")
                    receive = accepted.begin_receive(6, flags=asock.ReceiveFlag.ALL)
                    self.assertEqual(accepted.end_receive(receive), b"thanks")

    def test_asking_again_gives_the_same_socket(self) -> None:
        with listening() as listener:
            accept = listener.begin_accept(state="mine")
            self.assertFalse(accept.is_completed)
            self.assertIn("accept: pending", repr(accept))
            with dialed(listener):
                accepted = listener.end_accept(accept)
                self.assertIs(listener.end_accept(accept), accepted)
                self.assertEqual((accept.state, accepted.closed), ("mine", False))
                accepted.close()

    def test_several_pending_in_the_order_begun(self) -> None:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(listening())
            accepts = [listener.begin_accept() for _ in range(5)]
            for accept in accepts:
                plain = stack.enter_context(dialed(listener))
                accepted = stack.enter_context(listener.end_accept(accept))
                self.assertEqual(accepted.remote_address, plain.getsockname())

    def test_closing_and_stopping_with_accepts_pending(self) -> None:
        for threaded in (True, False):
            for ending, kind, status in (
                ("close", ConnectionAbortedError, Status.CLOSED),
                ("cancel", OSError, Status.CANCELED),
                ("stop", RuntimeError, Status.STOPPED),
            ):
                with self.subTest(threaded=threaded, ending=ending):
                    runtime = asock.Runtime(threaded=threaded)
                    listener = listening(runtime)
                    ended: List[object] = []
                    accepts = [listener.begin_accept(ended.append) for _ in range(20)]
                    if ending == "close":
                        listener.close()
                    elif ending == "cancel":
                        for accept in accepts:
                            accept.cancel()
                    else:
                        runtime.stop()
                    for accept in accepts:
                        self.assertTrue(accept.wait(LIMIT))
                        with self.assertRaises(kind) as caught:
                            listener.end_accept(accept)
                        assert isinstance(caught.exception, asock.Error)
                        self.assertEqual(caught.exception.status, status)
                    runtime.stop()
                    self.assertEqual(len(ended), 20)
                    listener.close()

    def test_a_time_out(self) -> None:
        with listening() as listener:
            listener.accept_timeout = 0.02
            self.assertEqual(listener.accept_timeout, 0.02)
            accept = listener.begin_accept()
            with self.assertRaises(TimeoutError):
                listener.end_accept(accept)

    def test_a_connection_that_nobody_takes_is_closed(self) -> None:
        with listening() as listener:
            accept: Optional[asock.AsyncResult[asock.Socket]] = listener.begin_accept()
            with dialed(listener) as plain:
                assert accept is not None and accept.wait(LIMIT)
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    accept = None
                    gc.collect()
                self.assertEqual([warning.category for warning in caught], [ResourceWarning])
                self.assertEqual(plain.recv(1), b"")

    def test_what_is_refused(self) -> None:
        with asock.Socket() as client, listening() as listener:
            accept = client.begin_accept()
            cases: List[Refusal] = [
                (client.listen, RuntimeError, Status.INVALID_STATE),
                (lambda: client.end_accept(accept), RuntimeError, Status.INVALID_STATE),
                (lambda: client.bind("localhost", 1), ValueError, Status.INVALID_ARGUMENT),
                (lambda: client.bind("", 1), ValueError, None),
                (lambda: client.bind("127.0.0.1", 65536), ValueError, None),
                (lambda: client.bind(("127.0.0.1", 1)), TypeError, None),  # type: ignore[arg-type]
                (lambda: client.bind("192.0.2.1"), OSError, Status.ADDRESS_NOT_AVAILABLE),
                (lambda: client.bind(*listener.local_address), OSError, Status.ADDRESS_IN_USE),  # type: ignore[misc]
                (lambda: listener.bind("127.0.0.1"), RuntimeError, Status.INVALID_STATE),
                (lambda: listener.listen(0), ValueError, None),
                (lambda: listener.end_accept(accept), ValueError, None),
                (lambda: listener.end_send(accept), ValueError, None),  # type: ignore[arg-type]
                (lambda: listener.begin_accept(1), TypeError, None),  # type: ignore[arg-type]
                (lambda: asock.Socket(type=7), ValueError, None),
            ]
            assert_refused(self, cases)

    def test_any_address_of_both_families(self) -> None:
        listener = asock.Socket()
        with listener:
            listener.bind()
            listener.listen(5)
            accept = listener.begin_accept()
            with dialed(listener) as plain, listener.end_accept(accept) as accepted:
                address = accepted.remote_address
                assert address is not None
                self.assertEqual(address.port, plain.getsockname()[1])
                self.assertIn(address.host, ("127.0.0.1", "::ffff:127.0.0.1"))

    def test_reuse(self) -> None:
        with contextlib.ExitStack() as stack:
            listeners = []
            port = 0
            for _ in range(2):
                listener = stack.enter_context(asock.Socket())
                listener.reuse_port = True
                listener.bind("127.0.0.1", port)
                listener.listen()
                listeners.append(listener)
                port = port_of(listener)
            self.assertEqual(port_of(listeners[0]), port)


class Servers(unittest.TestCase):
    def test_an_echo_server_serves_plain_clients(self) -> None:
        """By callbacks, on a thread or polled: 40 clients at once, each with data of its own."""
        for threaded in (True, False):
            with self.subTest(threaded=threaded), asock.Runtime(threaded=threaded) as runtime:
                served: List[asock.Socket] = []

                def on_accept(result: asock.AsyncResult[asock.Socket]) -> None:
                    try:
                        connection = listener.end_accept(result)
                    except ConnectionAbortedError:
                        return
                    served.append(connection)
                    connection.begin_receive(4096, on_receive, connection)
                    listener.begin_accept(on_accept)

                def on_receive(result: asock.AsyncResult[bytes]) -> None:
                    connection: asock.Socket = result.state
                    data = connection.end_receive(result)
                    if data:
                        connection.begin_send(data)
                        connection.begin_receive(4096, on_receive, connection)
                    else:
                        connection.begin_close()

                answers: List[bool] = []

                def send(plain: socket.socket, data: bytes) -> None:
                    plain.sendall(data)
                    plain.shutdown(socket.SHUT_WR)

                def talk(number: int) -> None:
                    data = random.Random(number).randbytes(100_000)
                    with dialed(listener) as plain:
                        sender = threading.Thread(target=send, args=(plain, data))
                        sender.start()
                        answers.append(received(plain) == data)
                        sender.join(LIMIT)

                with listening(runtime) as listener:
                    for _ in range(3):
                        listener.begin_accept(on_accept)
                    clients = [threading.Thread(target=talk, args=(number,)) for number in range(40)]
                    for client in clients:
                        client.start()
                    while not threaded and any(client.is_alive() for client in clients):
                        runtime.poll(0.01)
                    for client in clients:
                        client.join(LIMIT)
                self.assertEqual(answers, [True] * 40)
                self.assertEqual(len(served), 40)
                # The last client may know of the close before the callback that has begun it goes on.
                self.assertTrue(eventually(lambda: all(connection.closed for connection in served)))


class Unix(unittest.TestCase):
    def test_streams_by_path_and_by_name(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "server")
            for host in (f"unix:{path}", f"unix:@asock-python-{random.getrandbits(64):x}"):
                with self.subTest(host=host):
                    with listening(host=host) as listener, asock.Socket() as client:
                        self.assertEqual(listener.local_address, (host, 0))
                        accept = listener.begin_accept()
                        client.begin_connect(host)
                        with listener.end_accept(accept) as accepted:
                            accepted.begin_send(b"local")
                            receive = client.begin_receive(5, flags=asock.ReceiveFlag.ALL)
                            self.assertEqual(client.end_receive(receive), b"local")
                            self.assertEqual(accepted.local_address, (host, 0))
                        self.assertEqual(path.exists(), not host.startswith("unix:@"))
                        listener.end_close(listener.begin_close())
                    self.assertFalse(path.exists(), "the close removes the file")

    def test_a_file_that_is_there_stays(self) -> None:
        with tempfile.TemporaryDirectory() as directory, asock.Socket() as listener:
            path = Path(directory, "file")
            path.write_text("mine", encoding="ascii")
            with self.assertRaises(OSError) as caught:
                listener.bind(f"unix:{path}")
            self.assertEqual(caught.exception.errno, errno.EADDRINUSE)
            self.assertEqual(path.read_text(encoding="ascii"), "mine")
            with self.assertRaises(ValueError):
                listener.bind("unix:/" + "x" * 108)


class Adoption(unittest.TestCase):
    def test_there_and_back_and_there_again(self) -> None:
        with serving(echo) as address:
            plain = socket.create_connection(address)
            descriptor, name = plain.fileno(), plain.getsockname()
            for turn in range(3):
                adopted = asock.Socket.adopt(plain)
                self.assertEqual(plain.fileno(), -1, "detached")
                self.assertEqual((adopted.remote_address, adopted.local_address), (address, name))
                data = b"turn %d" % turn
                adopted.begin_send(data)
                receive = adopted.begin_receive(len(data), flags=asock.ReceiveFlag.ALL)
                self.assertEqual(adopted.end_receive(receive), data)
                adopted.end_send(adopted.begin_send(b""))
                plain = adopted.release()
                self.assertTrue(adopted.closed)
                self.assertIs(type(plain), socket.socket)
                self.assertEqual((plain.fileno(), plain.family), (descriptor, socket.AF_INET))
                self.assertEqual(plain.type, socket.SOCK_STREAM)
                self.assertTrue(plain.getblocking())
                plain.sendall(b"plain")
                self.assertEqual(plain.recv(5, socket.MSG_WAITALL), b"plain", "it waits, as a plain socket does")
                adopted.close()
            plain.close()

    def test_a_plain_listener(self) -> None:
        for way in WAYS:
            with self.subTest(way=way), runtime_for(way) as runtime:
                with asock.Socket.adopt(socket.create_server(("127.0.0.1", 0)), runtime) as listener:
                    plain: List[socket.socket] = []
                    begin, end = listener.begin_accept, listener.end_accept
                    accepted = outcome(way, runtime, begin, end, lambda: plain.append(dialed(listener)))
                    with accepted, plain[0] as peer:
                        self.assertEqual(accepted.remote_address, peer.getsockname())

    def test_a_fresh_one_and_a_pair_and_a_descriptor(self) -> None:
        with serving(echo) as address, asock.Socket.adopt(socket.socket()) as client:
            client.end_connect(client.begin_connect(*address))
            client.begin_send(b"x")
            self.assertEqual(client.end_receive(client.begin_receive(1)), b"x")
        one, two = socket.socketpair()
        with two, asock.Socket.adopt(one.detach()) as adopted:
            two.sendall(b"pair")
            self.assertEqual(adopted.end_receive(adopted.begin_receive(9)), b"pair")

    def test_an_accepted_socket_is_released(self) -> None:
        accepted, peer = pair()
        with accepted, peer, accepted.release() as plain:
            peer.sendall(b"x")
            self.assertEqual(plain.recv(1), b"x")
            self.assertEqual(plain.getpeername(), peer.getsockname())

    def test_the_default_time_out_holds_for_what_is_released(self) -> None:
        accepted, peer = pair()
        with peer, mock.patch("socket.getdefaulttimeout", lambda: 0.01), accepted.release() as plain:
            self.assertEqual(plain.gettimeout(), 0.01)
            with self.assertRaises(socket.timeout):
                plain.recv(1)

    def test_a_failure_leaves_the_plain_socket_alone(self) -> None:
        stopped = asock.Runtime()
        stopped.stop()
        with socket.create_server(("127.0.0.1", 0)) as plain:
            descriptor = plain.fileno()
            with self.assertRaises(RuntimeError):
                asock.Socket.adopt(plain, stopped)
            with asock.Runtime(max_sockets=1) as full, asock.Socket(full):
                with self.assertRaises(OSError) as caught:
                    asock.Socket.adopt(plain, full)
                self.assertEqual(getattr(caught.exception, "status"), Status.TOO_MANY_SOCKETS)
            self.assertEqual(plain.fileno(), descriptor)
            with socket.create_connection(plain.getsockname()):
                plain.accept()[0].close()

    def test_what_cannot_be_adopted(self) -> None:
        closed = socket.socket()
        closed.close()
        reader, writer = os.pipe()
        try:
            for wrong in (closed, reader, 2**31 - 1):
                with self.assertRaises(ValueError) as caught:
                    asock.Socket.adopt(wrong)
                self.assertEqual(getattr(caught.exception, "status"), Status.INVALID_ARGUMENT)
            os.write(writer, b"x")
            self.assertEqual(os.read(reader, 1), b"x", "it stays the caller's")
        finally:
            os.close(reader)
            os.close(writer)
        with ssl.create_default_context().wrap_socket(socket.socket(), server_hostname="x") as tls:
            for other in ("socket", None, 1.5, True, tls):
                with self.assertRaises(TypeError):
                    asock.Socket.adopt(other)  # type: ignore[arg-type]
            self.assertNotEqual(tls.fileno(), -1)

    def test_release_waits_for_nothing(self) -> None:
        accepted, peer = pair()
        with accepted, peer, asock.Socket() as unbound:
            receive = accepted.begin_receive(1)
            for busy in (accepted, unbound):
                with self.assertRaises(RuntimeError) as caught:
                    busy.release()
                self.assertEqual(getattr(caught.exception, "status"), Status.INVALID_STATE)
                self.assertFalse(busy.closed)
            peer.sendall(b"x")
            self.assertEqual(accepted.end_receive(receive), b"x")
            accepted.release().close()
            with self.assertRaises(OSError) as gone:
                accepted.release()
            self.assertEqual(gone.exception.errno, errno.EBADF)

    def test_inside_its_last_callback(self) -> None:
        for threaded in (True, False):
            with self.subTest(threaded=threaded), asock.Runtime(threaded=threaded) as runtime:
                accepted, peer = pair(runtime)
                released: List[socket.socket] = []
                accepted.begin_receive(1, lambda _: released.append(accepted.release()))
                peer.sendall(b"xy")

                def ended() -> bool:
                    if not threaded:
                        runtime.poll()
                    return bool(released)

                self.assertTrue(eventually(ended))
                with peer, released[0] as plain:
                    self.assertEqual(plain.recv(1), b"y")


if __name__ == "__main__":
    unittest.main()
