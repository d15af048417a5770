"""When a host may be asked: one request at a time, so many seconds apart, and longer where it says so.

A host is a name without its port: what stands behind both is one machine. Seconds count from the start of one request
to the start of the next.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from wholegpt.corpus.crawl.requests import Refusal

ATTEMPTS = 3
FIRST_RETRY_SECONDS = 2.0
# Who asks for more (Retry-After) is left alone for the rest of the crawl.
LONGEST_WAIT_SECONDS = 600.0
# So many URLs in a row that could not be had for one of these reasons, and the host is given up.
FAILURES_IN_A_ROW = 5
HOST_REASONS = ("dns", "tls", "private-address", "connection", "time-out", "status-429", "status-503")
HOSTS_KEPT = 20_000


@dataclass
class Host:
    """One host's turn, and how it fares."""

    delay_seconds: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    free_at: float = 0.0
    failures: int = 0
    # Why it is asked no more.
    given_up: str = ""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until the host is free and may be asked, or was given up, and hold it."""
        async with self.lock:
            # Again after each sleep: clocks are coarse.
            while (wait := self.free_at - time.monotonic()) > 0 and not self.given_up:
                await asyncio.sleep(wait)
            self.rest(self.delay_seconds)
            yield

    def rest(self, seconds: float) -> None:
        """Ask nothing for so long."""
        self.free_at = max(self.free_at, time.monotonic() + seconds)

    def may_be_asked_again(self, refusal: Refusal, attempt: int) -> bool:
        """Take note of a failed attempt (from 0); whether another may follow in the next turn."""
        wait = back_off_seconds(attempt, refusal.retry_after)
        if refusal.passing:
            self.rest(min(wait, LONGEST_WAIT_SECONDS))
            if wait <= LONGEST_WAIT_SECONDS and attempt + 1 < ATTEMPTS:
                return True
        self.failures = self.failures + 1 if refusal.reason in HOST_REASONS else 0
        if self.failures == FAILURES_IN_A_ROW or wait > LONGEST_WAIT_SECONDS:
            self.given_up = refusal.reason
        return False

    def is_idle(self) -> bool:
        """Whether nothing is lost by forgetting the host."""
        return not self.lock.locked() and self.free_at < time.monotonic()


class Hosts:
    """The hosts that were asked lately."""

    def __init__(self, delay_seconds: float) -> None:
        self._delay_seconds = delay_seconds
        self._hosts: OrderedDict[str, Host] = OrderedDict()

    def __getitem__(self, name: str) -> Host:
        if name not in self._hosts:
            if len(self._hosts) >= HOSTS_KEPT and next(iter(self._hosts.values())).is_idle():
                self._hosts.popitem(last=False)
            self._hosts[name] = Host(self._delay_seconds)
        self._hosts.move_to_end(name)
        return self._hosts[name]


def back_off_seconds(attempt: int, retry_after: str, now: datetime | None = None) -> float:
    """How long to wait after attempt number `attempt` (from 0): what the host says, or twice as long each time.

    `retry_after` is the header of that name, seconds or a date (RFC 9110).

    >>> back_off_seconds(0, ""), back_off_seconds(1, ""), back_off_seconds(0, "120")
    (2.0, 4.0, 120.0)
    """
    own = FIRST_RETRY_SECONDS * float(2**attempt)
    if retry_after.strip().isdecimal():
        return max(own, float(min(int(retry_after[:9]), 10**8)))
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return own
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(own, (until - (now or datetime.now(UTC))).total_seconds())
