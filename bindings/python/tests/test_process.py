"""The process around it: the exit of the interpreter with everything pending, fork, and multiprocessing."""

from __future__ import annotations

import os
import unittest

from .support import run

EXITS = 50

PENDING = """
import sys, threading, socket, time
import asock
listener = socket.create_server(("127.0.0.1", 0))
address = listener.getsockname()
polled = asock.Runtime(threaded=False)
clients = [asock.Socket(), asock.Socket(asock.Runtime()), asock.Socket(polled)]
clients[0].end_connect(clients[0].begin_connect(*address))
busy = asock.Socket()
busy.end_connect(busy.begin_connect(*address))
peers = [listener.accept()[0] for _ in range(2)]
count = 0
def on_receive(result):
    global count
    count += 1
    time.sleep(0)
    busy.begin_receive(1, on_receive)
def flood():
    try:
        while True:
            peers[1].sendall(b"x" * 100)
    except OSError:
        pass
threading.Thread(target=flood, daemon=True).start()
for _ in range(20):
    busy.begin_receive(1, on_receive)
for client in clients:
    client.begin_connect(*address)
    for _ in range(20):
        client.begin_receive(100, lambda result: None)
        client.begin_receive_into(bytearray(10))
    client.begin_send(bytearray(20_000_000), lambda result: None)
ours = asock.Socket()
ours.bind("127.0.0.1")
ours.listen()
for _ in range(20):
    ours.begin_accept(lambda result: None)
    ours.begin_accept()
dialed = [socket.create_connection(ours.local_address) for _ in range(10)]
for runtime in (None, polled):
    datagrams = asock.Socket(runtime, type=asock.SocketType.DATAGRAM)
    datagrams.bind("127.0.0.1")
    clients.append(datagrams)
    for _ in range(20):
        datagrams.begin_receive_from(100, lambda result: None)
        datagrams.begin_receive_from_into(bytearray(10))
plain = socket.create_connection(address)
peers.append(listener.accept()[0])
with open(sys.executable, "rb") as file:
    adopted = asock.Socket.adopt(plain)
    for _ in range(5):
        adopted.begin_send_file(file, lambda result: None)
        adopted.begin_send_vectored([bytearray(2_000_000)] * 3)
        adopted.begin_receive_vectored([bytearray(10)] * 3, lambda result: None)
def work():
    while True:
        datagrams.begin_send_to(b"z", datagrams.local_address)
        busy.begin_send(b"y").wait(0.001)
        asock.Socket().begin_connect(*address)
def end():
    clients[0].end_receive(clients[0].begin_receive(1))
waiters = [threading.Thread(target=target, daemon=True) for target in (end, end, work)]
waiters.append(threading.Thread(target=polled.poll, args=(None,), daemon=True))
for waiter in waiters:
    waiter.start()
while not count:
    time.sleep(0.001)
"""


def exits(test: unittest.TestCase, ending: str, code: int = 0, times: int = 1) -> None:
    for _ in range(times):
        done = run(PENDING + ending)
        test.assertEqual((done.returncode, done.stderr), (code, ""))


class Exit(unittest.TestCase):
    def test_with_operations_pending(self) -> None:
        exits(self, "", times=EXITS)

    def test_in_other_ways(self) -> None:
        exits(self, "sys.exit(3)", 3, times=5)
        exits(self, "import os; os._exit(4)", 4, times=5)
        exits(self, "import gc; del client, clients; gc.collect()", times=5)

    def test_with_a_callback_that_does_not_return(self) -> None:
        exits(
            self,
            """
entered = threading.Event()
def stuck(result):
    entered.set()
    threading.Event().wait()
asock.Socket().begin_connect(*address, stuck)
entered.wait()
""",
        )

    def test_with_a_callback_of_atexit_that_uses_sockets(self) -> None:
        """What is registered before the import runs after the runtime was stopped."""
        script = """
import atexit
def late():
    try:
        asock.Socket()
    except RuntimeError as error:
        print(error)
atexit.register(late)
import asock
asock.Socket().close()
"""
        done = run(script)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("the interpreter is exiting", done.stdout)

    def test_an_exception_of_the_program_is_the_only_thing_on_stderr(self) -> None:
        done = run(PENDING + "raise SystemExit('over')")
        self.assertEqual((done.returncode, done.stderr), (1, "over\n"))


