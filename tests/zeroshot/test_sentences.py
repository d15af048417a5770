"""Sentences: what ends one and what does not."""

import time

import pytest

from wholegpt.zeroshot.sentences import sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It fell by 3.5. It rose.", ["It fell by 3.5.", "It rose."]),
        ("Mr. Low of the U.S. Army, J. Low, left.", ["Mr. Low of the U.S. Army, J. Low, left."]),
        ('"Go!" He said: "No." (So it was.) End', ['"Go!"', 'He said: "No."', "(So it was.)", "End"]),
        ("he waited ... and went . she too .", ["he waited ... and went .", "she too ."]),
        ("`` it is cold . `` she left .", ["`` it is cold .", "`` she left ."]),
        ("Heading\n\nText goes on\nhere.", ["Heading", "Text goes on", "here."]),
        ("Really?!! Yes.", ["Really?!!", "Yes."]),
        (" \n . ! \n", []),
        ("", []),
        ("- - . He left .", ["- - . He left ."]),
        ("Où? Là. 東京。はい", ["Où?", "Là.", "東京。はい"]),
    ],
)
def test_sentences(text: str, expected: list[str]):
    assert sentences(text) == expected


def test_nothing_is_lost():
    text = 'He left. "Why?" she asked Dr. Li ... nobody knew!\nThe end'
    assert " ".join(sentences(text)) == " ".join(text.split())


@pytest.mark.parametrize("hostile", ["!" * 50_000 + "x", "." * 50_000 + "x", "a." * 25_000, '."' * 25_000])
def test_no_quadratic_time(hostile: str):
    start = time.process_time()
    sentences(hostile)
    assert time.process_time() - start < 2
