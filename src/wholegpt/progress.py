"""Progress on standard error: a bar on a terminal, plain lines elsewhere. Results go to standard output, never here."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

SECONDS_BETWEEN_LINES = 10.0


def say(sentence: str) -> None:
    """Print one line about what happens now."""
    print(sentence, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Minutes and seconds, as in `4:05`; hours where there are any.

    >>> duration(245.4), duration(3725)
    ('4:05', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Bar:
    """One running count; `advance` adds to it and may change the text beside it. A silent one only counts."""

    def __init__(
        self, title: str, total: int | None, unit: str, done: int, display: "Progress | None", silent: bool = False
    ) -> None:
        self.title, self.total, self.unit, self.done, self.silent = title, total, unit, done, silent
        self._start, self._first, self._last_line, self._display = time.monotonic(), done, time.monotonic(), display
        if display:
            self._task = display.add_task(title, total=total, completed=done, text="")

    def advance(self, amount: int = 1, text: str = "") -> None:
        self.done += amount
        if self._display:
            self._display.update(self._task, advance=amount, text=text)
        elif not self.silent and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            of = f"/{self.total:,}" if self.total else ""
            left = f", {duration(self.seconds_left())} left" if self.total else ""
            say(f"{self.title}: {self.done:,}{of} {self.unit}{left}{'  ' + text if text else ''}")

    def per_second(self) -> float:
        """Speed since this bar began [units a second]."""
        return (self.done - self._first) / max(time.monotonic() - self._start, 1e-9)

    def seconds_left(self) -> float:
        """Time left at the speed since this bar began [seconds]; 0 where nothing is known."""
        worked = self.done - self._first
        if not self.total or not worked:
            return 0.0
        return (time.monotonic() - self._start) / worked * (self.total - self.done)

    def note(self, line: str) -> None:
        """Print a line above the bar."""
        if self._display:
            self._display.console.print(line, markup=False, highlight=False)
        else:
            say(line)


@contextmanager
def bar(title: str, total: int | None, unit: str, done: int = 0) -> Iterator[Bar]:
    """Show the progress of the block towards `total` units, of which `done` were there before."""
    # Imported here: who shows no bar does not wait for it.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Bar(title, total, unit, done, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as display:
        yield Bar(title, total, unit, done, display)
