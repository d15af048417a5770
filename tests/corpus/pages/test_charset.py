"""Bytes of pages become their characters."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholegpt.corpus.pages.charset import decode

RUSSIAN = "Река берёт начало в горах и течёт к морю. " * 20
GERMAN = "Der Müller ging früh über die Brücke – „schön“ war es nicht. " * 20
JAPANESE = "川は丘から流れ出て、海に注ぐ。" * 20


def meta(charset, text, encoding):
    return f'<html><head><meta charset="{charset}"></head>'.encode() + text.encode(encoding)


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (RUSSIAN.encode(), "", RUSSIAN),
        (codecs.BOM_UTF8 + RUSSIAN.encode(), "text/html; charset=koi8-r", RUSSIAN),
        (codecs.BOM_UTF16_LE + RUSSIAN.encode("utf-16-le"), "text/html; charset=utf-8", RUSSIAN),
        (RUSSIAN.encode("koi8-r"), "text/html; charset=KOI8-R", RUSSIAN),
        (meta("windows-1251", RUSSIAN, "cp1251"), "", RUSSIAN),
        (meta("windows-1251", RUSSIAN, "koi8-r"), 'text/html; charset="koi8-r"', RUSSIAN),
        # Labels that are wrong, as they often are: valid UTF-8 is UTF-8.
        (meta("iso-8859-1", RUSSIAN, "utf-8"), "text/html; charset=iso-8859-1", RUSSIAN),
        (meta("utf-16", GERMAN, "cp1252"), "", GERMAN),
        # The web's latin-1 is Windows' (quotes, dashes), its gb2312 is gb18030.
        (meta("iso-8859-1", GERMAN, "cp1252"), "", GERMAN),
        (meta("gb2312", "镕朱" * 20, "gb18030"), "", "镕朱" * 20),
        (meta("iso-2022-jp", JAPANESE, "iso-2022-jp"), "", JAPANESE),
        (meta("shift_jis", JAPANESE, "cp932"), "", JAPANESE),
        # No label at all.
        (RUSSIAN.encode("cp1251"), "", RUSSIAN),
        (GERMAN.encode("cp1252"), "", GERMAN),
        (GERMAN.encode()[:-20] + b"\xff\xfe" + GERMAN.encode()[-20:], "", GERMAN[:-20]),
        (meta("no-such-charset", RUSSIAN, "utf-8"), "text/html; charset=neither", RUSSIAN),
        (b"a\0b\0", "", "ab"),
        (b"", "", ""),
    ],
)
def test_characters(body, content_type, text):
    assert text in decode(body, content_type)


LABELS = ["", "\x00", *(f"; charset={name}" for name in ("utf-7", "utf-16", "idna", "rot13", "hex"))]


@given(st.binary(max_size=400), st.sampled_from(LABELS))
def test_no_bytes_break_it(body, content_type):
    assert "\0" not in decode(body, content_type)
