"""The text that a model is given in each task of section 3 that generates, or that chooses a word; what is cut to fit.

Plain functions of an example and of `count_tokens`, with the paper's silence filled by defaults that are marked. The
rule of what does not fit: first a document loses words at one end, then the oldest turns of a conversation or the first
example pairs go; the question, or what stands in its place, is never cut. How much went is in the result.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wholegpt.errors import WholeGPTError
from wholegpt.evalsets.cbt import BLANK, Cloze
from wholegpt.evalsets.coqa import Conversation
from wholegpt.zeroshot.detokenize import CBT, detokenize

CountTokens = Callable[[str], int]
START, END = "start", "end"

# Unstated in the paper: how many example pairs, and which. These were written for this project; they are in no test
# set. English first.
TRANSLATION_PAIRS = (
    ("The house stands at the end of the street.", "La maison se trouve au bout de la rue."),
    ("She has been waiting for him since this morning.", "Elle l'attend depuis ce matin."),
    ("We do not know when the train will arrive.", "Nous ne savons pas quand le train arrivera."),
    ("The minister said that the law would be changed.", "Le ministre a déclaré que la loi serait modifiée."),
    ("How much does this book cost?", "Combien coûte ce livre ?"),
)
QUESTION_PAIRS = (
    ("Who wrote the play Romeo and Juliet?", "William Shakespeare"),
    ("What is the capital of Portugal?", "Lisbon"),
    ("When did the Titanic sink?", "April 1912"),
    ("How many legs does a spider have?", "eight"),
    ("Where is the Colosseum?", "Rome, Italy"),
)


@dataclass(frozen=True)
class Prompt:
    """What a model is given, and what had to be left out."""

    text: str
    stop: tuple[str, ...] = ()
    """Generation ends before any of these."""
    cut_tokens: int = 0
    """Tokens of the document, turns or pairs that did not fit."""
    shots: int = 0
    """Example pairs, or earlier turns, in the text."""
    dropped: int = 0
    """Example pairs, or earlier turns, that did not fit."""


@dataclass(frozen=True)
class Choices:
    """A context and the continuations whose probabilities are compared."""

    context: str
    continuations: tuple[str, ...]
    cut_tokens: int = 0


def coqa(
    conversation: Conversation,
    turn: int,
    count_tokens: CountTokens,
    budget_tokens: int,
    cut: str = START,
    between: str = "\n\n",
    stop: str = "\n",
) -> Prompt:
    """Section 3.5: the document, the history of the conversation, the question and "A:"; `turn` counts from 0.

    The history has the conversation's own answers, as the official score supposes. Unstated in the paper: line ends
    (`between` stands between turns; a question and its answer are lines), the end at which a long document is cut,
    and where an answer ends (here before `stop`).
    """
    history = [f"Q: {one.question}\nA: {one.answers[0]}{between}" for one in conversation.turns[:turn]]
    question = f"Q: {conversation.turns[turn].question}\nA:"
    return _fitted(conversation.story, "\n\n", history, question, count_tokens, budget_tokens, cut, (stop,))


def summary(
    article: str, count_tokens: CountTokens, budget_tokens: int, hint: str = "TL;DR:", cut: str = END
) -> Prompt:
    """Section 3.6: the article, a line end and "TL;DR:"; with `hint=""` the paper's row "no hint".

    Unstated in the paper: which end of a long article is cut (here the last words: news leads with what matters).
    """
    return _fitted(article.strip(), "\n", [], hint, count_tokens, budget_tokens, cut, ())


def translation(
    source: str,
    count_tokens: CountTokens,
    budget_tokens: int,
    pairs: Sequence[tuple[str, str]] = TRANSLATION_PAIRS,
) -> Prompt:
    """Section 3.7: lines `english sentence = french sentence`, then `english sentence =`; the target follows.

    `pairs` are (source, target): for French to English turn TRANSLATION_PAIRS round. Unstated in the paper: number,
    choice and separation of the pairs; the translation is the first sentence generated, here of the first line.
    """
    shots = [f"{_line(one)} = {_line(other)}\n" for one, other in pairs]
    return _fitted("", "", shots, f"{_line(source)} =", count_tokens, budget_tokens, START, ("\n",))


def natural_question(
    question: str,
    count_tokens: CountTokens,
    budget_tokens: int,
    pairs: Sequence[tuple[str, str]] = QUESTION_PAIRS,
    stop: tuple[str, ...] = ("\n",),
) -> Prompt:
    """Section 3.8: example pairs of question and answer, "which helps the model infer the short answer style".

    Table 5 of the paper shows questions with a capital and a question mark, which the data set lacks: `asked` adds
    them. Unstated in the paper: number, choice and layout of the pairs, and where an answer ends (here before `stop`).
    """
    shots = [f"Q: {asked(one)}\nA: {answer}\n\n" for one, answer in pairs]
    return _fitted("", "", shots, f"Q: {asked(question)}\nA:", count_tokens, budget_tokens, START, stop)


def cloze(example: Cloze, count_tokens: CountTokens, budget_tokens: int, between: str = " ") -> Choices:
    """Section 3.2: each candidate with the rest of its sentence, after the 20 sentences and the sentence's beginning.

    All of it is de-tokenized, the candidates in their places. Unstated in the paper: what stands `between` sentences,
    and what is cut of a story that is too long (here its beginning).
    """
    story = between.join(detokenize(sentence, CBT) for sentence in example.context)
    before, _, after = detokenize(example.question, CBT).partition(BLANK)
    space = " " if before.endswith(" ") or not before else ""
    words = [detokenize(candidate, CBT) for candidate in example.candidates]
    continuations = tuple(f"{space}{word}{after.replace(BLANK, word)}" for word in words)
    beginning = between + before.rstrip(" ") if before else ""

    def longest(kept: str) -> int:
        return max(count_tokens(kept + beginning + continuation) for continuation in continuations)

    kept = _cut(story, longest, budget_tokens, START)
    return Choices(kept + beginning, continuations, count_tokens(story) - count_tokens(kept))


def asked(question: str) -> str:
    """A question as people write it.

    >>> asked("who wrote hamlet")
    'Who wrote hamlet?'
    """
    return question[:1].upper() + question[1:].rstrip("? ") + "?"


def _fitted(
    document: str,
    after_document: str,
    shots: list[str],
    question: str,
    count_tokens: CountTokens,
    budget_tokens: int,
    cut: str,
    stop: tuple[str, ...],
) -> Prompt:
    """The whole, or as much of it as the budget allows in the order that the module states."""
    fixed = len(shots)

    def text(kept: str, first: int) -> str:
        return (kept + after_document if document else "") + "".join(shots[first:]) + question

    whole = count_tokens(text(document, 0))
    first = 0
    while count_tokens(text("", first)) > budget_tokens:
        if first == fixed:
            raise WholeGPTError(
                f"the question alone has {count_tokens(text('', first))} tokens, and there is room for {budget_tokens}"
            )
        first += 1
    kept = _cut(document, lambda words: count_tokens(text(words, first)), budget_tokens, cut)
    made = text(kept, first)
    return Prompt(made, stop, whole - count_tokens(made), fixed - first, first)


def _cut(document: str, tokens_with: Callable[[str], int], budget_tokens: int, cut: str) -> str:
    """As many words of a document as fit, from its end where its start is cut; WholeGPTError if not even none fit."""
    if cut not in (START, END):
        raise ValueError(f"cut is {cut!r}, expected {START!r} or {END!r}")
    if tokens_with(document) <= budget_tokens:
        return document
    words = re.findall(r"\s*\S+", document)

    def keep(count: int) -> str:
        return ("".join(words[len(words) - count :]) if cut == START else "".join(words[:count])).strip()

    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if tokens_with(keep(middle)) <= budget_tokens:
            low = middle
        else:
            high = middle - 1
    if not low and tokens_with("") > budget_tokens:
        raise WholeGPTError(f"even without its document a prompt has {tokens_with('')} tokens of {budget_tokens}")
    return keep(low)


def _line(sentence: str) -> str:
    return " ".join(sentence.split())
