"""robots.txt (RFC 9309): fetched once a day for each origin, kept in a file so that a resumed crawl need not ask again.

Not there (4xx, or redirected too often): everything is allowed. Out of reach (5xx, 429, no connection): nothing is,
and after a few attempts the URLs of the origin are left with that reason.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from protego import Protego
from yarl import URL

from wholegpt.corpus.crawl.ledger import whole_lines
from wholegpt.corpus.crawl.requests import PRODUCT, Answer, Refusal

LIMIT_BYTES = 512 * 1024
LONGEST_REDIRECTION = 5
REDIRECTS = (301, 302, 303, 307, 308)
SECONDS_KEPT = 24 * 3600.0
LONGEST_DELAY_SECONDS = 1e9
# Rules in memory; those of hosts asked long ago are read again.
ORIGINS_KEPT = 2_000

Ask = Callable[[URL, int], Awaitable[Answer]]


@dataclass(frozen=True)
class Fetched:
    """What an origin answered: the text of its rules, "" for none; or that it could not be had."""

    origin: str
    at: float
    text: str = ""
    crawl_delay_seconds: float = 0.0
    unavailable: str = ""


class Rules:
    """What an origin allows us."""

    def __init__(self, fetched: Fetched) -> None:
        self.fetched = fetched
        self._parsed = Protego.parse(fetched.text) if fetched.text.strip() else None

    def check(self, url: URL) -> None:
        """Refusal where the rules forbid the URL, or are out of reach."""
        if self.fetched.unavailable.startswith("status-"):
            raise Refusal("robots-unavailable", self.fetched.unavailable)
        if self.fetched.unavailable:  # as the URL itself would be
            raise Refusal(self.fetched.unavailable, "robots.txt")
        if self._parsed and not self._parsed.can_fetch(str(url), PRODUCT):
            raise Refusal("robots")


class Robots:
    """The rules of all origins; `ask` makes a polite request, with its attempts."""

    def __init__(self, path: Path, ask: Ask) -> None:
        self._path, self._ask = path, ask
        self._kept: OrderedDict[str, asyncio.Future[Rules]] = OrderedDict()
        self._earlier: OrderedDict[str, Fetched] = OrderedDict()
        for fetched in read(path):
            self._earlier.pop(fetched.origin, None)
            self._earlier[fetched.origin] = fetched
            if len(self._earlier) > ORIGINS_KEPT:
                self._earlier.popitem(last=False)

    async def of(self, url: URL) -> Rules:
        """The rules for a URL; those who ask for the same origin at once share one request."""
        origin = str(url.origin())
        kept = self._kept.pop(origin, None)
        if kept is None or (kept.done() and (kept.cancelled() or not _is_fresh(kept.result().fetched))):
            kept = asyncio.ensure_future(self._find(origin))
        self._kept[origin] = kept
        if len(self._kept) > ORIGINS_KEPT:
            self._kept.popitem(last=False)
        return await kept

    async def _find(self, origin: str) -> Rules:
        fetched = self._earlier.pop(origin, None)
        if fetched is None or not _is_fresh(fetched):
            fetched = await self._fetch(origin)
            with self._path.open("ab") as stream:
                stream.write(orjson.dumps(asdict(fetched)) + b"\n")
        return Rules(fetched)

    async def _fetch(self, origin: str) -> Fetched:
        url = URL(origin) / "robots.txt"
        for _ in range(LONGEST_REDIRECTION + 1):
            try:
                answer = await self._ask(url, LIMIT_BYTES)
            except Refusal as refusal:
                return Fetched(origin, time.time(), unavailable=refusal.reason)
            target = redirection(answer)
            if target is None:
                break
            url = target
        if answer.status >= 500:
            return Fetched(origin, time.time(), unavailable=f"status-{answer.status}")
        text = answer.text(LIMIT_BYTES) if answer.status == 200 else ""
        delay = Protego.parse(text).crawl_delay(PRODUCT) or 0.0
        # `nan` and `inf` are numbers, too; the order matters for the first.
        return Fetched(origin, time.time(), text, min(max(0.0, delay), LONGEST_DELAY_SECONDS))


def read(path: Path) -> Iterator[Fetched]:
    """What was kept of all origins, in the order of time."""
    return (Fetched(**orjson.loads(line)) for line in whole_lines(path))


def redirection(answer: Answer) -> URL | None:
    """Where the answer sends us; None where it is no redirect, or to no URL."""
    target = answer.headers.get("Location", "")
    if answer.status not in REDIRECTS or not target:
        return None
    try:
        return answer.url.join(URL(target)).with_fragment(None)
    except ValueError:
        return None


def _is_fresh(fetched: Fetched) -> bool:
    return time.time() - fetched.at < SECONDS_KEPT
