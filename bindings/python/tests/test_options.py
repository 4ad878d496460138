"""Options, addresses, counters."""

from __future__ import annotations

import socket
import unittest

import asock
from asock._address import read_address, write_address

from .support import echo, serving


class Options(unittest.TestCase):
    def test_each_is_read_back_before_and_after_the_connect(self) -> None:
        values = {
            "nodelay": False,
            "keepalive": True,
            "keepalive_idle": 33,
            "keepalive_interval": 7,
            "keepalive_count": 4,
            "linger": 3,
            "reuse_address": True,
            "ttl": 55,
            "connect_timeout": 1.5,
            "send_timeout": 0.25,
            "receive_timeout": 60.0,
            "accept_timeout": 0.5,
            "send_queue_limit": 12345,
        }
        with serving(echo) as address, asock.Socket() as client:
            self.assertEqual((client.nodelay, client.linger, client.receive_timeout), (True, None, None))
            for name, value in values.items():
                setattr(client, name, value)
            for _ in range(2):
                for name, value in values.items():
                    self.assertEqual(getattr(client, name), value, name)
                if client.remote_address is None:
                    client.end_connect(client.begin_connect(*address))
            self.assertEqual(client.send_queued, 0)
            client.linger = None
            self.assertIsNone(client.linger)
            client.send_queue_limit = None
            self.assertIsNone(client.send_queue_limit)
            client.receive_buffer_size = 50_000
            self.assertGreaterEqual(client.receive_buffer_size, 50_000)

    def test_a_time_out_is_rounded_up(self) -> None:
        with asock.Socket() as client:
            client.receive_timeout = 0.0001
            self.assertEqual(client.receive_timeout, 0.001)

    def test_options_are_documented(self) -> None:
        self.assertIn("Seconds", str(asock.Socket.receive_timeout.__doc__))


class Addresses(unittest.TestCase):
    def test_of_both_families(self) -> None:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with self.subTest(host=host), socket.socket(family) as listener, asock.Socket() as client:
                try:
                    listener.bind((host, 0))
                except OSError as error:
                    self.skipTest(f"this machine has no {host}: {error}")
                listener.listen()
                port = listener.getsockname()[1]
                self.assertIsNone(client.local_address)
                self.assertIsNone(client.remote_address)
                client.end_connect(client.begin_connect(host, port))
                self.assertEqual(client.remote_address, (host, port))
                peer, address = listener.accept()
                peer.close()
                self.assertEqual(client.local_address, address[:2])
                bracketed = f"[{host}]" if ":" in host else host
                self.assertEqual(str(client.remote_address), f"{bracketed}:{port}")

    def test_an_address_can_be_connected_to(self) -> None:
        with serving(echo) as address, asock.Socket() as one, asock.Socket() as two:
            one.end_connect(one.begin_connect(*address))
            assert one.remote_address is not None
            two.end_connect(two.begin_connect(*one.remote_address))

    def test_there_and_back(self) -> None:
        for given, expected in (
            (("127.0.0.1", 80), ("127.0.0.1", 80)),
            (asock.Address("::1", 65535), ("::1", 65535)),
            (("fe80::1", 80, 0, 1), ("fe80::1%1", 80)),
            (("fe80::1%1", 80), ("fe80::1%1", 80)),
            (("unix:/path", 0), ("unix:/path", 0)),
            (("unix:@name", 0), ("unix:@name", 0)),
        ):
            self.assertEqual(read_address(write_address(given, "test")), expected)


class Runtimes(unittest.TestCase):
    def test_counters(self) -> None:
        with serving(echo) as address, asock.Runtime() as runtime, asock.Socket(runtime) as client:
            client.end_connect(client.begin_connect(*address))
            client.end_send(client.begin_send(b"12345"))
            client.end_receive(client.begin_receive(5, flags=asock.ReceiveFlag.ALL))
            stats = runtime.stats()
            self.assertEqual((stats.bytes_sent, stats.bytes_received, stats.sockets_open), (5, 5, 1))
            self.assertEqual((stats.operations_begun, stats.operations_completed), (3, 3))
            self.assertEqual((client.runtime, runtime.stopped), (runtime, False))
        self.assertTrue(runtime.stopped)
        runtime.stop()

    def test_the_default_runtime_starts_anew(self) -> None:
        first = asock.default_runtime()
        self.assertIs(first, asock.default_runtime())
        first.stop()
        second = asock.default_runtime()
        self.assertIsNot(first, second)
        self.assertFalse(second.stopped)


if __name__ == "__main__":
    unittest.main()
