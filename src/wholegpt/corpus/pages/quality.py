"""Rules that drop what is no text to learn from: each a name and a function of the text, switchable by name.

Unstated in the paper: "some heuristic based cleaning". Thresholds marked Gopher are those of Rae et al. 2021 (table
A1), made for languages that put spaces between words; the notices (block pages, consent, parked domains) are what users
of WebText's clones meet first.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from wholegpt.errors import UsageError

FEWEST_WORDS = 50  # Gopher
# A notice is a page of its own: in a longer text the same words are quoted, or end an article.
LONGEST_NOTICE_WORDS = 200
FEWEST_WORDS_WITH_LETTERS = 0.8  # Gopher
MOST_SYMBOLS_A_WORD = 0.1  # Gopher: # and ellipsis
SHORTEST_MEAN_WORD, LONGEST_MEAN_WORD = 3.0, 10.0  # Gopher
MOST_IN_REPEATED_LINES = 0.3  # share of characters; Gopher: 0.2, which drops articles that quote themselves
MOST_IN_TOP_NGRAM = {2: 0.2, 3: 0.18, 4: 0.16}  # Gopher: share of characters in the most frequent n-gram
MOST_REPEATED_NGRAMS = 0.3  # share of 10-grams that came before: Gopher bounds characters in them by 0.1

NOTICES: dict[str, tuple[str, ...]] = {
    "javascript": (
        "enable javascript", "javascript is disabled", "javascript is not enabled", "requires javascript",
        "javascript must be enabled", "turn on javascript", "javascript to run this app", "activate javascript",
        "please enable js", "browser does not support javascript", "javascript is required",
    ),
    "captcha": (
        "not a robot", "are you a robot", "you are human", "you're human", "complete the captcha",
        "solve the captcha", "captcha below", "unusual traffic from your", "checking your browser",
        "ddos protection by", "security check to access", "you have been blocked",
        "access to this page has been denied", "pardon our interruption",
    ),
    "cookies": (
        "we use cookies", "uses cookies", "use of cookies", "accept cookies", "accept all cookies", "cookie policy",
        "cookie settings", "cookie preferences", "before you continue to", "we value your privacy",
        "store and/or access information on a device",
    ),
    "parked": (
        "domain is for sale", "domain name is for sale", "buy this domain", "this domain is parked",
        "domain is parked", "domain may be for sale", "parked free, courtesy of", "sponsored listings",
        "domain has expired", "website is for sale", "inquire about this domain", "future home of",
        "apache2 ubuntu default page", "welcome to nginx", "account has been suspended", "site is under construction",
    ),
    "soft-404": (
        "page not found", "page you requested could not be found", "page you are looking for",
        "page you were looking for", "page you requested", "page can't be found", "page cannot be found",
        "page could not be found", "404 error", "error 404", "404 not found", "page doesn't exist",
        "page does not exist", "no longer available", "no longer exists", "nothing was found at this location",
        "content is currently unavailable", "you do not have permission to access",
    ),
}  # fmt: skip

_WORD = re.compile(r"\w+")


def _is_notice(name: str) -> Callable[[str], bool]:
    def rule(text: str) -> bool:
        if len(text.split(maxsplit=LONGEST_NOTICE_WORDS)) > LONGEST_NOTICE_WORDS:
            return False
        plain = " ".join(text.lower().replace("’", "'").split())
        return any(phrase in plain for phrase in NOTICES[name])

    return rule


def is_short(text: str) -> bool:
    """Fewer than 50 words."""
    return len(text.split(maxsplit=FEWEST_WORDS)) < FEWEST_WORDS


def is_symbols(text: str) -> bool:
    """Too few words have a letter, or there are too many # and ellipses."""
    words = text.split()
    with_letters = sum(any(map(str.isalpha, word)) for word in words)
    symbols = text.count("#") + text.count("...") + text.count("…")
    return with_letters < FEWEST_WORDS_WITH_LETTERS * len(words) or symbols > MOST_SYMBOLS_A_WORD * len(words)


def has_odd_words(text: str) -> bool:
    """Words are shorter or longer than a language's are on average: tables, codes, text without spaces."""
    words = text.split()
    return not SHORTEST_MEAN_WORD <= sum(map(len, words)) / max(len(words), 1) <= LONGEST_MEAN_WORD


def repeats_lines(text: str) -> bool:
    """Too much of it stands in lines that came before."""
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    return _share_repeated(lines, len) > MOST_IN_REPEATED_LINES


def repeats_words(text: str) -> bool:
    """One n-gram of 2 to 4 words makes too much of the text, or too many of its 10-grams came before."""
    words = _WORD.findall(text.lower())
    characters = sum(map(len, words))
    for length, most in MOST_IN_TOP_NGRAM.items():
        top, count = max(Counter(_ngrams(words, length)).items(), key=lambda item: item[1], default=((), 0))
        if count > 1 and sum(map(len, top)) * count > most * characters:
            return True
    return _share_repeated(_ngrams(words, 10), lambda _: 1) > MOST_REPEATED_NGRAMS


def _ngrams(words: list[str], length: int) -> Iterable[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(length)), strict=False)


def _share_repeated(items: Iterable[Any], size: Callable[[Any], int]) -> float:
    """How much of all items, by size, came before."""
    seen: set[Any] = set()
    total = repeated = 0
    for item in items:
        total += size(item)
        repeated += size(item) if item in seen else 0
        seen.add(item)
    return repeated / total if total else 0.0


RULES: dict[str, Callable[[str], bool]] = {
    # Notices first: they are short as well, and this says more.
    **{name: _is_notice(name) for name in NOTICES},
    "short": is_short,
    "symbols": is_symbols,
    "odd-words": has_odd_words,
    "repeated-lines": repeats_lines,
    "repeated-words": repeats_words,
}


def reason(text: str, without: Iterable[str] = ()) -> str:
    """The name of the first rule that drops the text, "" if none does.

    >>> reason("Please enable JavaScript and reload.")
    'javascript'
    """
    return next((name for name, drops in RULES.items() if name not in without and drops(text)), "")


def check(without: Iterable[str]) -> None:
    """UsageError for a rule that does not exist."""
    for name in without:
        if name not in RULES:
            raise UsageError(f"--without-rules {name} names no rule; there are {', '.join(RULES)}")
