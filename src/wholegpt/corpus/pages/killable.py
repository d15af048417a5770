"""A function in a process of its own that may hang or crash: it is killed, and the next call finds a new one.

The process that is started (`serve`) imports what the function needs, once, and then forks: the fork answers calls, and
takes milliseconds to replace. Each fork has a socket of its own, so that nothing of a killed one is left in the way. If
the process that asks dies, however it dies, the other end of its socket ends, and the two others with it.

Linux and macOS only: it forks. A plain subprocess, since the processes of a pool may start none of `multiprocessing`.
"""

import gc
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from wholegpt.errors import WholeGPTError

# Of the process that answers, beyond what it holds at the start: odd pages of 2 MB take 600 MB.
MEMORY_BYTES = 3 * 2**30
# A new process now and then, against memory that libraries do not give back.
CALLS = 1_000
SECONDS_TO_START = 120.0
_LENGTH = struct.Struct("<Q")


class Hung(Exception):
    """No answer within the time; the process is killed."""


class Crashed(Exception):
    """The process died over the call."""


class Killable:
    """Calls of a function in another process, started at the first of them; `command` ends in `serve`."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._worker: socket.socket | None = None
        self._calls = 0

    def call(self, message: bytes, seconds: float) -> bytes:
        """The function's answer; raises `Hung` after so many seconds, and `Crashed`."""
        if self._worker is None or self._calls >= CALLS:
            self._worker = self._replace()
            self._calls = 0
        self._calls += 1
        deadline = time.monotonic() + seconds
        try:
            self._worker.settimeout(seconds)
            self._worker.sendall(_LENGTH.pack(len(message)) + message)
            return _receive(self._worker, deadline)
        except TimeoutError:
            self._drop()
            raise Hung from None
        except (EOFError, OSError):
            self._drop()
            raise Crashed from None

    def close(self) -> None:
        """End both processes."""
        self._drop()
        if self._control:
            self._control.close()
        if self._process:
            self._process.wait()
        self._control = self._process = None

    def _drop(self) -> None:
        """Have the process killed at once, not at the next call."""
        if self._worker:
            self._worker.close()
            self._worker = None
        if self._control:
            try:
                self._control.sendall(b"k")
            except OSError:  # the starter is gone as well; the next call starts another
                self._control.close()
                self._control = None

    def _replace(self) -> socket.socket:
        """A new process for the calls, in place of the old."""
        self._drop()
        for _ in range(2):  # the starter may have been killed since
            if self._control is None:
                self._start()
            assert self._control is not None
            try:
                self._control.settimeout(SECONDS_TO_START)
                self._control.sendall(b"n")
                _, descriptors, _, _ = socket.recv_fds(self._control, 1, 1)
            except OSError:
                descriptors = []
            if descriptors:
                return socket.socket(fileno=descriptors[0])
            self._control.close()
            self._control = None
        raise WholeGPTError(f"the process for {' '.join(self._command[1:])} does not start; what it wrote stands above")

    def _start(self) -> None:
        if os.name == "nt":
            raise WholeGPTError("extracting pages needs processes that fork, which Windows has not; use WSL")
        if self._process:
            self._process.kill()
            self._process.wait()
        self._control, theirs = socket.socketpair()
        # It finds the modules that this process finds, and none in the folder that it is started in.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        with theirs:
            self._process = subprocess.Popen(
                self._command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env=environment
            )


def serve(function: Callable[[bytes], bytes]) -> None:
    """The other side: standard input is the socket on which new processes are asked for ("n"), or an end ("k")."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    gc.collect()
    gc.freeze()  # so that the collector does not copy pages of memory that forks share
    worker = 0
    with socket.socket(fileno=os.dup(0)) as control:
        while request := control.recv(1):
            worker = _end(worker)
            if request == b"n":
                ours, theirs = socket.socketpair()
                worker = os.fork()
                if not worker:
                    control.close()
                    theirs.close()
                    _answer(ours, function)
                socket.send_fds(control, [b"n"], [theirs.fileno()])
                ours.close()
                theirs.close()
        _end(worker)


def _end(worker: int) -> int:
    if worker:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    return 0


def _answer(calls: socket.socket, function: Callable[[bytes], bytes]) -> None:
    """Answer calls until the socket ends; never returns."""
    code = 1
    try:
        os.close(0)  # else this copy would keep the socket of the process that asks alive
        _limit_memory()
        while True:
            answer = function(_receive(calls, None))
            calls.sendall(_LENGTH.pack(len(answer)) + answer)
    except EOFError:
        code = 0
    finally:
        os._exit(code)


def _limit_memory() -> None:
    """Only where it is known what is held already: not on macOS."""
    status = Path("/proc/self/statm")
    if status.exists():
        limit = int(status.read_text().split()[0]) * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _receive(stream: socket.socket, deadline: float | None) -> bytes:
    """One message; its memory grows with what arrives, whatever length it claims."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size, deadline))
    return _exactly(stream, length, deadline)


def _exactly(stream: socket.socket, size: int, deadline: float | None) -> bytes:
    content = bytearray()
    while len(content) < size:
        if deadline is not None:
            # Zero would mean "do not wait", and raise another error.
            stream.settimeout(max(deadline - time.monotonic(), 1e-6))
        piece = stream.recv(min(size - len(content), 2**20))
        if not piece:
            raise EOFError
        content += piece
    return bytes(content)
