"""Several pieces of memory in one operation, and files."""

from __future__ import annotations

import array
import hashlib
import io
import os
import random
import socket
import tempfile
import threading
import unittest
from typing import Any, BinaryIO, Callable, List, Tuple

import asock
from asock import Status

from .support import LIMIT, WAYS, Refusal, assert_refused, echo, outcome, runtime_for, serving, silent
from .test_server import pair, received


class Vectored(unittest.TestCase):
    def test_in_every_way(self) -> None:
        for way in WAYS:
            with self.subTest(way=way), runtime_for(way) as runtime:
                ours, plain = pair(runtime)
                with ours, plain:
                    numbers = array.array("H", [1, 2])
                    pieces = (b"one", bytearray(b""), memoryview(b"--two--")[2:5], numbers)

                    def send(callback: Any) -> asock.AsyncResult[int]:
                        return ours.begin_send_vectored(pieces, callback)

                    self.assertEqual(outcome(way, runtime, send, ours.end_send), 10)
                    self.assertEqual(plain.recv(10, socket.MSG_WAITALL), b"onetwo" + numbers.tobytes())
                    room = [bytearray(2), bytearray(0), bytearray(5), bytearray(3)]

                    def receive(callback: Any) -> asock.AsyncResult[int]:
                        return ours.begin_receive_vectored(room, callback, flags=asock.ReceiveFlag.ALL)

                    def answer() -> None:
                        plain.sendall(b"123456789")
                        plain.shutdown(socket.SHUT_WR)

                    self.assertEqual(outcome(way, runtime, receive, ours.end_receive, answer), 9)
                    self.assertEqual(room, [b"12", b"", b"34567", b"89\0"])

    def test_more_pieces_than_the_system_takes_at_once(self) -> None:
        dice = random.Random(3)
        pieces = [dice.randbytes(dice.randrange(2000)) for _ in range(5000)]
        together = b"".join(pieces)
        room = [bytearray(1 << 10) for _ in range(1 + len(together) // (1 << 10))]
        with serving(echo) as address, asock.Socket() as client:
            client.begin_connect(*address)
            send = client.begin_send_vectored(piece for piece in pieces)
            client.shutdown(asock.Shutdown.SEND)
            receive = client.begin_receive_vectored(room, flags=asock.ReceiveFlag.ALL)
            self.assertEqual(client.end_send(send), len(together))
            self.assertEqual(client.end_receive(receive), len(together))
        self.assertEqual(b"".join(room)[: len(together)], together)

    def test_the_pieces_are_held_until_the_end_and_no_longer(self) -> None:
        with serving(silent) as address, asock.Socket() as client:
            client.end_connect(client.begin_connect(*address))
            client.send_buffer_size = 4096
            out, room = [bytearray(4 << 20), bytearray(5)], [bytearray(5), bytearray(5)]
            results = [client.begin_send_vectored(out), client.begin_receive_vectored(room)]
            for held in out + room:
                with self.assertRaises(BufferError):
                    held.append(1)
            for result in results:
                result.cancel()
                self.assertTrue(result.wait(LIMIT))
            for held in out + room:
                held.append(1)
            # With COPY only during the call; and not after one that is refused.
            copied = client.begin_send_vectored(out, flags=asock.SendFlag.COPY)
            out[0].clear()
            copied.cancel()
            client.close()
            for begin in (client.begin_send_vectored, client.begin_receive_vectored):
                with self.assertRaises(OSError):
                    begin(room)
                room[0].append(1)

    def test_temporary_pieces_are_kept_alive(self) -> None:
        with serving(echo) as address, asock.Socket() as client:
            client.begin_connect(*address)
            client.begin_send_vectored([bytes([65 + n]) * 100_000 for n in range(20)])
            receive = client.begin_receive(2_000_000, flags=asock.ReceiveFlag.ALL)
            self.assertEqual(client.end_receive(receive), b"".join(bytes([65 + n]) * 100_000 for n in range(20)))

    def test_what_is_refused(self) -> None:
        held = bytearray(3)
        with asock.Socket() as client:
            cases: List[Tuple[Callable[[], object], type]] = [
                (lambda: client.begin_send_vectored(b"bytes"), TypeError),
                (lambda: client.begin_send_vectored(7), TypeError),  # type: ignore[arg-type]
                (lambda: client.begin_send_vectored([held, "text"]), TypeError),
                (lambda: client.begin_receive_vectored([held, b"read-only"]), TypeError),
                (lambda: client.begin_send_vectored([]), ValueError),
                (lambda: client.begin_send_vectored([held], flags=64), ValueError),
                (lambda: client.begin_receive_vectored([held], flags=-1), ValueError),
                (lambda: client.begin_receive_vectored([held], 7), TypeError),  # type: ignore[arg-type]
            ]
            for number, (call, kind) in enumerate(cases):
                with self.subTest(case=number), self.assertRaises(kind):
                    call()
                held.append(1)


class Files(unittest.TestCase):
    def setUp(self) -> None:
        made = tempfile.TemporaryFile()
        self.addCleanup(made.close)
        self.file: BinaryIO = made

    def fill(self, size: int) -> bytes:
        data = random.Random(size).randbytes(size)
        self.file.write(data)
        self.file.flush()
        return data

    def test_in_every_way(self) -> None:
        data = self.fill(300_000)
        for way in WAYS:
            with self.subTest(way=way), runtime_for(way) as runtime:
                ours, plain = pair(runtime)
                with ours, plain:
                    got: List[bytes] = []
                    reader = threading.Thread(target=lambda: got.append(received(plain)))
                    reader.start()

                    def send(callback: Any) -> asock.AsyncResult[int]:
                        return ours.begin_send_file(self.file, callback)

                    self.assertEqual(outcome(way, runtime, send, ours.end_send), len(data))
                    ours.shutdown(asock.Shutdown.SEND)
                    reader.join(LIMIT)
                    self.assertEqual(got, [data])
        self.assertEqual(self.file.tell(), len(data), "its position is not moved")

    def test_a_large_one_by_hash(self) -> None:
        """It takes its place between other sends, and may be closed as soon as it was begun."""
        data = self.fill(48 << 20)
        ours, plain = pair()
        digest = hashlib.sha256()

        def read() -> None:
            while True:
                piece = plain.recv(1 << 20)
                if not piece:
                    break
                digest.update(piece)

        with ours, plain:
            reader = threading.Thread(target=read)
            reader.start()
            ours.begin_send(b"before")
            result = ours.begin_send_file(self.file, state="file")
            self.file.close()
            ours.begin_send(b"after")
            self.assertEqual((ours.end_send(result), result.state), (len(data), "file"))
            ours.end_close(ours.begin_close())
            reader.join(LIMIT)
        self.assertEqual(digest.hexdigest(), hashlib.sha256(b"before" + data + b"after").hexdigest())

    def test_parts(self) -> None:
        data = self.fill(10_000)
        ours, plain = pair()
        with ours, plain:
            for offset, length, expected in (
                (0, 10, data[:10]),
                (9_000, None, data[9_000:]),
                (5, 0, b""),
                (20_000, None, b""),
                (9_999, 1, data[9_999:]),
            ):
                for file in (self.file, self.file.fileno()):
                    send = ours.begin_send_file(file, offset=offset, length=length)
                    self.assertEqual(ours.end_send(send), len(expected))
                    self.assertEqual(plain.recv(len(expected), socket.MSG_WAITALL), expected)

    def test_what_goes_wrong(self) -> None:
        data = self.fill(10_000)
        ours, plain = pair()
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        gone = os.dup(reader)
        os.close(gone)
        with ours, plain, asock.Socket() as unconnected:
            cases: List[Refusal] = [
                (lambda: ours.begin_send_file("path"), TypeError, None),
                (lambda: ours.begin_send_file(True), TypeError, None),
                (lambda: ours.begin_send_file(io.BytesIO(b"x")), io.UnsupportedOperation, None),
                (lambda: ours.begin_send_file(self.file, offset=-1), ValueError, None),
                (lambda: ours.begin_send_file(self.file, length=-1), ValueError, None),
                (lambda: ours.begin_send_file(gone), ValueError, Status.INVALID_ARGUMENT),
                (lambda: ours.begin_send_file(gone, length=1), ValueError, Status.INVALID_ARGUMENT),
                (lambda: ours.begin_send_file(reader, length=1), ValueError, Status.INVALID_ARGUMENT),
                (
                    lambda: unconnected.end_send(unconnected.begin_send_file(self.file)),
                    OSError,
                    Status.NOT_CONNECTED,
                ),
            ]
            assert_refused(self, cases)
            send = ours.begin_send_file(self.file, offset=9_000, length=5_000)
            with self.assertRaises(ValueError) as caught:
                ours.end_send(send)
            self.assertEqual(getattr(caught.exception, "transferred"), 1_000)
            self.assertEqual(plain.recv(1_000, socket.MSG_WAITALL), data[9_000:])

    def test_it_waits_for_the_connect(self) -> None:
        data = self.fill(100)
        with serving(echo) as address, asock.Socket() as client:
            client.begin_connect(*address)
            client.begin_send_file(self.file)
            receive = client.begin_receive(100, flags=asock.ReceiveFlag.ALL)
            self.assertEqual(client.end_receive(receive), data)

    def test_cancel_time_out_and_close_while_it_is_sent(self) -> None:
        self.fill(16 << 20)
        for ending, status in (("cancel", Status.CANCELED), ("time", Status.TIMED_OUT), ("close", Status.CLOSED)):
            with self.subTest(ending=ending), serving(silent) as address, asock.Socket() as client:
                client.end_connect(client.begin_connect(*address))
                send = client.begin_send_file(self.file)
                self.assertFalse(send.wait(0.01))
                if ending == "cancel":
                    send.cancel()
                elif ending == "time":
                    send.set_timeout(0.01)
                else:
                    client.close()
                with self.assertRaises(asock.Error) as caught:
                    client.end_send(send)
                self.assertEqual(caught.exception.status, status)
                self.assertLess(caught.exception.transferred, 16 << 20)


if __name__ == "__main__":
    unittest.main()
