"""Peers on loopback for the tests, built on the standard library's blocking sockets and threads, and small helpers.

Each peer listens on a port of its own choosing and ends with its block; the peers do not use asock.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, List, Optional, Tuple, TypeVar

import asock

#: Generous: a test that meets it has failed.
LIMIT = 60.0

PACKAGE = Path(__file__).resolve().parents[1]

T = TypeVar("T")

#: The ways in which a program may learn of the end of an operation.
WAYS = ("end", "callback", "poll", "await")

Serve = Callable[[socket.socket], None]

#: A call that is refused, with an exception of that type, and of the library's with that status.
Refusal = Tuple[Callable[[], object], type, Optional[asock.Status]]


@contextlib.contextmanager
def serving(serve: Serve) -> Iterator[Tuple[str, int]]:
    """Runs `serve` on a thread per connection, until the end of the block."""
    ended = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    threads: List[threading.Thread] = []
    connections: List[socket.socket] = []

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if serve is silent:
                ended.wait()
            else:
                serve(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
                threads[-1].start()

    accepter = threading.Thread(target=accept, daemon=True)
    accepter.start()
    try:
        yield listener.getsockname()
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepter.join(LIMIT)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(LIMIT)


def echo(connection: socket.socket) -> None:
    while True:
        data = connection.recv(1 << 18)
        if not data:
            break
        connection.sendall(data)


def silent(_: socket.socket) -> None:
    """Neither reads nor writes, until the block ends."""


def resetting(connection: socket.socket) -> None:
    """Waits for one byte and answers with a reset."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@functools.lru_cache(maxsize=None)
def closed_port() -> int:
    """A port where nobody listens, and which nobody can take meanwhile: it stays bound."""
    kept = socket.socket()
    atexit.register(kept.close)
    kept.bind(("127.0.0.1", 0))
    return int(kept.getsockname()[1])


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def runtime_for(way: str) -> asock.Runtime:
    return asock.Runtime(threaded=way != "poll")


def outcome(
    way: str,
    runtime: asock.Runtime,
    begin: Callable[[Optional[Callable[[asock.AsyncResult[T]], object]]], asock.AsyncResult[T]],
    end: Callable[[asock.AsyncResult[T]], T],
    then: Callable[[], object] = lambda: None,
) -> T:
    """Begins an operation, does `then`, and takes the outcome in one of the `WAYS`. A failure is raised."""
    if way == "end":
        result = begin(None)
        then()
        return end(result)
    if way == "await":

        async def wait() -> T:
            pending = begin(None)
            then()
            return await pending

        return asyncio.run(wait())
    ended: List[Callable[[], T]] = []
    done = threading.Event()

    def on_end(result: asock.AsyncResult[T]) -> None:
        try:
            value = end(result)
            ended.append(lambda: value)
        except asock.Error as error:
            ended.append(lambda failed=error: raised(failed))  # type: ignore[misc]
        done.set()

    begin(on_end)
    then()
    if way == "poll":
        limit = time.monotonic() + LIMIT
        while not done.is_set() and time.monotonic() < limit:
            runtime.poll(1.0)
    assert done.wait(LIMIT), "no callback"
    assert len(ended) == 1, "one callback"
    return ended[0]()


def assert_refused(test: unittest.TestCase, cases: Iterable[Refusal]) -> None:
    for number, (call, kind, status) in enumerate(cases):
        with test.subTest(case=number):
            try:
                call()
            except Exception as error:
                test.assertIsInstance(error, kind)
                test.assertEqual(getattr(error, "status", None), status)
                test.assertEqual(isinstance(error, asock.Error), status is not None)
            else:
                test.fail("not refused")


def raised(error: BaseException) -> Any:
    raise error


def run(script: str, *arguments: str, flags: Tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    """Runs a script in an interpreter of its own, the same version as this one."""
    return subprocess.run(
        [sys.executable, *flags, "-c", script, *arguments],
        cwd=PACKAGE,
        capture_output=True,
        text=True,
        timeout=2 * LIMIT,
        check=False,
    )
