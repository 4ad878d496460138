"""Data goes there and back unharmed: by callbacks, by end_..., by poll, by asyncio; large, pipelined, without copies."""

from __future__ import annotations

import array
import asyncio
import hashlib
import mmap
import random
import socket
import sys
import threading
import unittest
from typing import List, Optional

import asock

from .support import LIMIT, echo, eventually, serving, silent


def connected(address: "tuple[str, int]", runtime: Optional[asock.Runtime] = None) -> asock.Socket:
    client = asock.Socket(runtime)
    client.end_connect(client.begin_connect(*address))
    return client


class Echo(unittest.TestCase):
    def test_by_callbacks(self) -> None:
        """The sample of .NET: each callback begins what comes next, and the state object goes along."""
        done = threading.Event()
        seen: List[object] = []
        with serving(echo) as address, asock.Socket() as client:

            def on_connect(result: asock.AsyncResult[None]) -> None:
                client.end_connect(result)
                seen.append(result.state)
                client.begin_send(b"This is a test<EOF>", on_send, "send")

            def on_send(result: asock.AsyncResult[int]) -> None:
                seen.extend((result.state, client.end_send(result)))
                client.begin_receive(256, on_receive, "receive", flags=asock.ReceiveFlag.ALL)
                client.shutdown(asock.Shutdown.SEND)

            def on_receive(result: asock.AsyncResult[bytes]) -> None:
                seen.extend((result.state, client.end_receive(result), threading.current_thread().name))
                done.set()

            client.begin_connect(*address, on_connect, "connect")
            self.assertTrue(done.wait(LIMIT))
        self.assertEqual(seen, ["connect", "send", 19, "receive", b"This is a test<EOF>", "asock"])

    def test_by_end(self) -> None:
        with serving(echo) as address, asock.Socket() as client:
            connect = client.begin_connect(*address, state=7)
            send = client.begin_send(b"hello")  # Waits for the connect, inside the library.
            receive = client.begin_receive(5, flags=asock.ReceiveFlag.ALL)
            self.assertEqual(client.end_receive(receive), b"hello")
            self.assertEqual(client.end_receive(receive), b"hello", "asking again gives the same")
            self.assertEqual(client.end_send(send), 5)
            client.end_connect(connect)
            self.assertEqual(connect.state, 7)
            self.assertTrue(connect.is_completed and connect.wait(0))

    def test_by_poll(self) -> None:
        """Callbacks run on the thread that polls, in `poll` and not in a wait."""
        threads = set()
        replies: List[bytes] = []
        with serving(echo) as address, asock.Runtime(threaded=False) as runtime, asock.Socket(runtime) as client:

            def on_receive(result: asock.AsyncResult[bytes]) -> None:
                threads.add(threading.get_ident())
                replies.append(client.end_receive(result))

            client.end_connect(client.begin_connect(*address))
            client.begin_send(b"frame")
            result = client.begin_receive(5, on_receive, flags=asock.ReceiveFlag.ALL)
            self.assertTrue(result.wait(LIMIT))
            self.assertEqual(replies, [], "a wait runs no callback")
            self.assertEqual(runtime.poll(), 1)
            self.assertEqual(replies, [b"frame"])
            result = client.begin_receive(5, on_receive)
            self.assertEqual(runtime.poll(), 0, "nothing came")
            client.begin_send(b"again")
            while not result.is_completed:
                runtime.poll(LIMIT)
            self.assertEqual(replies, [b"frame", b"again"])
        self.assertEqual(threads, {threading.get_ident()})

    def test_in_a_coroutine(self) -> None:
        async def talk(address: "tuple[str, int]") -> bytes:
            with asock.Socket() as client:
                await client.begin_connect(*address)
                self.assertEqual(await client.begin_send(b"async"), 5)
                reply = await client.begin_receive(5, flags=asock.ReceiveFlag.ALL)
                pending = client.begin_receive(1)
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(self.of(pending), 0.02)
                self.assertTrue(pending.wait(LIMIT), "a coroutine that is canceled cancels its operation")
                return reply

        with serving(echo) as address:
            self.assertEqual(asyncio.run(talk(address)), b"async")

    def test_an_await_that_is_canceled_gives_the_buffer_back(self) -> None:
        """It lasts until the operation has ended, also where it is canceled again, or where nobody polls."""

        async def canceled(client: asock.Socket, times: int) -> None:
            buffer = bytearray(10)
            pending = client.begin_receive_into(buffer)
            task = asyncio.ensure_future(pending)
            for _ in range(times):
                await asyncio.sleep(0)
                task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertTrue(pending.is_completed)
            buffer.clear()

        for threaded in (True, False):
            with self.subTest(threaded=threaded), asock.Runtime(threaded=threaded) as runtime:
                with serving(silent) as address, asock.Socket(runtime) as client:
                    client.end_connect(client.begin_connect(*address))
                    for times in (1, 2) * 10:
                        asyncio.run(canceled(client, times))

    def test_loops_on_several_threads_may_await_one_operation(self) -> None:
        async def awaiting(result: asock.AsyncResult[bytes]) -> None:
            begin.wait(LIMIT)
            # Step by step, so that the threads do nothing else and meet at it.
            futures = [next(result.__await__()) for _ in range(100)]
            begun.wait(LIMIT)
            _, forgotten = await asyncio.wait(futures, timeout=LIMIT)
            left.append(len(forgotten))

        left: List[int] = []
        begin, begun = threading.Barrier(4), threading.Barrier(5)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-7)
        try:
            with serving(echo) as address, asock.Socket() as client:
                client.end_connect(client.begin_connect(*address))
                for _ in range(20):
                    result = client.begin_receive(1)
                    threads = [threading.Thread(target=lambda: asyncio.run(awaiting(result))) for _ in range(4)]
                    for thread in threads:
                        thread.start()
                    begun.wait(LIMIT)
                    client.begin_send(b"x")
                    for thread in threads:
                        thread.join()
        finally:
            sys.setswitchinterval(interval)
        self.assertEqual(left, [0] * 80)

    @staticmethod
    async def of(result: asock.AsyncResult[bytes]) -> bytes:
        return await result

    def test_a_polled_runtime_in_the_loop_of_asyncio(self) -> None:
        async def talk(address: "tuple[str, int]", runtime: asock.Runtime) -> bytes:
            loop = asyncio.get_running_loop()
            loop.add_reader(runtime, runtime.poll)
            try:
                with asock.Socket(runtime) as client:
                    await client.begin_connect(*address)
                    client.begin_send(b"loop")
                    return await client.begin_receive(4, flags=asock.ReceiveFlag.ALL)
            finally:
                loop.remove_reader(runtime)

        with serving(echo) as address, asock.Runtime(threaded=False) as runtime:
            self.assertEqual(asyncio.run(talk(address, runtime)), b"loop")

    def test_unix_socket(self) -> None:
        name = f"\0asock-python-{random.getrandbits(64):x}"
        with socket.socket(socket.AF_UNIX) as listener, asock.Socket() as client:
            listener.bind(name)
            listener.listen()
            client.end_connect(client.begin_connect("unix:@" + name[1:]))
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"x")
                self.assertEqual(client.end_receive(client.begin_receive(9)), b"x")
            self.assertEqual(client.remote_address, ("unix:@" + name[1:], 0))
            self.assertEqual(str(client.remote_address), "unix:@" + name[1:])


