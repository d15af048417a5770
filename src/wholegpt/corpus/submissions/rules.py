"""Which submissions count: the rules of WebText (section 2.1), each with the reason that it gives, and two presets.

`webtext` keeps what the paper keeps: at least 3 karma, up to the end of 2017, no Wikipedia. Unstated in the paper:
whether the karma is of one submission or the sum of all (here one), and which hosts and endings cannot be text (own
short lists). `openwebtext` is in the spirit of the public rebuilds: no later end, nothing over 18, longer lists.
"""

import functools
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from wholegpt.corpus.submissions import urls

# With the hosts below them; copies of its articles elsewhere are removed once the pages are there.
WIKIPEDIA = ("wikipedia.org", "wikipedia.com")
# Seconds since 1970 up to the year 2242: what a date can be.
LAST_DATE_SECONDS = 2**33
LONGEST_ENDING_BYTES = 8
Integer = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]


class Submission(msgspec.Struct, gc=False):
    """What is read of a line; everything else, `author` first, never leaves the parser."""

    # In the order of the dumps' keys, which is the quickest to read. The date is a string from 2014-01 to 2015-11.
    created_utc: Integer | float | str | None = None
    crosspost_parent: str | None = None
    id: str | None = None
    is_self: bool | None = None
    over_18: bool | None = None
    score: Integer | None = None
    subreddit: str | None = None
    url: str | None = None


# An accepted submission: the digest of the URL's normal form, URL, host, score, seconds since 1970, subreddit, id.
Link = tuple[bytes, str, str, int | None, int | None, str, str]


@dataclass(frozen=True)
class Rule:
    """What is kept; dates in seconds since 1970, `until` excluded."""

    score_rule: str
    min_score: int
    since: int
    until: int
    exclude_over_18: bool
    hosts: tuple[str, ...]
    extensions: tuple[str, ...]
    window_bytes: int


@dataclass(frozen=True)
class Preset:
    """Defaults of the options, and names of lists."""

    until: str
    exclude_over_18: bool
    hosts: tuple[str, ...]
    min_score: int = 3
    extensions: tuple[str, ...] = ("media_extensions",)


PRESETS = {
    "webtext": Preset("2017-12-31", False, ("media_hosts",)),
    "openwebtext": Preset("", True, ("media_hosts", "shops_and_apps")),
}

# Reasons by stage, in the order in which they are asked. `karma` is asked of the sum at the end where that is the rule.
FUNNEL = {
    "lines": ("broken-line", "too-long-line"),
    "links": ("null-url", "null-score", "null-date", "self", "scheme"),
    "date": ("date",),
    "karma": ("karma",),
    "pages": ("over-18", "malformed", "wikipedia", "blocked-host", "extension"),
}


class Sieve:
    """A rule at work: each submission is a link or a reason; `counts` has what was met on the way."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.counts: Counter[str] = Counter()
        self._extensions = frozenset(rule.extensions)
        reasons = {**dict.fromkeys(rule.hosts, "blocked-host"), **dict.fromkeys(WIKIPEDIA, "wikipedia")}
        self.reason_of_host = functools.lru_cache(2**16)(functools.partial(_reason_of_host, reasons))
        # Where the sum decides, every submission is needed for it.
        self.least = rule.min_score if rule.score_rule == "any" else -(2**63)

    def sift(self, submission: Submission) -> Link | str:
        """The link that a submission is, or the reason why it is none."""
        url, score, created, rule = submission.url, submission.score, submission.created_utc, self.rule
        if not url:
            return "null-url"
        if score is None:
            return "null-score"
        if type(created) is not int:
            created = self._seconds(created)
        if created is None or not 0 <= created < LAST_DATE_SECONDS:
            return "null-date"
        if submission.is_self:
            return "self"
        if not url.startswith(("http://", "https://")) and not _has_scheme(url):
            return "scheme"
        if not rule.since <= created < rule.until:
            return "date"
        if score < self.least:
            return "karma"
        if submission.over_18:
            if rule.exclude_over_18:
                return "over-18"
            self.counts["over_18"] += 1
        plain = unescaped(url)
        self.counts["escaped"] += plain != url
        if submission.crosspost_parent:
            self.counts["crossposts"] += 1
        return self._link(plain, score, created, submission.subreddit or "", submission.id or "")

    def sift_listed(self, submission: Submission) -> Link | str:
        """The same of a line in a list of URLs: it has neither score nor date, and was chosen by whoever made it."""
        url = (submission.url or "").strip()
        if not url:
            return "null-url"
        return self._link(url, None, None, "", "") if _has_scheme(url) else "scheme"

    def _link(self, url: str, score: int | None, created: int | None, subreddit: str, identifier: str) -> Link | str:
        found = urls.normalise(url)
        if found is None:
            return "malformed"
        normal, host = found
        reason = self.reason_of_host(host)
        if reason:
            return reason
        # The second half of the condition alone decides; the first is quick and nearly always false.
        ending = normal.rpartition(".")[2].lower()
        if (ending in self._extensions or "?" in normal) and urls.extension(normal) in self._extensions:
            return "extension"
        return urls.digest(normal), url, host, score, created, subreddit, identifier

    def _seconds(self, created: Any) -> int | None:
        """A date that is no integer."""
        try:
            seconds = int(float(created))
        except (TypeError, ValueError, OverflowError):
            return None
        self.counts["dates_as_text"] += isinstance(created, str)
        return seconds


def unescaped(url: str) -> str:
    """The URL before Reddit escaped it, as it did in many months: `&`, `<` and `>` only. Python's `html.unescape` would
    also make a sign of the parameter in `?a=1&copy=2`.

    >>> unescaped("http://example.com/?a=1&amp;copy=2")
    'http://example.com/?a=1&copy=2'
    """
    return url.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") if "&" in url else url


def _has_scheme(url: str) -> bool:
    return url.partition(":")[0].strip().lower() in urls.DEFAULT_PORTS


def _reason_of_host(reasons: dict[str, str], host: str) -> str:
    """The reason against a host or one that it belongs to, "" where there is none.

    >>> _reason_of_host({"reddit.com": "blocked-host"}, "old.reddit.com")
    'blocked-host'
    """
    while host:
        if host in reasons:
            return reasons[host]
        host = host.partition(".")[2]
    return ""
