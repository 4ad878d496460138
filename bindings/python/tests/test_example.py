"""The example and the README's program do what they say, run from their own text."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import signal
import socket
import subprocess
import sys
import unittest
from typing import List

from .support import LIMIT, PACKAGE, closed_port, echo, eventually, resetting, run, serving


class Examples(unittest.TestCase):
    @staticmethod
    def async_client(host: str, port: int) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, str(PACKAGE / "examples" / "async_client.py"), host, str(port)],
            env={**os.environ, "PYTHONPATH": str(PACKAGE)},
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    def test_async_client(self) -> None:
        with serving(echo) as (host, port):
            done = self.async_client(host, port)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(
            done.stdout,
            f"Socket connected to {host}:{port}\n"
            "Sent 19 bytes to server.\n"
            "Response received : This is a test<EOF>\n",
        )

    def test_async_client_says_what_went_wrong(self) -> None:
        port = closed_port()
        done = self.async_client("127.0.0.1", port)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, f"[Errno {errno.ECONNREFUSED}] connect to 127.0.0.1:{port}: connection refused\n")
        with serving(resetting) as address:
            done = self.async_client(*address)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\A\[Errno \d+\] .+\n\Z")

    def test_echo_server(self) -> None:
        command = [sys.executable, "-W", "error", str(PACKAGE / "examples" / "echo_server.py"), "127.0.0.1", "0"]
        with subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(PACKAGE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as server:
            try:
                assert server.stdout is not None
                first = server.stdout.readline()
                found = re.fullmatch(r"Listening on (127\.0\.0\.1):(\d+)\n", first)
                assert found, first
                address = found[1], int(found[2])
                clients = [socket.create_connection(address) for _ in range(100)]
                told = [random.Random(number).randbytes(1 + number * 50) for number in range(100)]
                for client, data in zip(clients, told):
                    client.sendall(data)
                for client, data in zip(clients, told):
                    self.assertEqual(client.recv(len(data), socket.MSG_WAITALL), data)
                for client in clients[:50]:  # The others are still there when the server ends.
                    client.shutdown(socket.SHUT_WR)
                    self.assertEqual(client.recv(1), b"")
                server.send_signal(signal.SIGINT)
                output, errors = server.communicate(timeout=LIMIT)
                self.assertEqual((server.returncode, output, errors), (0, "", ""))
                for client in clients:
                    self.assertEqual(client.recv(1), b"")
                    client.close()
            finally:
                server.kill()

    def test_the_readme(self) -> None:
        text = (PACKAGE / "README.md").read_text(encoding="utf-8")
        program = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
        self.assertIn("11000", program)
        with serving(echo) as (_, port):
            done = run(program.replace("11000", str(port)))
        self.assertEqual((done.returncode, done.stderr, done.stdout), (0, "", "b'This is a test<EOF>'\n"))

    def test_the_server_of_the_readme(self) -> None:
        text = (PACKAGE / "README.md").read_text(encoding="utf-8")
        program = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[1]
        self.assertIn('"127.0.0.1", 11000', program)
        # An address of loopback that no other test uses: nobody takes its port before the server does.
        with socket.socket() as probe:
            probe.bind(("127.0.0.88", 0))
            address = probe.getsockname()
        program = program.replace('"127.0.0.1", 11000', f'"{address[0]}", {address[1]}')
        command = [sys.executable, "-W", "error", "-c", program]
        with subprocess.Popen(command, cwd=PACKAGE) as server:
            try:
                clients: List[socket.socket] = []

                def answers() -> bool:
                    with contextlib.suppress(ConnectionRefusedError):
                        clients.append(socket.create_connection(address))
                    return bool(clients)

                self.assertTrue(eventually(answers))
                clients.append(socket.create_connection(address))
                for client, data in zip(clients, (b"x" * 9000, b"y")):
                    client.sendall(data)
                    self.assertEqual(client.recv(len(data), socket.MSG_WAITALL), data)
                    client.close()
                self.assertIsNone(server.poll())
            finally:
                server.kill()


if __name__ == "__main__":
    unittest.main()
