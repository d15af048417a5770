"""A request to stop, by Ctrl-C or SIGTERM, as an event that a loop looks at."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wholegpt.progress import say


@contextmanager
def stop_requested(launched: bool) -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that the step is finished and saved; a second Ctrl-C stops at once.

    Not under torchrun, which sends on the Ctrl-C that each process of a terminal has got already, and kills by itself
    those that take too long.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(_number: int, _frame: Any) -> None:
        if stop.is_set() and not launched:
            raise KeyboardInterrupt
        stop.set()
        say("stopping after this step")

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
