"""Every operation ends once, whatever happens to its socket, its runtime, its callback or the objects around it."""

from __future__ import annotations

import gc
import random
import select
import sys
import threading
import time
import unittest
import warnings
import weakref
from collections import Counter
from typing import Any, Callable, List, Set
from unittest import mock

import asock
from asock import Status, _abi, _engine

from .support import LIMIT, closed_port, echo, eventually, serving, silent


class Callbacks(unittest.TestCase):
    def test_one_that_raises_goes_to_the_hook_and_the_loop_goes_on(self) -> None:
        for threaded in (True, False):
            with self.subTest(threaded=threaded), asock.Runtime(threaded=threaded) as runtime, serving(echo) as address:
                caught: List[Any] = []
                with mock.patch("sys.unraisablehook", caught.append), asock.Socket(runtime) as client:

                    def on_connect(_: object) -> None:
                        raise LookupError("mine")

                    first = client.begin_connect(*address, on_connect)
                    second = client.begin_send(b"x")
                    third = client.begin_receive(1)
                    self.assertEqual(client.end_receive(third), b"x")
                    self.assertEqual(client.end_send(second), 1)
                    if not threaded:
                        self.assertEqual(runtime.poll(), 1)
                    self.assertTrue(eventually(lambda: bool(caught)))
                    self.assertTrue(first.is_completed)
                arguments = caught.pop()
                self.assertIs(arguments.exc_type, LookupError)
                self.assertEqual(str(arguments.exc_value), "mine")
                self.assertIs(arguments.object, on_connect)
                self.assertIsNotNone(arguments.exc_traceback)
                self.assertEqual(caught, [])

    def test_the_hook_of_the_interpreter_takes_it(self) -> None:
        try:
            raise LookupError("mine")
        except LookupError as error:
            with mock.patch("sys.stderr") as stderr:
                _engine.report(error, len)
        text = "".join(call.args[0] for call in stderr.write.call_args_list)
        self.assertIn("Exception ignored in asock callback", text)
        self.assertIn("LookupError: mine", text)

    def test_ctrl_c_inside_poll_reaches_the_caller_and_loses_nothing(self) -> None:
        called: List[int] = []

        def on_receive(result: asock.AsyncResult[bytes]) -> None:
            called.append(result.state)
            if len(called) == 3:
                raise KeyboardInterrupt

        with serving(echo) as address, asock.Runtime(threaded=False) as runtime, asock.Socket(runtime) as client:
            client.end_connect(client.begin_connect(*address))
            results = [client.begin_receive(1, on_receive, n) for n in range(6)]
            client.begin_send(b"123456")
            self.assertTrue(results[-1].wait(LIMIT))
            with self.assertRaises(KeyboardInterrupt):
                runtime.poll()
            self.assertEqual(runtime.poll(), 3)
        self.assertEqual(called, list(range(6)))

    def test_limits_of_a_poll(self) -> None:
        with asock.Runtime(threaded=False) as runtime, asock.Socket(runtime) as client:
            results = [client.begin_receive(1, lambda _: time.sleep(0.01)) for _ in range(6)]
            for result in results:
                self.assertTrue(result.wait(LIMIT))
            self.assertEqual(runtime.poll(0, 2), 2)
            self.assertEqual(runtime.poll(0, budget=0.005), 1)
            self.assertEqual(runtime.poll(), 3)
            self.assertEqual(runtime.poll(0.01), 0)

    def test_the_descriptor_is_readable_while_a_callback_waits_for_a_poll(self) -> None:
        """Also of completions that a wait has taken, or that a poll at its limit has left: a loop would sleep on them."""

        def readable() -> bool:
            return bool(select.select([runtime], [], [], 0)[0])

        with asock.Runtime(threaded=False) as runtime, asock.Socket(runtime) as client:
            self.assertFalse(readable())
            called: List[object] = []
            results = [client.begin_receive(1, called.append) for _ in range(2)]
            self.assertTrue(results[-1].wait(LIMIT))
            self.assertTrue(readable(), "a wait has taken both")
            self.assertEqual(runtime.poll(0, 1), 1)
            self.assertTrue(readable(), "a poll has left one")
            self.assertEqual(runtime.poll(), 1)
            self.assertFalse(readable())
            self.assertEqual(called, results)

    def test_the_descriptor_is_readable_though_another_thread_waits(self) -> None:
        """It takes what has ended for the loop that watches, and may go on to wait for long."""
        with serving(silent) as address, asock.Runtime(threaded=False) as runtime:
            with asock.Socket(runtime) as client, asock.Socket(runtime) as other:
                client.end_connect(client.begin_connect(*address))
                slow = client.begin_receive(1)
                self.assertFalse(select.select([runtime], [], [], 0)[0])
                thread = threading.Thread(target=slow.wait)
                thread.start()
                quick = other.begin_receive(1, lambda _: None)
                self.assertTrue(eventually(lambda: quick.is_completed))
                self.assertTrue(select.select([runtime], [], [], LIMIT)[0])
                self.assertEqual(runtime.poll(), 1)
                self.assertFalse(slow.is_completed)
                slow.cancel()
                thread.join(LIMIT)
                self.assertFalse(thread.is_alive())

    def test_a_poll_that_was_woken_before_takes_what_has_ended(self) -> None:
        with asock.Runtime(threaded=False) as runtime, asock.Socket(runtime) as client:
            result = client.begin_receive(1, lambda _: None)
            self.assertTrue(select.select([runtime], [], [], LIMIT)[0])
            self.assertFalse(result.is_completed, "nothing has taken it")
            runtime.wake()
            self.assertEqual(runtime.poll(), 1)

    def test_a_wake_inside_a_callback_is_for_the_next_poll(self) -> None:
        with asock.Runtime(threaded=False) as runtime, asock.Socket(runtime) as client:
            self.assertTrue(client.begin_receive(1, lambda _: runtime.wake()).wait(LIMIT))
            self.assertEqual(runtime.poll(), 1)
            self.assertTrue(client.begin_receive(1).wait(LIMIT), "a wait in between ends nothing of it")
            self.assertTrue(select.select([runtime], [], [], 0)[0], "and hides nothing of it")
            began = time.monotonic()
            self.assertEqual(runtime.poll(LIMIT), 0)
            self.assertLess(time.monotonic() - began, LIMIT / 2)

    def test_one_thread_polls_at_a_time(self) -> None:
        caught: List[asock.Error] = []

        def nested(_: object) -> None:
            for call in (runtime.poll, runtime.stop):
                try:
                    call()
                except asock.Error as error:
                    caught.append(error)

        with asock.Runtime(threaded=False) as runtime, asock.Socket(runtime) as client:
            client.begin_receive(1, nested).wait(LIMIT)
            self.assertEqual(runtime.poll(), 1)
            self.assertEqual([error.status for error in caught], [Status.WOULD_DEADLOCK] * 2)

            def poll() -> None:
                while True:
                    try:
                        runtime.poll(None)
                        break
                    except RuntimeError:
                        pass  # The look below is the one that polls just now.

            thread = threading.Thread(target=poll)
            thread.start()
            statuses: List[int] = []

            def refused() -> bool:
                try:
                    runtime.poll()
                except RuntimeError as error:
                    statuses.append(getattr(error, "status"))
                return bool(statuses)

            self.assertTrue(eventually(refused))
            self.assertEqual(statuses, [Status.INVALID_STATE])
            runtime.wake()
            thread.join(LIMIT)
            self.assertFalse(thread.is_alive())


