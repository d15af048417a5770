"""Shards on this machine: a pool of processes in which a hang, a crash or a kill costs one attempt at one shard.

The processes are started anew (spawn), live until `close`, and die with the driver, however it ends.
"""

import atexit
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from typing import Any

from wholegpt import compiled
from wholegpt.errors import missing_extra
from wholegpt.runner.work import Outcome, Task, attempt

PR_SET_PDEATHSIG = 1
SECONDS_BETWEEN_LOOKS = 1.0
_pools: dict[int, Any] = {}


def outcomes(queue: deque[Task], workers: int, timeout_seconds: float | None) -> Iterator[tuple[Task, Outcome]]:
    """Work on the tasks, and on those that are put into the queue meanwhile; results as they come."""
    workers = workers or compiled.threads()
    pool = _pool(workers)
    running: dict[Any, Task] = {}
    while queue or running:
        while queue and len(running) < 2 * workers:  # the next ones wait in the pool: no worker waits for us
            task = queue.popleft()
            running[pool.schedule(attempt, args=(task,), timeout=timeout_seconds)] = task
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), _outcome(future, timeout_seconds)


def close(kill: bool = False) -> None:
    """End the processes: after what they are doing, or at once."""
    for pool in _pools.values():
        pool.stop() if kill else pool.close()
        pool.join()
    _pools.clear()


def _pool(workers: int) -> Any:
    if workers not in _pools:
        try:
            from pebble import ProcessPool
        except ModuleNotFoundError:
            raise missing_extra("pebble", "corpus") from None
        if not _pools:
            atexit.register(close, kill=True)
        context = multiprocessing.get_context("spawn")
        _pools[workers] = ProcessPool(workers, context=context, initializer=begin, initargs=(os.getpid(),))
    return _pools[workers]


def _outcome(future: Any, timeout_seconds: float | None) -> Outcome:
    from pebble import ProcessExpired

    try:
        result: Outcome = future.result()
        return result
    except TimeoutError:
        fault = f"it took more than {timeout_seconds:g} s"
    except ProcessExpired as error:
        fault = f"its process ended with code {error.exitcode}"
    except CancelledError:
        fault = "it was cancelled"
    return Outcome(fault=fault, traceback=fault)


def begin(driver: int) -> None:
    """Begin a worker process: Ctrl-C is the driver's business, and without a driver there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # It comes when the thread that started this process ends: that of the pool, which lives as long as the pool.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(driver,), daemon=True).start()


def _watch(driver: int) -> None:
    """End with the driver where the system does not see to it, or where it died before it was asked to."""
    while os.getppid() == driver:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)