class Large(unittest.TestCase):
    def test_64_mib_there_and_back(self) -> None:
        size, piece = 64 << 20, 1 << 18
        data = random.Random(5).randbytes(1 << 20) * (size >> 20)
        with serving(echo) as address, connected(address) as client:
            send = client.begin_send(data)
            digest, got = hashlib.sha256(), 0
            receives = [client.begin_receive(piece) for _ in range(4)]
            while got < size:
                received = client.end_receive(receives.pop(0))
                self.assertTrue(received)
                digest.update(received)
                got += len(received)
                receives.append(client.begin_receive(piece))
            self.assertEqual(client.end_send(send), size)
        self.assertEqual(digest.digest(), hashlib.sha256(data).digest())

    def test_receives_are_filled_in_the_order_begun(self) -> None:
        numbers = array.array("I", range(50_000))
        with serving(echo) as address, connected(address) as client:
            order: List[int] = []
            results = [
                client.begin_receive(100, lambda r: order.append(r.state), n, flags=asock.ReceiveFlag.ALL)
                for n in range(2000)
            ]
            client.begin_send(numbers)
            together = b"".join(client.end_receive(result) for result in results)
        self.assertEqual(together, numbers.tobytes())
        self.assertEqual(order, sorted(order))

    def test_waits_from_many_threads(self) -> None:
        for threaded in (True, False):
            with self.subTest(threaded=threaded), asock.Runtime(threaded=threaded) as runtime:
                with serving(echo) as address, connected(address, runtime) as client:
                    results = [client.begin_receive(1) for _ in range(50)]
                    answers: List[bytes] = []
                    threads = [
                        threading.Thread(target=lambda r=r: answers.append(client.end_receive(r)))
                        for r in results
                        for _ in range(2)
                    ]
                    for thread in threads:
                        thread.start()
                    for _ in results:
                        client.end_send(client.begin_send(b"x"))
                    for thread in threads:
                        thread.join(LIMIT)
                    self.assertEqual(answers, [b"x"] * 100)


