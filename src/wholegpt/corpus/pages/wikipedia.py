"""Documents of Wikipedia, which section 2.1 removes: its hosts, its mirrors, and pages that name it as their origin.

The address is that of the last answer after redirects. `wikipedia_mirrors.txt` is a list of our own; who knows a mirror
adds a line.
"""

from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

WIKIPEDIA = frozenset({"wikipedia.org", "wikipedia.com"})


def host(url: str) -> str:
    """The host of an address in small letters, "" where there is none.

    >>> host("https://EN.m.wikipedia.org:443/wiki/Sea")
    'en.m.wikipedia.org'
    """
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def reason(url: str, canonical: str) -> str:
    """Why a document is Wikipedia's: "host", "mirror", "canonical", or "" if it is not."""
    if _belongs(host(url), WIKIPEDIA):
        return "host"
    if _belongs(host(url), mirrors()):
        return "mirror"
    return "canonical" if _belongs(host(canonical), WIKIPEDIA) else ""


@cache
def mirrors() -> frozenset[str]:
    """Hosts that serve copies of Wikipedia."""
    lines = Path(__file__).with_name("wikipedia_mirrors.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _belongs(name: str, hosts: frozenset[str]) -> bool:
    """Whether the name or one above it is in the list."""
    labels = name.split(".")
    return any(".".join(labels[index:]) in hosts for index in range(len(labels)))
