"""Completions: pulled from the library in batches, matched with their operations, their callbacks called.

A runtime of the library that delivers on poll never calls into Python. A token in `user_data` stands for the operation,
which is kept in a dict until its record comes; so nothing that the library still uses can be collected.
"""

from __future__ import annotations

import atexit
import ctypes
import itertools
import os
import sys
import threading
import time
import traceback
from collections import deque
from ctypes import byref, c_char, c_size_t, c_uint64
from typing import Any, Callable, Deque, Dict, List, Optional, Set

from . import _abi, _check
from ._errors import Error, Status, error_of
from ._operation import AsyncResult

BATCH = 256

# A wait in C is not interrupted by signals, so where it may be the main thread's it is cut into slices: Ctrl-C works.
_SLICE_S = 0.1
# How long a descriptor stays readable, at least, for a loop on another thread to see it.
_SHOWN_S = 0.01
# How long the exit of the interpreter waits for a callback that is running.
_EXIT_S = 1.0

_engines: "Set[Engine]" = set()
_callback_threads: Set[int] = set()
_exiting = False
# What other modules have to do in the child after a fork.
after_fork: List[Callable[[], None]] = []


class Engine:
    """A runtime of the library, and what all ways to pull from it have in common."""

    def __init__(self, config: _abi.asock_runtime_config) -> None:
        if _exiting:
            rest_at_exit()
            raise error_of(Status.STOPPED, "start a runtime", advice="the interpreter is exiting")
        handle = c_uint64()
        status = _abi.library.asock_runtime_start(byref(config), byref(handle))
        if status != Status.OK:
            advice = None
            if status == Status.NOT_SUPPORTED:
                advice = "there is no such backend here as `backend`, or the environment variable ASOCK_BACKEND, asks for"
            raise error_of(status, "start a runtime", advice=advice)
        self.handle = handle.value
        self.stopped = False
        # At exit, and in the child after a fork, no callback starts any more. At exit nothing completes either: the
        # threads that wait are daemons, who shall go with the process and not print what a stop did to them.
        self.quiet = False
        self.forked = False
        self.taken = 0
        self.pending: Dict[int, AsyncResult[Any]] = {}
        self.ready: Deque[AsyncResult[Any]] = deque()
        self.tokens = itertools.count(1)
        self._lock = threading.Lock()
        self._records = (_abi.asock_result * BATCH)()
        self._raw = (c_char * ctypes.sizeof(self._records)).from_buffer(self._records)
        self._count = c_size_t(0)
        self._next = 0
        _engines.add(self)

    def begin(self, result: AsyncResult[Any], function: Callable[..., int], *arguments: object) -> int:
        """Begins an operation; the status of the call. Its record may be pulled before this returns."""
        op = c_uint64()
        token = next(self.tokens)
        self.pending[token] = result
        status = function(*arguments, None, token, byref(op))
        if status == Status.OK:
            result._op = op.value
        else:
            del self.pending[token]
            rest_at_exit()
        return status

    def cause(self, status: int) -> int:
        """The status that tells a user more: a handle of a runtime that was stopped is no mistake in handles."""
        if status in (Status.BAD_HANDLE, Status.STOPPED) and self.stopped:
            return Status.FORKED if self.forked else Status.STOPPED
        return status

    def pull(self, timeout_ms: int) -> int:
        """Takes a batch, and completes its operations. One thread at a time.

        Ctrl-C may strike between any two lines of it. What was handed out and not yet looked at is then still there
        for the next pull, and all that is done to an operation is harmless when repeated.
        """
        count = self._count
        if self._next >= count.value:
            self._next = 0
            count.value = 0
            status: int = _abi.library.asock_poll(self.handle, timeout_ms, self._records, BATCH, byref(count))
            if status != Status.OK:
                return status
        while self._next < count.value:
            record = _abi.RESULT_RECORD.unpack_from(self._raw, self._next * _abi.RESULT_RECORD.size)
            token, status, os_error, transferred = record[5], record[7], record[8], record[3]
            result = self.pending.get(token)
            if result is not None and not self.quiet:
                result._complete(status, os_error, transferred, record[2], record[9])
                if result._callback is not None:
                    self.ready.append(result)
                self.pending.pop(token, None)
            self.taken += 1
            self._next += 1
        return Status.OK

    def call(self, result: AsyncResult[Any], through: "tuple[type[BaseException], ...]") -> bool:
        """Calls the callback of a result, once; False if it had none (left)."""
        callback, result._callback = result._callback, None
        if callback is None:
            return False
        try:
            callback(result)
        except through:
            raise
        except BaseException as error:
            if not (_exiting and isinstance(error, Error) and error.status == Status.STOPPED):
                report(error, callback)
        return True

    def abandon(self, status: int) -> None:
        """Ends what is left without the library, which will tell of it no more. No callback runs."""
        self.quiet = True
        while self.pending:
            try:
                result = self.pending.popitem()[1]
            except KeyError:
                break
            result._complete(status, 0, 0)
        self.ready.clear()

    def orphan(self) -> None:
        """In the child after a fork: nothing of this is alive here, and locks may be held by threads that are not."""
        self.stopped = True
        self.forked = True
        self._lock = threading.Lock()
        for result in self.pending.values():
            result._event = None
            result._awaiters = None
        self.abandon(Status.FORKED)

    def _end(self) -> None:
        self.stopped = True
        _engines.discard(self)
        _abi.library.asock_runtime_stop(self.handle)

    def wait(self, result: AsyncResult[Any], timeout: Optional[float]) -> bool:
        raise NotImplementedError

    def end_soon(self, result: AsyncResult[Any]) -> None:
        """Sees to it that an operation which is being canceled ends, though nobody should poll any more."""

    def stop(self) -> None:
        raise NotImplementedError

    def abandon_runtime(self) -> None:
        """Ends the runtime because nobody has it any more. Never waits: this runs inside the collector."""
        raise NotImplementedError

    def stop_at_exit(self) -> None:
        """Ends the runtime; `quiet` is set already."""
        raise NotImplementedError


