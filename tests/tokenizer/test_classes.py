"""The class table against the module `regex`, on every code point."""

from importlib.metadata import version

import numpy as np
import pytest
import regex

from wholegpt.tokenizer import bpe, classes


def by_regex() -> np.ndarray:
    table = np.zeros(classes.TABLE_SIZE, np.uint8)
    for start, end, kind in classes.runs():
        table[start:end] = kind
    return table


def test_the_table_is_that_of_regex_on_every_code_point() -> None:
    """A later Unicode version gives classes to code points that had none, and takes none back."""
    ours, theirs = classes.table(), by_regex()
    if version("regex") == classes.version():
        assert np.array_equal(ours, theirs)
    different = ours != theirs
    assert not ours[different].any() or not theirs[different].any()
    assert different.sum() < 20_000


def test_the_twin_splits_by_the_table() -> None:
    """U+33000 is a letter since Unicode 17: the table holds it for no letter, so that it takes the apostrophe."""
    pattern = regex.compile(bpe.PATTERN)
    assert classes.split("é\U00033000's", pattern) == ["é", "\U00033000'", "s"]
    assert classes.split("é's", pattern) == ["é", "'s"]


def test_the_kernels_know_the_same_numbers() -> None:
    kernel_split = pytest.importorskip("wholegpt.tokenizer.kernel_split")
    assert (kernel_split.LETTER, kernel_split.SPACE) == (classes.LETTER, classes.SPACE)


def test_the_file_is_small_and_whole() -> None:
    assert classes.FILE.stat().st_size < 12_000
    table = classes.table()
    assert [int(table[ord(character)]) for character in "a1 .é中²\u3000"] == [1, 2, 3, 0, 1, 1, 2, 3]
    assert not table[classes.CODE_POINTS :].any()
