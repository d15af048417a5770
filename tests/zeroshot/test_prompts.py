"""Prompts: the exact text of each, and what is cut when it does not fit."""

import pytest

from wholegpt.errors import WholeGPTError
from wholegpt.evalsets import coqa as coqa_file
from wholegpt.evalsets.cbt import Cloze
from wholegpt.evalsets.coqa import Conversation, Turn
from wholegpt.evalsets.stored import Stored
from wholegpt.tokenizer import Tokenizer
from wholegpt.zeroshot import prompts
from wholegpt.zeroshot.prompts import END, START, Prompt

MANY = 10_000
TALK = Conversation(
    "1", "mctest", "One two three. Four five.",
    (Turn("Who?", ("Ann", "ann")), Turn("Where?", ("home",)), Turn("Why?", ("rain",))),
)  # fmt: skip


def words(text: str) -> int:
    """A tokenizer that one can count by hand: pieces between white space."""
    return len(text.split())


def test_coqa():
    assert prompts.coqa(TALK, 2, words, MANY) == Prompt(
        "One two three. Four five.\n\nQ: Who?\nA: Ann\n\nQ: Where?\nA: home\n\nQ: Why?\nA:", ("\n",), 0, 2, 0
    )
    assert prompts.coqa(TALK, 0, words, MANY).text == "One two three. Four five.\n\nQ: Who?\nA:"


def test_coqa_cuts_the_document_then_the_oldest_turns():
    # 5 words of document, twice 4 of history, 3 of question: 16 in all
    assert prompts.coqa(TALK, 2, words, 16).cut_tokens == 0
    cut = prompts.coqa(TALK, 2, words, 13)
    assert cut.text.startswith("Four five.\n\nQ: Who?")
    assert (cut.cut_tokens, cut.shots, cut.dropped) == (3, 2, 0)
    assert prompts.coqa(TALK, 2, words, 13, cut=END).text.startswith("One two\n\nQ: Who?")
    cut = prompts.coqa(TALK, 2, words, 8)
    assert cut.text == "five.\n\nQ: Where?\nA: home\n\nQ: Why?\nA:"
    assert (cut.cut_tokens, cut.shots, cut.dropped) == (8, 1, 1)
    assert prompts.coqa(TALK, 2, words, 3).text == "\n\nQ: Why?\nA:"


def test_the_question_is_never_cut():
    with pytest.raises(WholeGPTError, match="the question alone has 3 tokens, and there is room for 2"):
        prompts.coqa(TALK, 2, words, 2)
    with pytest.raises(WholeGPTError, match="the question alone has 5 tokens"):
        prompts.translation("One two three four", words, 4)


def test_summary():
    assert prompts.summary(" News of today. \n", words, MANY) == Prompt("News of today.\nTL;DR:")
    assert prompts.summary("News of today.", words, MANY, hint="").text == "News of today.\n"
    cut = prompts.summary("one two three four", words, 3)
    assert (cut.text, cut.cut_tokens) == ("one two\nTL;DR:", 2)
    assert prompts.summary("one two three four", words, 3, cut=START).text == "three four\nTL;DR:"
    with pytest.raises(ValueError, match="expected 'start' or 'end'"):
        prompts.summary("one", words, 3, cut="middle")


def test_translation():
    pairs = (("a cat", "un chat"), ("a\ndog", "un chien"))
    whole = prompts.translation(" a  house ", words, MANY, pairs)
    assert whole == Prompt("a cat = un chat\na dog = un chien\na house =", ("\n",), 0, 2, 0)
    cut = prompts.translation("a house", words, 8, pairs)
    assert (cut.text, cut.cut_tokens, cut.shots, cut.dropped) == ("a dog = un chien\na house =", 5, 1, 1)
    assert prompts.translation("a house", words, MANY, ()).text == "a house ="
    assert prompts.translation("x", words, MANY).shots == len(prompts.TRANSLATION_PAIRS)


def test_natural_question():
    made = prompts.natural_question("who was it", words, MANY, (("what is this?", "that"),))
    assert made.text == "Q: What is this?\nA: that\n\nQ: Who was it?\nA:"
    assert prompts.natural_question("who was it", words, 5).text == "Q: Who was it?\nA:"


def test_cloze():
    example = Cloze(("`` Do n't , '' he said .", "They ran ."), "The XXXXX ran , too .", ("dog", "Mr. Fox"), 0)
    made = prompts.cloze(example, words, MANY)
    assert made.context == '"Don\'t," he said. They ran. The'
    assert made.continuations == (" dog ran, too.", " Mr. Fox ran, too.")
    first = Cloze(("One two .",), "XXXXX ran .", ("Ann", "Bob"), 1)
    assert prompts.cloze(first, words, MANY).continuations == (" Ann ran.", " Bob ran.")
    quoted = Cloze(("One .",), "`` XXXXX ! ''", ("Run", "-LRB-"), 0)
    made = prompts.cloze(quoted, words, MANY)
    assert (made.context, made.continuations) == ('One. "', ('Run!"', '(!"'))


def test_cloze_keeps_the_end_of_the_story():
    example = Cloze(("one two three .", "four five ."), "six XXXXX seven .", ("a", "b"), 0)
    cut = prompts.cloze(example, words, 5)
    assert (cut.context, cut.cut_tokens) == ("four five. six", 3)
    with pytest.raises(WholeGPTError, match="even without its document a prompt has 3 tokens of 2"):
        prompts.cloze(example, words, 2)


def test_real_conversation_fits_exactly(shared):
    """With GPT-2's tokenizer, budgets around the real length: never above, and no word less than fits."""
    tokenizer = Tokenizer.load(str(shared / "gpt2-vocab"))
    (talk,) = coqa_file.read(Stored(shared / "eval" / "coqa" / "FIXTURE-coqa-dev-v1.0.json"))

    def count(text: str) -> int:
        return len(tokenizer.encode(text))

    whole = prompts.coqa(talk, 11, count, MANY)
    assert whole.cut_tokens == 0 and whole.text.startswith(talk.story)
    for budget in (count(whole.text), count(whole.text) - 1, 300, 100):
        made = prompts.coqa(talk, 11, count, budget)
        assert budget - 8 <= count(made.text) <= budget
        assert made.text.endswith(f"Q: {talk.turns[11].question}\nA:")
        assert count(whole.text) - count(made.text) == made.cut_tokens
