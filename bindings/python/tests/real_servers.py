#!/usr/bin/env python3
"""A client for real servers, with the arguments of tests/servers/client.c, so that .ci/servers runs it in its place.

Usage: real_servers.py callback|poll download HOST PORT PATH SIZE PENDING    writes the body to standard output
       real_servers.py callback|poll pairs HOST PORT COUNT                   pipelined SET and GET of redis

`callback` runs on the default runtime and its thread, `poll` on a runtime that the main thread polls.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from pathlib import Path
from typing import Callable, Deque, Optional, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import asock  # noqa: E402

T = TypeVar("T")

LIMIT_S = 240.0


class Job:
    """Something to be done on one connection; `finish` ends `run`."""

    def __init__(self, delivery: str, host: str, port: int) -> None:
        if delivery not in ("callback", "poll"):
            sys.exit(__doc__)
        self.runtime: Optional[asock.Runtime] = asock.Runtime(threaded=False) if delivery == "poll" else None
        self.client = asock.Socket(self.runtime)
        self.failure: Optional[BaseException] = None
        self.over = threading.Event()
        self.client.connect_timeout = self.client.receive_timeout = 60.0
        self.client.begin_connect(host, port, self.guarded(self.client.end_connect))

    def guarded(self, body: Callable[[asock.AsyncResult[T]], object]) -> Callable[[asock.AsyncResult[T]], None]:
        """A callback whose failure ends the job."""

        def callback(result: asock.AsyncResult[T]) -> None:
            try:
                if not self.over.is_set():
                    body(result)
            except BaseException as error:
                self.finish(error)

        return callback

    def finish(self, failure: Optional[BaseException] = None) -> None:
        if not self.over.is_set():
            self.failure = failure
            self.over.set()

    def run(self) -> None:
        if self.runtime is None:
            assert self.over.wait(LIMIT_S), "the limit of time passed"
        else:
            while not self.over.is_set():
                self.runtime.poll(1.0)
        self.client.close()
        if self.runtime is not None:
            self.runtime.stop()
        if self.failure is not None:
            raise self.failure


class Download(Job):
    """Fetches a file with several receives pending, each into a buffer of its own that is used again."""

    def __init__(self, delivery: str, host: str, port: int, path: str, size: int, pending: int) -> None:
        super().__init__(delivery, host, port)
        self.head: Optional[bytearray] = bytearray()
        self.left = 0
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        self.client.begin_send(request.encode(), self.guarded(self.client.end_send))
        self.on_receive = self.guarded(self.received)
        for _ in range(pending):
            buffer = bytearray(size)
            self.client.begin_receive_into(buffer, self.on_receive, buffer)

    def received(self, result: asock.AsyncResult[int]) -> None:
        count = self.client.end_receive(result)
        if count == 0:
            raise EOFError(f"the server closed {self.left} bytes early")
        with memoryview(result.state) as view:
            self.take(view[:count])
        if self.left == 0 and self.head is None:
            self.finish()
        else:
            self.client.begin_receive_into(result.state, self.on_receive, result.state)

    def take(self, piece: memoryview) -> None:
        if self.head is None:
            sys.stdout.buffer.write(piece)
            self.left -= len(piece)
            return
        self.head += piece
        end = self.head.find(b"\r\n\r\n")
        if end >= 0:
            lines = bytes(self.head[:end]).lower().split(b"\r\n")
            assert lines[0].split()[1] == b"200", lines[0]
            length = next(line for line in lines if line.startswith(b"content-length:"))
            body = bytes(self.head[end + 4 :])
            self.head = None
            self.left = int(length.split(b":")[1]) - len(body)
            sys.stdout.buffer.write(body)


class Pairs(Job):
    """Sets and gets keys, many under way at a time, and compares every reply."""

    AHEAD = 100

    def __init__(self, delivery: str, host: str, port: int, count: int) -> None:
        super().__init__(delivery, host, port)
        self.count = count
        self.begun = 0
        self.expected: Deque[bytes] = deque()
        self.text = bytearray()
        self.on_send = self.guarded(self.client.end_send)
        self.on_receive = self.guarded(self.received)
        while self.begun < min(self.AHEAD, count):
            self.begin_pair()
        for _ in range(4):
            self.client.begin_receive(4096, self.on_receive)

    def begin_pair(self) -> None:
        key, value = f"key-{self.begun}", f"value-{self.begun * 7919}"
        self.begun += 1
        command = f"*3\r\n$3\r\nSET\r\n${len(key)}\r\n{key}\r\n${len(value)}\r\n{value}\r\n"
        command += f"*2\r\n$3\r\nGET\r\n${len(key)}\r\n{key}\r\n"
        self.client.begin_send(command.encode(), self.on_send)
        self.expected.append(f"+OK\r\n${len(value)}\r\n{value}\r\n".encode())

    def received(self, result: asock.AsyncResult[bytes]) -> None:
        data = self.client.end_receive(result)
        if not data:
            raise EOFError("the server closed the connection")
        self.text += data
        while self.expected and len(self.text) >= len(self.expected[0]):
            expected = self.expected.popleft()
            reply = bytes(self.text[: len(expected)])
            if reply != expected:
                raise ValueError(f"{reply!r} came instead of {expected!r}")
            del self.text[: len(expected)]
            if self.begun < self.count:
                self.begin_pair()
        if self.expected:
            self.client.begin_receive(4096, self.on_receive)
        else:
            self.finish(ValueError(f"{bytes(self.text)!r} is too much") if self.text else None)


def main() -> None:
    if len(sys.argv) == 8 and sys.argv[2] == "download":
        delivery, _, host, port, path, size, pending = sys.argv[1:]
        Download(delivery, host, int(port), path, int(size), int(pending)).run()
        sys.stdout.buffer.flush()
        print("downloaded", file=sys.stderr)
    elif len(sys.argv) == 6 and sys.argv[2] == "pairs":
        delivery, _, host, port, count = sys.argv[1:]
        Pairs(delivery, host, int(port), int(count)).run()
        print(f"{count} pairs", file=sys.stderr)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
