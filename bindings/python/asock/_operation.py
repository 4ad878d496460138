"""One operation, as Python sees it."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import TYPE_CHECKING, Any, Callable, Generator, Generic, List, Optional, Protocol, TypeVar, Union, cast

from . import _abi, _check
from ._errors import Status, error_of

if TYPE_CHECKING:
    from ._engine import Engine

T = TypeVar("T")

_NAMES = {
    _abi.ASOCK_KIND_CONNECT: "connect",
    _abi.ASOCK_KIND_SEND: "send",
    _abi.ASOCK_KIND_RECEIVE: "receive",
    _abi.ASOCK_KIND_ACCEPT: "accept",
    _abi.ASOCK_KIND_SEND_TO: "send_to",
    _abi.ASOCK_KIND_RECEIVE_FROM: "receive_from",
    _abi.ASOCK_KIND_CLOSE: "close",
}
_SENDS = (_abi.ASOCK_KIND_SEND, _abi.ASOCK_KIND_SEND_TO)


class Held(Protocol):
    """What an operation holds until it has ended: memory that the library uses, or a place for what comes of it."""

    def finish(self, transferred: int, value: int) -> object:
        """Gives back what is held, and returns the outcome; harmless when repeated."""


Memory = Union[None, bytes, Held]


class AsyncResult(Generic[T]):
    """What a `begin_...` call returns, and what its callback is given: an operation that ends exactly once.

    Pass it to the `end_...` method of its kind, which waits if need be and returns the outcome or raises the failure.
    Any thread may use it, several at a time. In a coroutine, `await` it for the same outcome. An await that is canceled
    cancels the operation, and lasts until that has ended.
    """

    __slots__ = (
        "state",
        "_engine",
        "_socket",
        "_kind",
        "_what",
        "_callback",
        "_memory",
        "_op",
        "_done",
        "_status",
        "_os_error",
        "_transferred",
        "_flags",
        "_value",
        "_event",
        "_awaiters",
        "__weakref__",
    )

    #: The `state` given to the `begin_...` call.
    state: Any

    def __init__(
        self,
        engine: Engine,
        socket: int,
        kind: int,
        what: str,
        memory: Memory,
        callback: Optional[Callable[[AsyncResult[T]], object]],
        state: Any,
    ) -> None:
        self.state = state
        self._engine = engine
        self._socket = socket
        self._kind = kind
        self._what = what
        self._memory = memory
        self._callback = callback
        self._op = 0
        self._done = False
        self._status: int = Status.OK
        self._os_error = 0
        self._transferred = 0
        self._flags = 0
        self._value: object = None
        self._event: Optional[Event] = None
        self._awaiters: Optional[List[Callable[[], object]]] = None

    @property
    def is_completed(self) -> bool:
        """Whether the operation has ended, in whatever way. Its callback may not have run yet."""
        return self._done

    @property
    def truncated(self) -> bool:
        """Whether a datagram was larger than the room that was given for it: the rest of it is lost."""
        return bool(self._flags & _abi.ASOCK_RESULT_TRUNCATED)

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Waits until the operation has ended, at most `timeout` seconds (None: no limit); False past the limit.

        Inside a callback of a runtime that has a thread of its own, waiting would wait for itself and raises a
        RuntimeError instead. On a `Runtime(threaded=False)`, the wait takes completions itself, but no callback runs in
        it: those run in `poll` only.
        """
        limit = _check.seconds(timeout, "timeout")
        return self._done or self._engine.wait(self, limit)

    def cancel(self) -> None:
        """Asks for the operation to end now. It still ends once, as canceled or, if it had ended before, as it did."""
        if not self._done:
            self._refuse_unless_late(_abi.library.asock_cancel(self._op), "cancel")

    def set_timeout(self, timeout: Optional[float]) -> None:
        """Limits the operation to `timeout` seconds from now, in place of its socket's time-out; None: no limit."""
        limit = _check.seconds(timeout, "timeout")
        if not self._done:
            limit_ms = -1 if limit is None else _check.milliseconds(limit)
            self._refuse_unless_late(_abi.library.asock_set_deadline(self._op, limit_ms), "set_timeout")

    def _refuse_unless_late(self, status: int, what: str) -> None:
        # Its record may have been handed out a moment ago: then it has ended, which is no error.
        if status not in (Status.OK, Status.BAD_HANDLE):
            raise error_of(status, what)

    def _complete(self, status: int, os_error: int, transferred: int, value: int = 0, flags: int = 0) -> None:
        """Fixes the outcome and gives the memory back; harmless when repeated."""
        if self._done:
            return
        memory = self._memory
        if memory is not None and not isinstance(memory, bytes):
            self._value = memory.finish(transferred, value)
        elif self._kind in _SENDS:
            self._value = transferred
        elif memory is not None:
            self._value = memory if transferred == len(memory) else memory[:transferred]
        self._memory = None
        self._status = status
        self._os_error = os_error
        self._transferred = transferred
        self._flags = flags
        # From here on waiting threads read the above. They look after they have left their event, so either this
        # thread sees the event or they see the mark.
        self._done = True
        if self._event is not None:
            self._event.set()
        if self._awaiters is not None:
            for awaiter in self._awaiters:
                awaiter()

    def _end(self) -> T:
        if not self._done and not self._engine.wait(self, None):
            raise error_of(Status.STOPPED, self._what or _NAMES[self._kind])
        if self._status == Status.OK:
            return cast(T, self._value)
        error = error_of(self._status, self._what or _NAMES[self._kind], self._os_error)
        error.transferred = self._transferred
        if isinstance(self._value, bytes):
            error.partial = self._value
        raise error

    def __await__(self) -> Generator[Any, None, T]:
        loop = asyncio.get_running_loop()
        canceled: Optional[asyncio.CancelledError] = None
        while not self._done:
            done: asyncio.Future[None] = loop.create_future()
            self._await(loop, done)
            try:
                yield from done
            except asyncio.CancelledError as error:
                # The memory is the caller's again when the operation has ended, and not before: so this waits for it,
                # also where a second cancel comes.
                canceled = error
                self.cancel()
                self._engine.end_soon(self)
        if canceled is not None:
            raise canceled
        return self._end()

    def _await(self, loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
        """Has the loop set `done` when the operation has ended, which may be by now."""

        def finish() -> None:
            if not done.done():
                done.set_result(None)

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(finish)
            except RuntimeError:
                pass  # The loop was closed; nobody waits there any more.

        with self._engine._lock:  # Loops of several threads may await one operation.
            self._awaiters = [*(self._awaiters or ()), wake]
        if self._done:
            finish()

    def __repr__(self) -> str:
        name = self._what or _NAMES[self._kind]
        if not self._done:
            return f"<asock.AsyncResult {name}: pending>"
        status = self._status
        outcome = status if status not in Status.__members__.values() else Status(status).name
        return f"<asock.AsyncResult {name}: {outcome}, {self._transferred} bytes>"

    def __reduce__(self) -> Any:
        raise TypeError("an asock.AsyncResult cannot be pickled: it belongs to this process")
