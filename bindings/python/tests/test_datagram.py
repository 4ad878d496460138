"""Datagrams: to and from plain sockets, connected or not, over unix addresses, to groups."""

from __future__ import annotations

import errno
import random
import socket
import tempfile
import unittest
from typing import Any, List, Optional, Tuple

import asock
from asock import Status

from .support import LIMIT, WAYS, Refusal, assert_refused, outcome, runtime_for

DATAGRAM = asock.SocketType.DATAGRAM


def bound(runtime: Optional[asock.Runtime] = None, host: Optional[str] = "127.0.0.1") -> asock.Socket:
    made = asock.Socket(runtime, type=DATAGRAM)
    made.bind(host)
    return made


def address_of(made: asock.Socket) -> asock.Address:
    address = made.local_address
    assert address is not None
    return address


def plain(family: int = socket.AF_INET, host: str = "127.0.0.1") -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.settimeout(LIMIT)
    made.bind((host, 0))
    return made


class BothWays(unittest.TestCase):
    def test_in_every_way(self) -> None:
        for way in WAYS:
            with self.subTest(way=way), runtime_for(way) as runtime, bound(runtime) as ours, plain() as theirs:

                def to(callback: Any) -> asock.AsyncResult[int]:
                    return ours.begin_send_to(b"question", theirs.getsockname(), callback)

                def fill(callback: Any) -> asock.AsyncResult[Tuple[bytes, Optional[asock.Address]]]:
                    return ours.begin_receive_from(100, callback)

                self.assertEqual(outcome(way, runtime, to, ours.end_send_to), 8)
                question, sender = theirs.recvfrom(100)
                self.assertEqual((question, sender), (b"question", ours.local_address))
                got = outcome(way, runtime, fill, ours.end_receive_from, lambda: theirs.sendto(b"answer", sender))
                self.assertEqual(got, (b"answer", theirs.getsockname()))
                self.assertIsInstance(got[1], asock.Address)

                room = bytearray(10)

                def fill_room(callback: Any) -> asock.AsyncResult[Tuple[int, Optional[asock.Address]]]:
                    return ours.begin_receive_from_into(room, callback)

                count = outcome(way, runtime, fill_room, ours.end_receive_from, lambda: theirs.sendto(b"into", sender))
                self.assertEqual((count, bytes(room[:5])), ((4, theirs.getsockname()), b"into\0"))

    def test_many(self) -> None:
        """5,000 each way, a few under way at a time: none altered, none twice, each with its sender."""
        with bound() as ours, plain() as theirs:
            dice = random.Random(7)
            for first in range(0, 5000, 20):
                made = [b"%5d" % number + dice.randbytes(dice.randrange(500)) for number in range(first, first + 20)]
                receives = [ours.begin_receive_from(1000) for _ in made]
                for data in made:
                    theirs.sendto(data, address_of(ours))
                self.assertEqual([ours.end_receive_from(r) for r in receives], [(d, theirs.getsockname()) for d in made])
                for data in made:
                    ours.begin_send_to(data, theirs.getsockname())
                self.assertEqual([theirs.recv(1000) for _ in made], made)

    def test_between_two_of_ours(self) -> None:
        """Each is received before the next is sent, so none is lost on loopback."""
        with bound() as one, bound() as two:
            for number in range(300):
                data = random.Random(number).randbytes(number * 7)
                receive = two.begin_receive_from(3000)
                one.begin_send_to(data, address_of(two))
                self.assertEqual(two.end_receive_from(receive), (data, one.local_address))

    def test_a_sender_need_not_be_bound(self) -> None:
        with asock.Socket(type=DATAGRAM) as ours, plain() as theirs:
            self.assertIsNone(ours.local_address)
            buffer = bytearray(b"first")
            self.assertEqual(ours.end_send_to(ours.begin_send_to(buffer, theirs.getsockname())), 5)
            buffer.append(1)
            data, sender = theirs.recvfrom(10)
            self.assertEqual((data, sender[1]), (b"first", address_of(ours).port))
            copied = ours.begin_send_to(buffer, theirs.getsockname(), flags=asock.SendFlag.COPY)
            buffer.clear()
            ours.end_send_to(copied)
            self.assertEqual(theirs.recv(10), b"first\x01")

    def test_connected(self) -> None:
        with asock.Socket(type=DATAGRAM) as ours, plain() as theirs, plain() as stranger:
            ours.end_connect(ours.begin_connect(*theirs.getsockname()))
            self.assertEqual(ours.remote_address, theirs.getsockname())
            ours.begin_send(b"one")
            ours.begin_send_vectored([b"t", b"wo"])
            self.assertEqual([theirs.recv(9), theirs.recv(9)], [b"one", b"two"])
            stranger.sendto(b"not for it", address_of(ours))
            theirs.sendto(b"yes", address_of(ours))
            self.assertEqual(ours.end_receive(ours.begin_receive(9)), b"yes")

    def test_adopted_and_released(self) -> None:
        theirs = plain()
        name = theirs.getsockname()
        with asock.Socket.adopt(theirs) as ours, plain() as peer:
            peer.sendto(b"x", name)
            self.assertEqual(ours.end_receive_from(ours.begin_receive_from(9)), (b"x", peer.getsockname()))
            with ours.release() as again:
                self.assertEqual((again.type, again.getsockname()), (socket.SOCK_DGRAM, name))

    def test_both_families_on_one(self) -> None:
        with bound(host=None) as ours, plain() as four:
            port = address_of(ours).port
            four.sendto(b"4", ("127.0.0.1", port))
            data, sender = ours.end_receive_from(ours.begin_receive_from(9))
            assert sender is not None
            self.assertEqual((data, sender.port), (b"4", four.getsockname()[1]))
            ours.begin_send_to(b"back", sender)
            self.assertEqual(four.recv(9), b"back")
            try:
                six = plain(socket.AF_INET6, "::1")
            except OSError as error:
                self.skipTest(f"this machine has no ::1: {error}")
            with six:
                ours.begin_send_to(b"6", six.getsockname())  # Four of them, as the standard library has it.
                data, reply_to = six.recvfrom(9)
                self.assertEqual((data, reply_to[1]), (b"6", port))

    def test_unix(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            for host in (f"unix:{directory}/box", f"unix:@asock-python-{random.getrandbits(64):x}"):
                with self.subTest(host=host), bound(host=host) as box, asock.Socket(type=DATAGRAM) as nameless:
                    self.assertEqual(box.local_address, (host, 0))
                    nameless.end_send_to(nameless.begin_send_to(b"letter", address_of(box)))
                    receive = box.begin_receive_from(9)
                    self.assertEqual(box.end_receive_from(receive), (b"letter", ("unix:", 0)))
                    with bound(host=host + "2") as named:
                        named.begin_send_to(b"signed", address_of(box))
                        data, sender = box.end_receive_from(box.begin_receive_from(9))
                        self.assertEqual((data, sender), (b"signed", (host + "2", 0)))
                        assert sender is not None
                        box.begin_send_to(b"reply", sender)
                        self.assertEqual(named.end_receive(named.begin_receive(9)), b"reply")


class Edges(unittest.TestCase):
    def test_empty_and_larger_than_the_room(self) -> None:
        with bound() as ours, plain() as theirs:
            theirs.sendto(b"", address_of(ours))
            theirs.sendto(b"12345", address_of(ours))
            theirs.sendto(b"12345", address_of(ours))
            theirs.sendto(b"12345", address_of(ours))
            empty, cut, fits = ours.begin_receive_from(3), ours.begin_receive_from(3), ours.begin_receive_from(5)
            plainly = ours.begin_receive(4)
            self.assertEqual(ours.end_receive_from(empty), (b"", theirs.getsockname()))
            self.assertEqual(ours.end_receive_from(cut), (b"123", theirs.getsockname()))
            self.assertEqual(ours.end_receive_from(fits), (b"12345", theirs.getsockname()))
            self.assertEqual(ours.end_receive(plainly), b"1234")
            truncated = [result.truncated for result in (empty, cut, fits, plainly)]
            self.assertEqual(truncated, [False, True, False, True])
            ours.end_send_to(ours.begin_send_to(b"", theirs.getsockname()))
            self.assertEqual(theirs.recv(9), b"")

    def test_peek(self) -> None:
        with bound() as ours, plain() as theirs:
            theirs.sendto(b"x", address_of(ours))
            peek = ours.begin_receive_from(9, flags=asock.ReceiveFlag.PEEK)
            self.assertEqual(ours.end_receive_from(peek), (b"x", theirs.getsockname()))
            self.assertEqual(ours.end_receive_from(ours.begin_receive_from(9)), (b"x", theirs.getsockname()))

    def test_too_long(self) -> None:
        with bound() as ours, plain() as theirs:
            send = ours.begin_send_to(bytes(70_000), theirs.getsockname())
            with self.assertRaises(OSError) as caught:
                ours.end_send_to(send)
            self.assertEqual(caught.exception.errno, errno.EMSGSIZE)
            self.assertEqual(getattr(caught.exception, "status"), Status.MESSAGE_TOO_LONG)
            ours.begin_send_to(b"short", theirs.getsockname())
            self.assertEqual(theirs.recv(9), b"short")

    def test_nobody_listens(self) -> None:
        with asock.Socket(type=DATAGRAM) as ours, plain() as deaf:
            # It hears one only, who will never speak, and nobody else can have its port.
            deaf.connect(("127.0.0.9", deaf.getsockname()[1]))
            ours.end_connect(ours.begin_connect(*deaf.getsockname()))
            receive = ours.begin_receive(9)
            ours.begin_send(b"hello?")
            with self.assertRaises(ConnectionRefusedError):
                ours.end_receive(receive)

    def test_ends_that_are_none_of_the_network(self) -> None:
        for ending, status in (("close", Status.CLOSED), ("cancel", Status.CANCELED), ("time", Status.TIMED_OUT)):
            with self.subTest(ending=ending), bound() as ours:
                buffer = bytearray(10)
                results: List[asock.AsyncResult[Any]] = [ours.begin_receive_from(10), ours.begin_receive_from_into(buffer)]
                with self.assertRaises(BufferError):
                    buffer.append(1)
                for result in results:
                    if ending == "cancel":
                        result.cancel()
                    elif ending == "time":
                        result.set_timeout(0.01)
                if ending == "close":
                    ours.close()
                for result in results:
                    with self.assertRaises(asock.Error) as caught:
                        ours.end_receive_from(result)
                    self.assertEqual(caught.exception.status, status)
                buffer.append(1)

    def test_what_waits_to_be_sent_is_held(self) -> None:
        name = f"asock-python-{random.getrandbits(64):x}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full, asock.Socket(type=DATAGRAM) as ours:
            full.bind("\0" + name)
            data = bytearray(1000)
            results = [ours.begin_send_to(data, (f"unix:@{name}", 0)) for _ in range(3000)]
            self.assertTrue(results[0].wait(LIMIT))
            self.assertFalse(results[-1].is_completed, "nobody reads")
            with self.assertRaises(BufferError):
                data.append(1)
            ours.close()
            for result in results:
                self.assertTrue(result.wait(LIMIT))
            data.append(1)

    def test_what_is_refused(self) -> None:
        with bound() as ours, asock.Socket() as stream, asock.Socket(type=DATAGRAM) as unbound:
            here = address_of(ours)
            buffer = bytearray(4)
            receive = unbound.begin_receive_from(1)
            cases: List[Refusal] = [
                (lambda: ours.begin_send_to(buffer, "127.0.0.1:1"), TypeError, None),  # type: ignore[arg-type]
                (lambda: ours.begin_send_to(buffer, ("127.0.0.1",)), TypeError, None),
                (lambda: ours.begin_send_to(buffer, ("127.0.0.1", 0)), ValueError, None),
                (lambda: ours.begin_send_to(buffer, ("localhost", 1)), ValueError, Status.INVALID_ARGUMENT),
                (lambda: ours.begin_send_to("text", here), TypeError, None),
                (lambda: ours.begin_send_to(buffer, here, flags=64), ValueError, Status.INVALID_ARGUMENT),
                (lambda: stream.begin_send_to(buffer, here), ValueError, Status.INVALID_ARGUMENT),
                (lambda: stream.begin_receive_from(1), ValueError, Status.INVALID_ARGUMENT),
                (lambda: stream.begin_receive_from_into(buffer), ValueError, Status.INVALID_ARGUMENT),
                (lambda: ours.begin_receive_from(b"x"), TypeError, None),  # type: ignore[arg-type]
                (lambda: ours.begin_receive_from_into(b"x"), TypeError, None),
                (ours.listen, NotImplementedError, Status.NOT_SUPPORTED),
                (lambda: unbound.end_receive_from(receive), RuntimeError, Status.INVALID_STATE),
                (lambda: ours.end_receive(receive), ValueError, None),  # type: ignore[type-var]
                (lambda: ours.join_group("127.0.0.1"), ValueError, Status.INVALID_ARGUMENT),
                (lambda: ours.join_group("224.0.0.251", -1), ValueError, None),
                (lambda: ours.leave_group("224.0.0.251"), OSError, Status.ADDRESS_NOT_AVAILABLE),
                (lambda: unbound.join_group("224.0.0.251"), RuntimeError, Status.INVALID_STATE),
            ]
            assert_refused(self, cases)
            buffer.append(1)  # Nothing holds it.


class Groups(unittest.TestCase):
    GROUP = "239.255.77.1"

    def test_join_and_leave(self) -> None:
        loopback = socket.if_nametoindex("lo")
        with bound(host=None) as ours, asock.Socket(type=DATAGRAM) as sender:
            try:
                ours.join_group(self.GROUP, loopback)
            except OSError as error:
                self.skipTest(f"no multicast on loopback: {error}")
            with self.assertRaises(OSError) as caught:
                ours.join_group(self.GROUP, loopback)
            self.assertEqual(getattr(caught.exception, "status"), Status.ADDRESS_IN_USE)
            sender.multicast_interface = loopback
            sender.multicast_ttl = 0
            sender.bind("127.0.0.1")
            port = address_of(ours).port
            receive = ours.begin_receive_from(99)
            sender.end_send_to(sender.begin_send_to(b"to all", (self.GROUP, port)))
            data, address = ours.end_receive_from(receive)
            assert address is not None
            self.assertEqual((data, address.port), (b"to all", address_of(sender).port))
            ours.leave_group(self.GROUP, loopback)
            sender.end_send_to(sender.begin_send_to(b"gone", (self.GROUP, port)))
            sender.end_send_to(sender.begin_send_to(b"to one", ("127.0.0.1", port)))
            self.assertEqual(ours.end_receive_from(ours.begin_receive_from(99))[0], b"to one")

    def test_options(self) -> None:
        with asock.Socket(type=DATAGRAM) as ours:
            self.assertEqual((ours.broadcast, ours.multicast_loop, ours.multicast_ttl), (False, True, 1))
            self.assertEqual(ours.multicast_interface, 0)
            values = {"broadcast": True, "multicast_loop": False, "multicast_ttl": 3, "multicast_interface": 1}
            for name, value in values.items():
                setattr(ours, name, value)
            for _ in range(2):
                for name, value in values.items():
                    self.assertEqual(getattr(ours, name), value, name)
                if ours.local_address is None:
                    ours.bind("127.0.0.1")

    def test_a_broadcast_has_to_be_permitted(self) -> None:
        with asock.Socket(type=DATAGRAM) as ours:
            send = ours.begin_send_to(b"x", ("127.255.255.255", 9))
            with self.assertRaises(PermissionError):
                ours.end_send_to(send)


if __name__ == "__main__":
    unittest.main()
