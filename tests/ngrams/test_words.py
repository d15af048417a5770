"""The normal form of section 4: by the definition's own methods of `str`, over all of Unicode."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wholegpt import compiled
from wholegpt.ngrams.words import CODE_POINTS, SPECIAL, Texts, lowered_table, words

CHARACTERS = [chr(point) for point in range(CODE_POINTS) if not 0xD800 <= point < 0xE000]


def by_definition(text: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in text.lower()).split()


@given(st.text())
def test_words_are_runs_of_letters_and_digits(text: str) -> None:
    assert words(text) == by_definition(text)


def test_every_character_of_unicode_is_treated_by_the_definition() -> None:
    text = "x".join(CHARACTERS)
    assert words(text) == by_definition(text)


def test_the_table_holds_what_str_says_of_every_character() -> None:
    table = lowered_table()
    for char in CHARACTERS:
        lower = char.lower()
        if char not in SPECIAL:
            assert len(lower) == 1, "another character than the special ones grows"
            expected = int.from_bytes(lower.encode(), "little") if lower.isalnum() else 0
            assert table[ord(char)] == expected, hex(ord(char))
    assert not table[0xD800:0xE000].any()
    assert not table[CODE_POINTS:].any()


def test_no_other_lower_case_depends_on_the_neighbours() -> None:
    cased = [char for char in CHARACTERS if char.lower() != char]
    for around in ("a{}", "{}a", "a{}a", "{}"):
        depends = {char for char in cased if around.format(char).lower() != around.format(char.lower())}
        assert depends <= set(SPECIAL)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_texts_of_arrow_are_those_of_strings(kind: pa.DataType) -> None:
    texts = ["one", "", "ΟΔΟΣ ΣΟΦΟΣ", "İstanbul", "drei"]
    column = pa.array(["before", *texts, "behind"], kind).slice(1, len(texts))
    found, expected = Texts.of_arrow(column), Texts.of(texts)
    assert np.array_equal(found.data, expected.data)
    assert np.array_equal(found.bounds, expected.bounds)
    assert [found[index] for index in range(len(found))] == ["one", "", "οδος σοφος", "i̇stanbul", "drei"]
    assert not found.data[found.bounds[-1] :].any()
    assert len(found.data) == found.bounds[-1] + compiled.PADDING_BYTES
    assert len(Texts.of_arrow(column.slice(0, 0))) == 0


def test_words_by_hand() -> None:
    assert words("  Don't_STOP 3.5 straße ΟΔΟΣ") == ["don", "t", "stop", "3", "5", "straße", "οδος"]


def test_lone_surrogates_separate_words() -> None:
    assert Texts.of(["a\ud800b"])[0] == "a?b"