class Buffers(unittest.TestCase):
    def test_every_kind_of_buffer_is_sent(self) -> None:
        with serving(echo) as address, connected(address) as client, mmap.mmap(-1, 4) as mapped:
            mapped[:] = b"mmap"
            for data in (
                b"bytes",
                bytearray(b"bytearray"),
                memoryview(b"xviewx")[1:-1],
                array.array("d", [1.5, 2.5]),
                mapped,
                memoryview(array.array("I", [1, 2, 3])),
                b"",
                bytearray(),
                memoryview(b""),
            ):
                expected = bytes(data)
                self.assertEqual(client.end_send(client.begin_send(data)), len(expected))
                receive = client.begin_receive(len(expected), flags=asock.ReceiveFlag.ALL)
                if expected:
                    self.assertEqual(client.end_receive(receive), expected)
                else:
                    receive.cancel()

    def test_receive_into_every_kind_of_writable_buffer(self) -> None:
        with serving(echo) as address, connected(address) as client, mmap.mmap(-1, 8) as mapped:
            numbers = array.array("Q", [0])
            room = bytearray(12)
            for buffer in (bytearray(8), memoryview(room)[2:-2], numbers, mapped):
                client.begin_send(b"12345678")
                receive = client.begin_receive_into(buffer, flags=asock.ReceiveFlag.ALL)
                self.assertEqual(client.end_receive(receive), 8)
                self.assertEqual(bytes(buffer), b"12345678")
            self.assertEqual(room, b"\0\0" + b"12345678" + b"\0\0")

    def test_a_buffer_in_flight_cannot_be_resized(self) -> None:
        with serving(silent) as address, connected(address) as client:
            buffer = bytearray(10)
            receive = client.begin_receive_into(buffer)
            with self.assertRaises(BufferError):
                buffer.append(1)
            receive.cancel()
            self.assertTrue(receive.wait(LIMIT))
            buffer.append(1)
            client.send_buffer_size = 4096
            data = bytearray(8 << 20)
            send = client.begin_send(data)
            with self.assertRaises(BufferError):
                data.clear()
            client.close()
            self.assertTrue(send.wait(LIMIT))
            data.clear()

    def test_a_refused_begin_gives_the_buffer_back(self) -> None:
        client = asock.Socket()
        client.close()
        buffer = bytearray(10)
        for begin in (client.begin_send, client.begin_receive_into):
            with self.assertRaises(OSError):
                begin(buffer)
            buffer.append(1)

    def test_a_copied_send_leaves_the_buffer_free(self) -> None:
        with serving(echo) as address, asock.Socket() as client:
            data = bytearray(b"copied")
            client.begin_connect(*address)
            client.begin_send(data, flags=asock.SendFlag.COPY)
            data.clear()
            self.assertEqual(client.end_receive(client.begin_receive(6, flags=asock.ReceiveFlag.ALL)), b"copied")

    def test_peek(self) -> None:
        with serving(echo) as address, connected(address) as client:
            client.begin_send(b"x")
            self.assertEqual(client.end_receive(client.begin_receive(1, flags=asock.ReceiveFlag.PEEK)), b"x")
            self.assertEqual(client.end_receive(client.begin_receive(1)), b"x")

    def test_a_draining_close_sends_what_is_queued(self) -> None:
        got: List[bytes] = []

        def collect(connection: socket.socket) -> None:
            while True:
                data = connection.recv(1 << 18)
                got.append(data)
                if not data:
                    break

        with serving(collect) as address:
            client = connected(address)
            client.begin_send(bytes(4 << 20))
            closing = client.begin_close()
            self.assertTrue(client.closed)
            client.end_close(closing)
            self.assertTrue(closing.is_completed)
            self.assertTrue(eventually(lambda: got[-1:] == [b""]))
        self.assertEqual(sum(map(len, got)), 4 << 20)


if __name__ == "__main__":
    unittest.main()
