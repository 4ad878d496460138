"""What goes wrong is an exception of the class that a Python program expects, and says what to do."""

from __future__ import annotations

import array
import errno
import pickle
import socket
import threading
import time
import unittest
from typing import Any, Callable, List, Tuple, Type

import asock
from asock import Status

from .support import LIMIT, closed_port, echo, resetting, serving, silent


class Classes(unittest.TestCase):
    def fails(self, kind: Type[BaseException], number: int, status: Status, call: Callable[[], object]) -> asock.Error:
        with self.assertRaises(kind) as caught:
            call()
        error = caught.exception
        assert isinstance(error, asock.Error)
        self.assertEqual((error.errno, error.status, error.status_name), (number, status, f"ASOCK_{status.name}"))
        self.assertGreater(len(str(error.strerror)), 8)
        again = pickle.loads(pickle.dumps(error))
        self.assertEqual((type(again), str(again), again.status), (type(error), str(error), status))
        return error

    def test_refused(self) -> None:
        port = closed_port()
        with asock.Socket() as client:
            connect = client.begin_connect("127.0.0.1", port)
            number, status = errno.ECONNREFUSED, Status.CONNECTION_REFUSED
            error = self.fails(ConnectionRefusedError, number, status, lambda: client.end_connect(connect))
            self.assertIn("connection refused", str(error))

    def test_no_such_unix_socket(self) -> None:
        with asock.Socket() as client:
            connect = client.begin_connect("unix:/no/such/socket")
            number, status = errno.ENOENT, Status.ADDRESS_NOT_AVAILABLE
            self.fails(FileNotFoundError, number, status, lambda: client.end_connect(connect))

    def test_reset(self) -> None:
        with serving(resetting) as address, asock.Socket() as client:
            client.begin_connect(*address)
            client.begin_send(b"x")
            receive = client.begin_receive(1)
            self.fails(ConnectionResetError, errno.ECONNRESET, Status.CONNECTION_RESET, lambda: client.end_receive(receive))

    def test_shut_down(self) -> None:
        with serving(echo) as address, asock.Socket() as client:
            client.end_connect(client.begin_connect(*address))
            client.shutdown(socket.SHUT_WR)
            send = client.begin_send(b"x")
            with self.assertRaises(BrokenPipeError) as caught:
                client.end_send(send)
            self.assertEqual(getattr(caught.exception, "status"), Status.SHUT_DOWN)
            self.assertEqual(client.end_receive(client.begin_receive(1)), b"")

    def test_not_connected_and_connected_already(self) -> None:
        with serving(echo) as address, asock.Socket() as client:
            self.fails(OSError, errno.ENOTCONN, Status.NOT_CONNECTED, client.shutdown)
            send = client.begin_send(b"x")
            self.fails(OSError, errno.ENOTCONN, Status.NOT_CONNECTED, lambda: client.end_send(send))
            client.end_connect(client.begin_connect(*address))
            connect = client.begin_connect(*address)
            self.fails(OSError, errno.EISCONN, Status.ALREADY_CONNECTED, lambda: client.end_connect(connect))

    def test_time_outs(self) -> None:
        with serving(silent) as address, asock.Socket() as client:
            client.end_connect(client.begin_connect(*address))
            client.receive_timeout = 0.05
            start = time.monotonic()
            receive = client.begin_receive(10)
            self.fails(TimeoutError, errno.ETIMEDOUT, Status.TIMED_OUT, lambda: client.end_receive(receive))
            self.assertGreaterEqual(time.monotonic() - start, 0.05)
            client.receive_timeout = None
            receive = client.begin_receive(10)
            self.assertFalse(receive.wait(0.001))
            receive.set_timeout(0.01)
            self.fails(TimeoutError, errno.ETIMEDOUT, Status.TIMED_OUT, lambda: client.end_receive(receive))
            client.send_timeout = 0.2
            client.send_buffer_size = 4096
            send = client.begin_send(bytes(16 << 20))
            error = self.fails(TimeoutError, errno.ETIMEDOUT, Status.TIMED_OUT, lambda: client.end_send(send))
            self.assertGreater(error.transferred, 0)

    def test_what_came_before_a_time_out_is_not_lost(self) -> None:
        with serving(echo) as address, asock.Socket() as client:
            client.end_connect(client.begin_connect(*address))
            receive = client.begin_receive(10, flags=asock.ReceiveFlag.ALL)
            peek = client.begin_send(b"part")
            client.end_send(peek)
            time.sleep(0.02)  # Not to be sure: the assertion holds for however much has come.
            receive.set_timeout(0.05)
            error = self.fails(TimeoutError, errno.ETIMEDOUT, Status.TIMED_OUT, lambda: client.end_receive(receive))
            self.assertEqual(error.partial, b"part"[: error.transferred])

    def test_canceled_and_closed(self) -> None:
        with serving(silent) as address, asock.Socket() as client:
            client.end_connect(client.begin_connect(*address))
            first, second = client.begin_receive(1), client.begin_receive_into(bytearray(1))
            first.cancel()
            self.fails(OSError, errno.ECANCELED, Status.CANCELED, lambda: client.end_receive(first))
            client.close()
            client.close()
            aborted, status = errno.ECONNABORTED, Status.CLOSED
            self.fails(ConnectionAbortedError, aborted, status, lambda: client.end_receive(second))
            first.cancel()
            for call in (client.shutdown, lambda: client.begin_send(b"x"), lambda: client.nodelay):
                self.fails(OSError, errno.EBADF, Status.BAD_HANDLE, call)

    def test_queue_full(self) -> None:
        with serving(silent) as address, asock.Socket() as client:
            client.end_connect(client.begin_connect(*address))
            client.send_buffer_size = 4096
            client.send_queue_limit = 10_000_000
            client.begin_send(bytes(16 << 20))
            data = bytearray(10_000_000)
            self.fails(BlockingIOError, errno.EAGAIN, Status.QUEUE_FULL, lambda: client.begin_send(data))
            data.clear()

    def test_names(self) -> None:
        """A name that no server may ever know (RFC 2606)."""
        with asock.Socket() as client:
            connect = client.begin_connect("no-such-host.invalid", 80)
            with self.assertRaises(socket.gaierror) as caught:
                client.end_connect(connect)
            error = caught.exception
            assert isinstance(error, asock.Error)
            self.assertIn(error.status, (Status.HOST_NOT_FOUND, Status.NAME_SERVER_FAILED))
            expected = socket.EAI_NONAME if error.status == Status.HOST_NOT_FOUND else socket.EAI_AGAIN
            self.assertEqual(error.errno, expected)

    def test_localhost(self) -> None:
        with serving(echo) as (_, port), asock.Socket() as client:
            client.end_connect(client.begin_connect("localhost", port))
            client.begin_send(b"x")
            self.assertEqual(client.end_receive(client.begin_receive(1)), b"x")