class Ends(unittest.TestCase):
    def test_a_stop_ends_what_is_pending_and_runs_its_callbacks(self) -> None:
        for threaded in (True, False):
            with self.subTest(threaded=threaded), serving(silent) as address:
                runtime = asock.Runtime(threaded=threaded)
                client = asock.Socket(runtime)
                client.end_connect(client.begin_connect(*address))
                ended: List[object] = []
                results = [client.begin_receive(10, ended.append) for _ in range(600)]
                runtime.stop()
                self.assertEqual(len(ended), 600)
                for result in results:
                    with self.assertRaises(RuntimeError) as caught:
                        client.end_receive(result)
                    self.assertEqual(getattr(caught.exception, "status"), Status.STOPPED)
                for call in (lambda: client.begin_send(b"x"), lambda: asock.Socket(runtime)):
                    with self.assertRaises(RuntimeError):
                        call()
                client.close()
                threads = [thread for thread in threading.enumerate() if thread.name == "asock"]
                self.assertLessEqual(len(threads), 1, "the default runtime's own")

    def test_a_stop_ends_waits_on_other_threads(self) -> None:
        for threaded in (True, False):
            with self.subTest(threaded=threaded), serving(silent) as address:
                runtime = asock.Runtime(threaded=threaded)
                client = asock.Socket(runtime)
                client.end_connect(client.begin_connect(*address))
                results = [client.begin_receive(10) for _ in range(8)]
                threads = [threading.Thread(target=result.wait) for result in results]
                for thread in threads:
                    thread.start()
                runtime.stop()
                for thread in threads:
                    thread.join(LIMIT)
                    self.assertFalse(thread.is_alive())
                client.close()

    def test_two_threads_stop_one_runtime(self) -> None:
        for threaded in (True, False):
            runtime = asock.Runtime(threaded=threaded)
            threads = [threading.Thread(target=runtime.stop) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(LIMIT)
                self.assertFalse(thread.is_alive())
            self.assertTrue(runtime.stopped)

    def test_exactly_once(self) -> None:
        """Random begins, cancels, time-outs and closes on four threads: each operation that was begun ends once."""
        for threaded in (True, False):
            for seed in range(6):
                with self.subTest(threaded=threaded, seed=seed), serving(echo) as good, serving(silent) as mute:
                    self.storm(threaded, seed, [good, mute, ("127.0.0.1", closed_port())])

    def storm(self, threaded: bool, seed: int, addresses: "List[tuple[str, int]]") -> None:
        runtime = asock.Runtime(threaded=threaded)
        begun: List[List[asock.AsyncResult[Any]]] = [[] for _ in range(4)]
        ended: "Counter[tuple[int, int]]" = Counter()

        def more(dice: random.Random, begin: Callable[..., None], client: asock.Socket) -> None:
            move = dice.randrange(6)
            size = dice.randrange(1, 5000)
            if move == 0:
                begin(listener.begin_accept)
            elif move == 1:
                begin(client.begin_send_vectored, [bytearray(size), bytearray(3)])
            elif move == 2:
                begin(client.begin_receive_vectored, [bytearray(size), bytearray(3)])
            elif move == 3:
                begin(client.begin_send_file, file, offset=size)
            elif move == 4:
                begin(box.begin_send_to, bytearray(size), box.local_address)
            else:
                begin(dice.choice([box.begin_receive_from, box.begin_receive]), size)

        listener, box = asock.Socket(runtime), asock.Socket(runtime, type=asock.SocketType.DATAGRAM)
        listener.bind("127.0.0.1")
        listener.listen()
        assert listener.local_address is not None
        addresses = [*addresses, listener.local_address]
        box.bind("127.0.0.1")
        file = open(__file__, "rb")

        def play(player: int) -> None:
            dice = random.Random(seed * 1000 + player)
            mine = begun[player]
            sockets = [asock.Socket(runtime) for _ in range(3)]

            def callback(result: asock.AsyncResult[Any]) -> None:
                ended[result.state] += 1

            def begin(function: Callable[..., asock.AsyncResult[Any]], *arguments: object, **others: int) -> None:
                mine.append(function(*arguments, callback, (player, len(mine)), **others))

            for _ in range(250):
                index = dice.randrange(3)
                client = sockets[index]
                move = dice.randrange(16)
                if move < 2:
                    begin(client.begin_connect, *dice.choice(addresses))
                elif move >= 12:
                    more(dice, begin, client)
                elif move < 5:
                    begin(client.begin_send, bytearray(dice.randrange(1, 50_000)))
                elif move < 7:
                    begin(client.begin_receive, dice.randrange(1, 5000))
                elif move < 8:
                    begin(client.begin_receive_into, bytearray(dice.randrange(1, 5000)))
                elif move < 10 and mine:
                    dice.choice(mine).cancel()
                elif move < 11 and mine:
                    dice.choice(mine).set_timeout(dice.choice([0, 0.001, None]))
                elif dice.random() < 0.5:
                    client.close()
                    sockets[index] = asock.Socket(runtime)
                else:
                    begin(client.begin_close)
                    sockets[index] = asock.Socket(runtime)
            for client in sockets:
                client.close()

        threads = [threading.Thread(target=play, args=(player,)) for player in range(4)]
        for thread in threads:
            thread.start()
        while not threaded and any(thread.is_alive() for thread in threads):
            runtime.poll(0.01)
        for thread in threads:
            thread.join(LIMIT)
        if not threaded:
            runtime.poll(0.01)
        runtime.stop()
        for shared in (listener, box, file):
            shared.close()
        results = [result for mine in begun for result in mine]
        for result in results:
            if result._kind == _abi.ASOCK_KIND_ACCEPT and isinstance(result._value, asock.Socket):
                result._value.close()  # Else each of them warns that nobody has closed it.
        self.assertGreater(len(results), 500)
        self.assertTrue(all(result.is_completed for result in results))
        expected: Set[Any] = {result.state for result in results}
        self.assertEqual(set(ended), expected)
        self.assertEqual(set(ended.values()), {1})
        for result in results:
            self.assertIsNone(result._memory, "the buffer was given back")


class Collection(unittest.TestCase):
    def test_a_result_that_nobody_keeps_keeps_what_it_needs(self) -> None:
        with serving(echo) as address, asock.Socket() as client:
            client.end_connect(client.begin_connect(*address))
            for _ in range(200):
                client.begin_receive_into(bytearray(1000))
                client.begin_send(bytearray(b"x" * 1000))
                if _ % 20 == 0:
                    gc.collect()
            client.end_send(client.begin_send(b"y"))
        self.assertTrue(eventually(lambda: not client._engine.pending))

    def test_an_unreferenced_socket_is_closed_with_a_warning(self) -> None:
        with serving(silent) as address:
            client = asock.Socket()
            client.end_connect(client.begin_connect(*address))
            pending = client.begin_receive(10)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                del client
                gc.collect()
            self.assertEqual([warning.category for warning in caught], [ResourceWarning])
            self.assertIn("unclosed <asock.Socket", str(caught[0].message))
            self.assertTrue(pending.wait(LIMIT))

    def test_nothing_is_left_of_a_socket_in_a_cycle_with_its_callback(self) -> None:
        class Client:
            def __init__(self, address: "tuple[str, int]") -> None:
                self.socket = asock.Socket()
                self.socket.begin_connect(*address, self.on_connect)

            def on_connect(self, result: asock.AsyncResult[None]) -> None:
                self.socket.close()

        with serving(silent) as address:
            client = Client(address)
            gone = weakref.ref(client)
            del client

            def collected() -> bool:
                gc.collect()
                return gone() is None

            self.assertTrue(eventually(collected))

    def test_the_idle_thread_keeps_no_result_alive(self) -> None:
        class State:
            pass

        state = State()
        gone = weakref.ref(state)
        with asock.Socket() as client:
            client.begin_receive(1, lambda _: None, state).wait(LIMIT)
            del state
            self.assertTrue(eventually(lambda: gone() is None))

    def test_an_unreferenced_runtime_is_stopped_with_a_warning(self) -> None:
        for threaded in (True, False):
            with self.subTest(threaded=threaded), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                runtime = asock.Runtime(threaded=threaded)
                client = asock.Socket(runtime)
                result = client.begin_connect("127.0.0.1", closed_port())
                engine = runtime._started
                del runtime
                gc.collect()
                self.assertFalse(engine.stopped, "a socket keeps its runtime")
                client.close()
                del client
                gc.collect()
                self.assertEqual([warning.category for warning in caught], [ResourceWarning])
                self.assertTrue(engine.stopped)
                self.assertTrue(result.wait(LIMIT))
                self.assertTrue(eventually(lambda: engine not in _engine._engines))

    def test_buffers_do_not_leak(self) -> None:
        data = bytearray(100)
        before = sys.getrefcount(data)
        with serving(echo) as address, asock.Socket() as client:
            client.end_connect(client.begin_connect(*address))
            for _ in range(100):
                client.end_send(client.begin_send(data))
                client.end_receive(client.begin_receive_into(data))
        self.assertEqual(sys.getrefcount(data), before)
        data.append(1)


if __name__ == "__main__":
    unittest.main()
