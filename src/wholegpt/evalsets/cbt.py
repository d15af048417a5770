"""The Children's Book Test (section 3.2): 20 numbered sentences, a 21st with XXXXX, its answer and ten candidates.

Line 21 reads `21 QUESTION<tab>ANSWER<tab><tab>CANDIDATE|CANDIDATE|...`; a blank line ends an example. The text is
tokenized as in the Penn Treebank and is given as it stands: `zeroshot.detokenize` makes natural text of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from wholegpt.errors import WholeGPTError
from wholegpt.evalsets.stored import Stored

BLANK = "XXXXX"
SENTENCES = 21


@dataclass(frozen=True)
class Cloze:
    """A story with a blank."""

    context: tuple[str, ...]
    """20 sentences, tokenized, without their numbers."""
    question: str
    """The 21st, with XXXXX in the place of a word."""
    candidates: tuple[str, ...]
    answer: int
    """Index of the right candidate."""

    def filled(self, candidate: str) -> tuple[str, str]:
        """The question up to the blank, and the candidate with the rest of the sentence."""
        before, _, after = self.question.partition(BLANK)
        return before, candidate + after


def read(stored: Stored) -> Iterator[Cloze]:
    """The examples in order."""
    block: list[str] = []
    place = str(stored)
    for place, line in stored.lines():
        if not line.strip():
            if block:
                raise WholeGPTError(f"{place}: an example of {len(block)} lines, expected {SENTENCES}")
            continue
        number, _, text = line.partition(" ")
        if number != str(len(block) + 1):
            raise WholeGPTError(f"{place}: found {number[:20]!r} at its start, expected {len(block) + 1}")
        block.append(text)
        if len(block) == SENTENCES:
            yield _cloze(block, place)
            block = []
    if block:
        raise WholeGPTError(f"{place}: the file ends after {len(block)} of {SENTENCES} lines of an example")


def _cloze(block: list[str], place: str) -> Cloze:
    fields = block[-1].split("\t")
    if len(fields) != 4:
        raise WholeGPTError(
            f"{place}: found {len(fields)} tab-separated fields, expected question, answer, , candidates"
        )
    question, answer, _, listed = fields
    candidates = tuple(listed.split("|"))
    if BLANK not in question:
        raise WholeGPTError(f"{place}: the question has no {BLANK}")
    if answer not in candidates:
        raise WholeGPTError(f"{place}: the answer {answer!r} is not among the candidates")
    return Cloze(tuple(block[:-1]), question, candidates, candidates.index(answer))