class BadInputs(unittest.TestCase):
    def test_each_is_an_exception_that_says_what_to_do(self) -> None:
        client, other = asock.Socket(), asock.Socket()
        self.addCleanup(client.close)
        self.addCleanup(other.close)
        nowhere: Any = client.begin_receive(1)
        nowhere.wait(LIMIT)
        polled = asock.Runtime(threaded=False)
        self.addCleanup(polled.stop)
        stopped = asock.Runtime(threaded=False)
        late = asock.Socket(stopped)
        self.addCleanup(late.close)
        stopped.stop()
        bad: Any = client
        strided = memoryview(bytearray(10))[::2]

        def put(name: str, value: object) -> Callable[[], object]:
            return lambda: setattr(client, name, value)

        table: List[Tuple[Type[BaseException], str, Callable[[], object]]] = [
            (TypeError, "unix:PATH", lambda: bad.begin_connect(b"127.0.0.1", 1)),
            (TypeError, "host must be a str", lambda: bad.begin_connect(None, 1)),
            (TypeError, "host must be a str", lambda: bad.begin_connect(("127.0.0.1", 1))),
            (ValueError, "host is empty", lambda: bad.begin_connect("", 1)),
            (ValueError, "zero character", lambda: bad.begin_connect("a\0b", 1)),
            (ValueError, "253", lambda: bad.begin_connect("a" * 254, 1)),
            (ValueError, "253", lambda: bad.begin_connect("unix:" + "a" * 254)),
            (ValueError, "no name", lambda: bad.begin_connect("\udcff.example", 1)),
            (ValueError, "port must be from 1 to 65535", lambda: bad.begin_connect("127.0.0.1")),
            (ValueError, "port must be from 1 to 65535", lambda: bad.begin_connect("127.0.0.1", 65536)),
            (ValueError, "port must be from 1 to 65535", lambda: bad.begin_connect("127.0.0.1", -1)),
            (TypeError, "port must be an int", lambda: bad.begin_connect("127.0.0.1", "80")),
            (TypeError, "port must be an int", lambda: bad.begin_connect("127.0.0.1", True)),
            (TypeError, "port must be an int", lambda: bad.begin_connect("127.0.0.1", 80.0)),
            (TypeError, "callback must be a function", lambda: bad.begin_connect("127.0.0.1", 1, 5)),
            (TypeError, "encode", lambda: bad.begin_send("text")),
            (TypeError, "bytes-like", lambda: bad.begin_send(5)),
            (TypeError, "bytes-like", lambda: bad.begin_send(None)),
            (TypeError, "bytes-like", lambda: bad.begin_send([1, 2])),
            (BufferError, "contiguous", lambda: bad.begin_send(strided)),
            (ValueError, "invalid argument", lambda: bad.begin_send(b"x", flags=64)),
            (ValueError, "flags must be from", lambda: bad.begin_send(b"x", flags=-1)),
            (TypeError, "flags must be an int", lambda: bad.begin_send(b"x", flags="COPY")),
            (TypeError, "callback must be a function", lambda: bad.begin_send(b"x", "callback")),
            (TypeError, "begin_receive_into", lambda: bad.begin_receive(bytearray(5))),
            (ValueError, "size must be from 0", lambda: bad.begin_receive(-1)),
            (ValueError, "size must be from 0", lambda: bad.begin_receive(2**70)),
            (MemoryError, "", lambda: bad.begin_receive(2**62)),
            (TypeError, "size must be an int", lambda: bad.begin_receive(1.5)),
            (TypeError, "size must be an int", lambda: bad.begin_receive(None)),
            (ValueError, "invalid argument", lambda: bad.begin_receive(1, flags=3)),
            (TypeError, "writable buffer", lambda: bad.begin_receive_into(b"read-only")),
            (TypeError, "writable buffer", lambda: bad.begin_receive_into(memoryview(b"read-only"))),
            (TypeError, "bytes-like", lambda: bad.begin_receive_into(10)),
            (BufferError, "contiguous", lambda: bad.begin_receive_into(strided)),
            (ValueError, "invalid argument", lambda: bad.begin_receive_into(bytearray(1), flags=8)),
            (ValueError, "invalid argument", lambda: bad.begin_close(flags=3)),
            (TypeError, "AsyncResult", lambda: bad.end_receive(b"")),
            (TypeError, "AsyncResult", lambda: bad.end_connect(None)),
            (ValueError, "own kind", lambda: bad.end_send(nowhere)),
            (ValueError, "begun on another", lambda: other.end_receive(nowhere)),
            (ValueError, "asock.Shutdown", lambda: bad.shutdown(3)),
            (ValueError, "asock.Shutdown", lambda: bad.shutdown("both")),
            (TypeError, "True or False", put("nodelay", "yes")),
            (TypeError, "True or False", put("keepalive", 2)),
            (TypeError, "ttl must be an int", put("ttl", "64")),
            (ValueError, "ttl must be from", put("ttl", -1)),
            (ValueError, "ttl: invalid argument", put("ttl", 1000)),
            (ValueError, "linger must be from", put("linger", -1)),
            (TypeError, "number of seconds", put("receive_timeout", "1")),
            (ValueError, "more than 0", put("receive_timeout", 0)),
            (ValueError, "more than 0", put("send_timeout", -1.0)),
            (ValueError, "more than 0", put("connect_timeout", float("nan"))),
            (ValueError, "send_queue_limit must be from 1", put("send_queue_limit", 0)),
            (AttributeError, "only be read", put("send_queued", 1)),
            (ValueError, "0 or more", lambda: nowhere.set_timeout(-1)),
            (TypeError, "number of seconds", lambda: client.begin_receive(1).wait("x")),  # type: ignore[arg-type]
            (TypeError, "asock.Runtime", lambda: asock.Socket("runtime")),  # type: ignore[arg-type]
            (RuntimeError, "runtime stopped", lambda: asock.Socket(stopped)),
            (RuntimeError, "runtime stopped", stopped.poll),
            (RuntimeError, "runtime stopped", stopped.wake),
            (RuntimeError, "runtime stopped", stopped.fileno),
            (RuntimeError, "runtime stopped", stopped.stats),
            (RuntimeError, "runtime stopped", lambda: late.nodelay),
            (RuntimeError, "runtime stopped", lambda: setattr(late, "nodelay", False)),
            (RuntimeError, "threaded=False", lambda: asock.default_runtime().poll()),
            (RuntimeError, "threaded=False", lambda: asock.default_runtime().fileno()),
            (ValueError, "timeout must be 0 or more", lambda: polled.poll(-1)),
            (ValueError, "max_callbacks must be from 1", lambda: polled.poll(0, 0)),
            (ValueError, "asock.Backend", lambda: asock.Runtime(backend=77)),  # type: ignore[arg-type]
            (ValueError, "workers must be from 1", lambda: asock.Runtime(workers=0)),
            (ValueError, "spin", lambda: asock.Runtime(spin=float("inf"))),
            (NotImplementedError, "not supported: there is no", lambda: asock.Runtime(backend=asock.Backend.IOCP)),
            (TypeError, "pickled", lambda: pickle.dumps(client)),
            (TypeError, "pickled", lambda: pickle.dumps(nowhere)),
            (TypeError, "pickled", lambda: pickle.dumps(polled)),
        ]
        for kind, words, call in table:
            with self.subTest(words=words):
                with self.assertRaises(kind) as caught:
                    call()
                self.assertIn(words, str(caught.exception))

    def test_the_largest_limits_of_time(self) -> None:
        with serving(echo) as address, asock.Socket() as client:
            client.connect_timeout = client.send_timeout = client.receive_timeout = 1e300
            client.end_connect(client.begin_connect(*address))
            client.end_send(client.begin_send(array.array("B", [1])))
            receive = client.begin_receive(1)
            receive.set_timeout(float("inf"))
            self.assertTrue(receive.wait(1e300))
            client.receive_timeout = float("inf")
            self.assertIsNone(client.receive_timeout)

    def test_waiting_inside_a_callback_is_refused(self) -> None:
        caught: List[BaseException] = []
        done = threading.Event()
        with serving(silent) as address, asock.Runtime() as runtime, asock.Socket(runtime) as client:

            def on_connect(_: object) -> None:
                pending = client.begin_receive(1)
                self.assertFalse(pending.wait(0))
                for call in (pending.wait, lambda: client.end_receive(pending), runtime.stop):
                    try:
                        call()
                    except RuntimeError as error:
                        caught.append(error)
                done.set()

            client.begin_connect(*address, on_connect)
            self.assertTrue(done.wait(LIMIT))
        self.assertEqual([getattr(error, "status") for error in caught], [Status.WOULD_DEADLOCK] * 3)


if __name__ == "__main__":
    unittest.main()