class ThreadEngine(Engine):
    """Pulls on a thread of its own, which also runs the callbacks."""

    def __init__(self, config: _abi.asock_runtime_config) -> None:
        super().__init__(config)
        # A daemon, since the interpreter joins other threads before it calls what is registered with atexit.
        self._thread = threading.Thread(target=self._run, name="asock", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._end()
            raise

    def _run(self) -> None:
        me = threading.get_ident()
        _callback_threads.add(me)
        try:
            status: int = Status.OK
            while status == Status.OK:
                status = self.pull(-1)
                self._call_all()
            if status != Status.STOPPED:
                self.abandon(status)
        finally:
            _callback_threads.discard(me)
            self._end()

    def _call_all(self) -> None:
        # A function of its own: while the thread sleeps, no variable of it may keep a result alive.
        while self.ready and not self.quiet:
            self.call(self.ready.popleft(), ())

    def wait(self, result: AsyncResult[Any], timeout: Optional[float]) -> bool:
        refuse_in_callback(timeout)
        if _exiting and threading.current_thread() is threading.main_thread():
            return False
        with self._lock:
            event = result._event
            if event is None:
                event = result._event = threading.Event()
        if result._done:
            return True
        return event.wait(None if timeout is None else min(timeout, threading.TIMEOUT_MAX))

    def stop(self) -> None:
        if threading.get_ident() in _callback_threads:
            raise error_of(Status.WOULD_DEADLOCK, "stop", advice="stop the runtime outside its callbacks")
        if self.quiet:
            return  # The parent's, or the interpreter is exiting.
        self.stopped = True
        _abi.library.asock_runtime_drain(self.handle)
        self._thread.join()

    def abandon_runtime(self) -> None:
        self.stopped = True
        _abi.library.asock_runtime_drain(self.handle)  # The thread sees the end, and stops the runtime.

    def stop_at_exit(self) -> None:
        _abi.library.asock_runtime_drain(self.handle)
        if self._thread is not threading.current_thread():
            self._thread.join(_EXIT_S)
        if self._thread.is_alive():
            self._end()  # It is in a callback that does not return, so it is not in the library.


class PollEngine(Engine):
    """Pulls where the application polls or waits; callbacks run in `poll`, and in `stop`, only."""

    def __init__(self, config: _abi.asock_runtime_config) -> None:
        super().__init__(config)
        self._turn = threading.Condition(self._lock)
        self._pulling = False
        self._woken = False
        # Whether a loop may watch the descriptor.
        self.watched = False
        # Held by the thread that polls or stops: callbacks run on one thread at a time.
        self._poller = threading.Lock()
        self._poller_thread = 0

    def _pull_until(self, done: Callable[[], bool], timeout: Optional[float]) -> bool:
        """Pulls, or waits for the thread that does, until `done`; False at the limit, woken, or stopped."""
        end = None if timeout is None else time.monotonic() + timeout
        first = True
        while True:
            left = _SLICE_S if end is None else max(0.0, min(_SLICE_S, end - time.monotonic()))
            with self._turn:
                if done():
                    return True
                if left == 0 and not first:
                    return False
                first = False
                if self._pulling:
                    self._turn.wait(left)
                    continue
                if left > 0 and (self.ready or self._woken) and self.watched:
                    # The next look takes the wake that makes the descriptor readable: it waits until a loop may have seen
                    # it, and then only looks, so that callbacks do not have to wait for the end of this.
                    self._show()
                    self._turn.wait(min(left, _SHOWN_S))
                    left = 0.0
                    if self._pulling:
                        continue
                self._pulling = True
            try:
                status = self.pull(_check.milliseconds(left))
            finally:
                with self._turn:
                    self._pulling = False
                    self._turn.notify_all()
            if status != Status.OK:
                rest_at_exit()
                if status != Status.STOPPED and not self.stopped:
                    self.abandon(status)
                return done()

    def poll(self, timeout: Optional[float], most: Optional[int], budget: Optional[float]) -> int:
        me = threading.get_ident()
        if self._poller_thread == me:
            raise error_of(Status.WOULD_DEADLOCK, "poll", advice="poll may not be called inside a callback of its own")
        if not self._poller.acquire(blocking=False):
            raise error_of(Status.INVALID_STATE, "poll", advice="another thread is polling this runtime")
        try:
            self._poller_thread = me
            if self.stopped:
                rest_at_exit()
                raise error_of(self.cause(Status.STOPPED), "poll")
            before = self.taken
            if self.ready or self._woken:
                # It does not wait, but takes what there is: a poll that is always woken shall not starve callbacks.
                self._pull_until(lambda: self.taken != before, 0.0)
            else:
                self._pull_until(lambda: self._woken or self.taken != before, timeout)
            self._woken = False  # Before the callbacks: a wake that comes while they run is for the next poll.
            return self._call_some(most, budget)
        finally:
            self._poller_thread = 0
            self._poller.release()
            self._show()

    def wake(self) -> None:
        self._woken = True
        status = _abi.library.asock_wake(self.handle)
        if status != Status.OK:
            raise error_of(self.cause(status), "wake")

    def wait(self, result: AsyncResult[Any], timeout: Optional[float]) -> bool:
        refuse_in_callback(timeout)
        try:
            return self._pull_until(lambda: result._done, timeout)
        finally:
            self._show()

    def end_soon(self, result: AsyncResult[Any]) -> None:
        # The loop may watch the descriptor no more, or may never have: then this has to be the poll. It is short.
        self.wait(result, None)

    def _show(self) -> None:
        """Keeps the descriptor readable while callbacks or a wake are there for a poll: the library has handed out the
        records, or ended a wait by the wake, and would let a loop that watches the descriptor sleep."""
        if (self.ready or self._woken) and not self.stopped:
            _abi.library.asock_wake(self.handle)

    def stop(self) -> None:
        me = threading.get_ident()
        if self._poller_thread == me or me in _callback_threads:
            raise error_of(Status.WOULD_DEADLOCK, "stop", advice="stop the runtime outside its callbacks")
        if self.quiet:
            return  # The parent's, or the interpreter is exiting.
        self.stopped = True
        _abi.library.asock_runtime_drain(self.handle)
        with self._poller:  # Waits for a poll that runs, and for no other thread.
            if self not in _engines:
                return
            self._poller_thread = me
            try:
                self._pull_until(lambda: False, None)
                self._call_some(None, None)
            finally:
                self._poller_thread = 0
            self._end()

    def _call_some(self, most: Optional[int], budget: Optional[float]) -> int:
        end = None if budget is None else time.monotonic() + budget
        called = 0
        # What becomes ready meanwhile is for the next call: an endless chain must not hold a frame.
        for _ in range(len(self.ready)):
            if called == most or self.quiet or (end is not None and called and time.monotonic() >= end):
                break
            # KeyboardInterrupt and the like are for the caller, whose thread this is.
            called += self.call(self.ready.popleft(), (KeyboardInterrupt, SystemExit, GeneratorExit))
        return called

    def orphan(self) -> None:
        super().orphan()
        self._turn = threading.Condition(self._lock)
        self._pulling = False
        self._poller = threading.Lock()
        self._poller_thread = 0

    def abandon_runtime(self) -> None:
        self._end()
        self.abandon(Status.STOPPED)

    def stop_at_exit(self) -> None:
        self._end()


def refuse_in_callback(timeout: Optional[float]) -> None:
    """A wait in a callback would wait for itself, or for another callback that waits for this one."""
    if timeout != 0 and threading.get_ident() in _callback_threads:
        raise error_of(Status.WOULD_DEADLOCK, "wait")


def rest_at_exit() -> None:
    """Keeps a daemon thread that has met the end of its runtime at exit from printing a traceback about it.

    It sleeps until the process is gone, as all daemon threads do a moment later. Threads of callbacks are waited for, so
    they go on, and end.
    """
    if _exiting and threading.current_thread().daemon and threading.get_ident() not in _callback_threads:
        threading.Event().wait()


def report(error: BaseException, callback: object) -> None:
    """Gives an exception that nobody can catch to sys.unraisablehook, as the interpreter does with those of __del__."""
    kind = _unraisable_arguments()
    try:
        if kind is None:
            traceback.print_exception(type(error), error, error.__traceback__)
        else:
            message = "Exception ignored in asock callback"
            sys.unraisablehook(kind((type(error), error, error.__traceback__, message, callback)))
    except Exception:
        sys.excepthook(*sys.exc_info())


def _unraisable_arguments() -> Any:
    # The hook insists on this type, which has no public name.
    for kind in tuple.__subclasses__():
        if kind.__name__ == "UnraisableHookArgs":
            return kind
    return None


def _stop_all_at_exit() -> None:
    global _exiting
    _exiting = True
    for engine in list(_engines):
        engine.quiet = True
    for engine in list(_engines):
        engine.stop_at_exit()


def _after_fork_in_child() -> None:
    engines = list(_engines)
    _engines.clear()
    _callback_threads.clear()
    for engine in engines:
        engine.orphan()
    for function in after_fork:
        function()


atexit.register(_stop_all_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
