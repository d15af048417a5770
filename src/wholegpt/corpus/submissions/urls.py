"""The normal form of a URL: two URLs with the same one are taken for the same page.

First w3lib's `canonicalize_url`: percent-encodings in one case and only where needed, dot segments resolved, query
sorted, host in lower case and punycode. Then, as w3lib leaves these:

- http and https are one; the scheme's own port goes
- `www.` at the beginning of the host and dots at its end go
- slashes at the end of the path go
- parameters of the list `tracking_parameters` go
- the fragment goes, but for `#!`, by which some sites of 2010 to 2015 named their pages

The normal form finds duplicates; what is kept and fetched is the URL as it was submitted.
"""

import re
from functools import cache, lru_cache
from hashlib import blake2b
from urllib.parse import urlsplit

from w3lib.url import canonicalize_url

from wholegpt.corpus.submissions import lists

DEFAULT_PORTS = {"http": 80, "https": 443}
# A host that DNS or a user could mean, and the literal forms of IPv6.
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")
# URLs in which w3lib changes the order and the encoding of parameters at most.
HOST, PATH, VALUE = "[a-z0-9-]", "[A-Za-z0-9/_~,:@=+!*()$&'.;-]", "[A-Za-z0-9_.~+/:,-]"
_PLAIN = re.compile(
    rf"https?://({HOST}++(?:\.{HOST}++)++)(/{PATH}*+)?+"
    rf"(?:\?({VALUE}++(?:={VALUE}*+)?+(?:&{VALUE}++(?:={VALUE}*+)?+)*+)?+)?+"
)


def normalise(url: str) -> tuple[str, str] | None:
    """The normal form (without a scheme) and the host, in lower case and punycode, of a URL of http or https.

    None for what is no such URL. Never raises.

    >>> normalise("HTTP://www.Example.com:80/a/../b/?utm_source=x&id=1#top")
    ('example.com/b?id=1', 'www.example.com')
    >>> normalise("http://[::1") is None
    True
    """
    page, _, fragment = url.partition("#") if "#" in url else (url, "", "")
    plain = _PLAIN.fullmatch(page)
    if plain is None or fragment.startswith("!"):
        return normalise_any(url)
    host, path, query = plain.groups("")
    if "/." in path or path.endswith(";"):
        return normalise_any(url)
    bare = host[4:] if host.startswith("www.") and host.count(".") > 1 else host
    normal = bare + path.rstrip("/")
    if query:
        # Sorted by name, then value, as they are without the "=": no other character here comes before it.
        fields = query.replace("=", "\0").split("&")
        named = sorted([field if "\0" in field else field + "\0" for field in fields])
        kept = [field for field in named if not _is_tracking(field[: field.index("\0")])]
        if kept:
            quoted = "&".join(kept).replace("/", "%2F").replace(":", "%3A").replace(",", "%2C")
            normal += "?" + quoted.replace("\0", "=")
    return normal, host


def normalise_any(url: str) -> tuple[str, str] | None:
    """The same for every URL; `normalise` takes a shorter way where nothing but parameters can change."""
    page, _, fragment = url.partition("#")
    names_page = fragment.startswith("!")
    try:
        parts = urlsplit(canonicalize_url(url if names_page else page, keep_fragments=True))
        hostname, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in DEFAULT_PORTS or not hostname:
        return None
    host = f"[{hostname}]" if ":" in hostname else hostname.rstrip(".")
    if not _HOST.fullmatch(host):
        return None
    user, at, _ = parts.netloc.rpartition("@")
    bare = host.removeprefix("www.") if host.count(".") > 1 else host
    where = user + at + bare + ("" if port in (None, DEFAULT_PORTS[parts.scheme]) else f":{port}")
    query = "&".join(field for field in parts.query.split("&") if not _is_tracking(field.partition("=")[0]))
    fragment = "#" + parts.fragment if names_page else ""
    return where + parts.path.rstrip("/") + ("?" + query if query else "") + fragment, host


def extension(normal: str) -> str:
    """The ending of the path in a normal form, in lower case, "" if it has none.

    >>> extension("example.com/a.b/photo.JPG?size=1.5"), extension("example.com")
    ('jpg', '')
    """
    path = normal.partition("?")[0]
    dot = path.rfind(".")
    return path[dot + 1 :].lower() if dot > path.rfind("/") >= 0 else ""


def digest(normal: str) -> bytes:
    """128 bits that stand for a normal form: among 10^9 of them two agree by chance once in 10^20 corpora."""
    return blake2b(normal.encode(), digest_size=16).digest()


@cache
def _tracking() -> tuple[frozenset[str], tuple[str, ...]]:
    names = lists.load("tracking_parameters")
    return frozenset(names), tuple(name.removesuffix("*") for name in names if name.endswith("*"))


@lru_cache(2**14)
def _is_tracking(name: str) -> bool:
    names, beginnings = _tracking()
    name = name.lower()
    return name in names or name.startswith(beginnings)
