"""The characters of a page's bytes, by its marks, its labels, and what its bytes can be at all."""

import re

import charset_normalizer
from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, read_bom, to_unicode

# Bytes of a page by which an unlabelled one is judged.
SAMPLE_BYTES = 10_000
# UTF-8 with a few broken places is still UTF-8: one in so many characters beyond ASCII.
BROKEN_ONE_IN = 20
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")


def decode(body: bytes, content_type: str = "") -> str:
    """The text of a page; what cannot be decoded becomes U+FFFD, and NUL, which ends a page for libxml2, is left out.

    In order: a byte order mark; valid UTF-8, whatever the labels say, since text in another encoding is hardly ever
    valid UTF-8 while labels are often wrong; the charset of HTTP; that of the page's `meta`; a guess.
    """
    return _decode(body, content_type).replace("\0", "")


def _decode(body: bytes, content_type: str) -> str:
    encoding, mark = read_bom(body)
    if encoding and mark:
        return to_unicode(body[len(mark) :], encoding)
    # ISO-2022-JP and its like are ASCII with escape sequences.
    if b"\x1b" not in body:
        try:
            return body.decode()
        except UnicodeDecodeError:
            pass
    label = http_content_type_encoding(content_type) or _declared(body)
    try:
        return to_unicode(body, label or _guess(body))
    except (UnicodeError, LookupError):  # a codec of Python's that is no charset, such as idna or rot13
        return to_unicode(body, _guess(body))


def _declared(body: bytes) -> str | None:
    """What the page's own head says; where it can be read as ASCII the page is not in UTF-16."""
    encoding = html_body_declared_encoding(body)
    return None if encoding and encoding.startswith(("utf-16", "utf-32")) else encoding


def _guess(body: bytes) -> str:
    """UTF-8 with broken places; the Web's default where letters beyond ASCII stand alone, as in Latin script; else what
    the bytes look like."""
    text = body.decode("utf-8", "replace")
    beyond_ascii = sum(character > "\x7f" for character in text)
    if text.count("\ufffd") * BROKEN_ONE_IN <= beyond_ascii:
        return "utf-8"
    runs = _BEYOND_ASCII.findall(body)
    if sum(map(len, runs)) < 2 * len(runs):
        return "cp1252"
    found = charset_normalizer.from_bytes(body[:SAMPLE_BYTES]).best()
    return found.encoding if found else "cp1252"
