"""Runtimes: the default one, and those of one's own."""

from __future__ import annotations

import enum
import threading
import warnings
from ctypes import byref, c_int64, sizeof
from types import TracebackType
from typing import Any, NamedTuple, Optional, Type

from . import _abi, _check
from ._engine import Engine, PollEngine, ThreadEngine, after_fork
from ._errors import Status, error_of

_U32 = 2**32 - 1


class Backend(enum.IntEnum):
    """How the library waits for the system."""

    AUTO = _abi.ASOCK_BACKEND_AUTO
    EPOLL = _abi.ASOCK_BACKEND_EPOLL
    IO_URING = _abi.ASOCK_BACKEND_IO_URING
    KQUEUE = _abi.ASOCK_BACKEND_KQUEUE
    IOCP = _abi.ASOCK_BACKEND_IOCP


class Stats(NamedTuple):
    """Counters of a runtime since its start."""

    operations_begun: int
    operations_completed: int
    operations_pending: int
    bytes_sent: int
    bytes_received: int
    sockets_open: int
    wake_ups: int
    backend: Backend
    workers: int


class Runtime:
    """Sockets, the thread of the library that owns them, and their completions.

    Most programs need none: sockets use `default_runtime()`. A runtime of one's own can be stopped by itself, and with
    `threaded=False` it has no Python thread: callbacks then run inside `poll`, on the caller's thread, as the main loop
    of a game wants it.
    """

    _engine: Optional[Engine] = None

    def __init__(
        self,
        *,
        threaded: bool = True,
        backend: Backend = Backend.AUTO,
        workers: int = 1,
        resolvers: int = 0,
        max_sockets: int = 0,
        spin: float = 0.0,
    ) -> None:
        config = _abi.asock_runtime_config()
        config.size = sizeof(config)
        config.delivery = _abi.ASOCK_DELIVER_ON_POLL
        try:
            config.backend = Backend(backend)
        except ValueError:
            raise ValueError(f"backend must be one of asock.Backend, not {backend!r}") from None
        config.workers = _check.number(workers, "workers", 1, _U32)
        config.resolvers = _check.number(resolvers, "resolvers", 0, _U32)
        config.max_sockets = _check.number(max_sockets, "max_sockets", 0, _U32)
        spin_s = _check.seconds(spin, "spin")
        if spin_s is None or spin_s * 1e6 > _U32:
            raise ValueError(f"spin must be a short time in seconds, such as 0.00005, not {spin!r}")
        config.spin_us = round(spin_s * 1e6)
        self._engine = ThreadEngine(config) if threaded else PollEngine(config)

    @property
    def stopped(self) -> bool:
        return self._started.stopped

    @property
    def threaded(self) -> bool:
        return isinstance(self._started, ThreadEngine)

    @property
    def _started(self) -> Engine:
        engine = self._engine
        assert engine is not None, "Runtime.__init__ was not called, or failed"
        return engine

    def _polled(self, what: str) -> PollEngine:
        engine = self._started
        if not isinstance(engine, PollEngine):
            raise error_of(
                Status.INVALID_STATE,
                what,
                advice="this runtime has a thread that runs the callbacks; make one with Runtime(threaded=False)",
            )
        return engine

    def poll(
        self,
        timeout: Optional[float] = 0.0,
        max_callbacks: Optional[int] = None,
        budget: Optional[float] = None,
    ) -> int:
        """Waits for completions, at most `timeout` seconds (None: no limit), and runs their callbacks on this thread.

        It runs at most `max_callbacks` of them, and begins none after `budget` seconds; the others wait for the next
        call. Returns how many callbacks it ran: 0 at the limit, woken by `wake`, or where what ended had none. An
        exception of a callback goes to sys.unraisablehook; KeyboardInterrupt and SystemExit come out of `poll`.
        """
        most = None if max_callbacks is None else _check.number(max_callbacks, "max_callbacks", 1, 2**62)
        limit = _check.seconds(timeout, "timeout")
        return self._polled("poll").poll(limit, most, _check.seconds(budget, "budget"))

    def wake(self) -> None:
        """Ends the `poll` that waits, or else the next one, early. From any thread."""
        self._polled("wake").wake()

    def fileno(self) -> int:
        """A descriptor that is readable while completions wait, for select and for loops such as asyncio's:
        `loop.add_reader(runtime, runtime.poll)`. It is the library's own: only wait for it, and take it out of the loop
        (`loop.remove_reader(runtime)`) before the runtime is stopped, which closes it."""
        number = c_int64()
        engine = self._polled("fileno")
        engine.watched = True
        status = _abi.library.asock_poll_fd(engine.handle, byref(number))
        if status != Status.OK:
            raise error_of(self._started.cause(status), "fileno")
        return int(number.value)

    def stats(self) -> Stats:
        stats = _abi.asock_stats()
        stats.size = sizeof(stats)
        status = _abi.library.asock_runtime_stats(self._started.handle, byref(stats))
        if status != Status.OK:
            raise error_of(self._started.cause(status), "stats")
        return Stats(
            stats.operations_begun,
            stats.operations_completed,
            stats.operations_pending,
            stats.bytes_sent,
            stats.bytes_received,
            stats.sockets_open,
            stats.wake_ups,
            Backend(stats.backend),
            stats.workers,
        )

    def stop(self) -> None:
        """Ends the runtime: what is pending ends with status STOPPED and its callbacks run, then the sockets are closed.

        It waits for a callback that runs, and for nothing else. Inside a callback it raises a RuntimeError. Stopping
        again does nothing.
        """
        self._started.stop()

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.stop()

    def __del__(self, _warn: Any = warnings.warn) -> None:
        engine = self._engine
        if engine is not None and not engine.stopped:
            _warn(f"unstopped {self!r}", ResourceWarning, source=self)
            engine.abandon_runtime()

    def __repr__(self) -> str:
        engine = self._engine
        if engine is None:
            return "<asock.Runtime: not started>"
        kind = "threaded" if isinstance(engine, ThreadEngine) else "polled"
        return f"<asock.Runtime {engine.handle:#x}: {kind}, {'stopped' if engine.stopped else 'running'}>"

    def __reduce__(self) -> Any:
        raise TypeError("an asock.Runtime cannot be pickled: it belongs to this process; start one in the other process")


_default: Optional[Runtime] = None
_default_lock = threading.Lock()


def default_runtime() -> Runtime:
    """The runtime of sockets that were given none. It is started on first use, and again after it was stopped."""
    global _default
    with _default_lock:
        if _default is None or _default.stopped:
            _default = Runtime()
        return _default


def _after_fork_in_child() -> None:
    global _default, _default_lock
    _default = None
    _default_lock = threading.Lock()


after_fork.append(_after_fork_in_child)