FORK = """
import os, sys, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import socket
import asock
listener = socket.create_server(("127.0.0.1", 0))
address = listener.getsockname()
own = asock.Runtime()
polled = asock.Runtime(threaded=False)
parents = [asock.Socket(), asock.Socket(own), asock.Socket(polled)]
buffer = bytearray(10)
pending = []
called = []
for old in parents:
    old.end_connect(old.begin_connect(*address))
    listener.accept()[0].detach()
    pending.append(old.begin_receive_into(buffer, called.append))
waiter = threading.Thread(target=pending[0].wait, daemon=True)
waiter.start()
"""

CHILD = """
def check():
    for old, result in zip(parents, pending):
        assert result.is_completed and result.wait()
        for call in (
            lambda: old.begin_send(b"x"),
            lambda: old.nodelay,
            lambda: old.end_receive(result),
            lambda: asock.Socket(old.runtime),
        ):
            try:
                call()
            except RuntimeError as error:
                assert error.status == asock.Status.FORKED, error
                assert "new Socket" in str(error), error
            else:
                raise AssertionError(old)
        old.close()
        old.runtime.stop()
    buffer.append(1)
    assert not called
    with asock.Socket() as new:
        new.end_connect(new.begin_connect(*address))
        peer = listener.accept()[0]
        new.begin_send(b"child")
        assert peer.recv(5, socket.MSG_WAITALL) == b"child"
        hanging = new.begin_receive(5)
        assert not hanging.wait(0.01)
    assert asock.default_runtime() is not own
"""

PARENT = """
    for old, result in zip(parents, pending):
        assert not result.is_completed
        old.close()
        assert result.wait(20)
"""


@unittest.skipUnless(hasattr(os, "fork"), "no fork on this system")
class Fork(unittest.TestCase):
    def succeeds(self, script: str) -> None:
        done = run(script)
        self.assertEqual((done.returncode, done.stderr, done.stdout), (0, "", "done\n"))

    def test_the_child_starts_anew_and_the_parent_goes_on(self) -> None:
        for ending in ("sys.exit(0)", "os._exit(0)"):
            self.succeeds(
                FORK
                + CHILD
                + f"""
child = os.fork()
if child == 0:
    check()
    {ending}
else:
    assert os.waitpid(child, 0)[1] == 0
{PARENT}
    print("done")
"""
            )

    def test_fork_while_all_is_busy(self) -> None:
        """Locks may be held by threads that the child does not have."""
        self.succeeds(
            PENDING
            + """
import warnings, os
warnings.simplefilter("ignore", DeprecationWarning)
for _ in range(30):
    child = os.fork()
    if child == 0:
        with asock.Socket() as new, socket.create_server(("127.0.0.1", 0)) as fresh:
            new.end_connect(new.begin_connect(*fresh.getsockname()))
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
sys.stdout.write("done\\n")
"""
        )

    def test_fork_inside_a_callback(self) -> None:
        self.succeeds(
            FORK
            + """
done = threading.Event()
def on_connect(result):
    child = os.fork()
    if child == 0:
        with asock.Socket() as new:
            new.end_connect(new.begin_connect(*address))
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    done.set()
last = asock.Socket()
last.begin_connect(*address, on_connect)
assert done.wait(20)
print("done")
"""
        )

    def test_multiprocessing(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method=method):
                self.succeeds(
                    f"""
import sys, tempfile, os, subprocess
module = '''
import multiprocessing, socket, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import asock

def work(address):
    with asock.Socket() as client:
        client.end_connect(client.begin_connect(*address))
        assert client.end_receive(client.begin_receive(4, flags=asock.ReceiveFlag.ALL)) == b"work"
    hanging.append(asock.Socket())
    hanging[0].begin_connect(*address)
    hanging[0].begin_receive(100)
    hanging[0].begin_receive(100, print)

hanging = []
if __name__ == "__main__":
    import threading
    listener = socket.create_server(("127.0.0.1", 0))
    peers = []
    def serve():
        while True:
            peers.append(listener.accept()[0])
            peers[-1].sendall(b"work")
    threading.Thread(target=serve, daemon=True).start()
    address = listener.getsockname()
    old = asock.Socket()
    old.end_connect(old.begin_connect(*address))
    context = multiprocessing.get_context("{method}")
    processes = [context.Process(target=work, args=(address,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0, process.exitcode
    old.close()
    print("done")
'''
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "program.py")
    with open(path, "w") as file:
        file.write(module)
    environment = dict(os.environ, PYTHONPATH=os.getcwd())
    sys.stdout.flush()
    sys.exit(subprocess.run([sys.executable, path], env=environment).returncode)
"""
                )


if __name__ == "__main__":
    unittest.main()
