"""The Winograd Schema Challenge (section 3.4): 273 sentences in which a pronoun has two candidates.

Two files hold it: Davis's WSCollection.xml (283 schemas or more, of which the first 273 are the set) and wsc273.txt,
five lines a schema with [MASK] for the pronoun. Only the first names the pronoun, on which the fix-ups of `readings`
depend; the second is for comparison.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from wholegpt.errors import WholeGPTError
from wholegpt.evalsets.stored import Stored

SCHEMAS = 273
MASK = "[MASK]"
_POSSESSIVE = {"my", "his", "her", "our", "their", "its"}
# Capital at the start of a candidate, small in the middle of a sentence.
_SMALL = {"A", "An", "The", "She", "He", "It", "They", "My", "His", "Her", "Their"}
_END_OF_SENTENCE = re.compile(r"[.!?][\"'”’]*$")


@dataclass(frozen=True)
class Reading:
    """A schema with one candidate in the place of the pronoun."""

    context: str
    """Up to the candidate and with it."""
    continuation: str
    """The rest, with its leading space: what partial scoring (Trinh & Le, 2018) compares."""

    @property
    def sentence(self) -> str:
        """What full scoring compares."""
        return self.context + self.continuation


@dataclass(frozen=True)
class Schema:
    """A sentence with an ambiguous pronoun."""

    before: str
    pronoun: str
    """Empty where the file does not name it."""
    after: str
    candidates: tuple[str, str]
    answer: int
    """Index of the right candidate."""

    def readings(self) -> tuple[Reading, Reading]:
        """Both candidates put in: with 's for a possessive, a leading article small within a sentence.

        In all 273 sentences `her` is possessive.
        """
        first, second = (self._reading(candidate) for candidate in self.candidates)
        return first, second

    def _reading(self, candidate: str) -> Reading:
        head, space, rest = candidate.partition(" ")
        within = bool(self.before) and not _END_OF_SENTENCE.search(self.before)
        name = (head.lower() if within and head in _SMALL else head) + space + rest
        if self.pronoun.lower() in _POSSESSIVE:
            name += "'s"
        context = f"{self.before} {name}" if self.before else name
        return Reading(context, self.after if self.after[:1] in (".", ",", ";") else f" {self.after}")


def read(stored: Stored) -> Iterator[Schema]:
    """The first 273 schemas, or all if there are fewer."""
    schemas = _from_xml(stored) if stored.name.endswith(".xml") else _from_text(stored)
    for number, schema in enumerate(schemas):
        if number == SCHEMAS:
            return
        yield schema


def _from_xml(stored: Stored) -> Iterator[Schema]:
    data = stored.read()
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise WholeGPTError(f"{stored} defines entities, which the collection does not and which could fill the memory")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise WholeGPTError(f"{stored} is not XML that can be read ({error})") from None
    for number, element in enumerate(root.iter("schema"), start=1):
        place = f"{stored}, schema {number}"
        before, pronoun, after, letter = (
            _clean(element.findtext(path, "")) for path in ("text/txt1", "text/pron", "text/txt2", "correctAnswer")
        )
        candidates = [_clean(answer.text or "") for answer in element.iterfind("answers/answer")]
        index = "AB".find(letter.rstrip(".") or "?")
        if len(candidates) != 2 or index < 0 or not (pronoun and after):
            raise WholeGPTError(f"{place}: expected a pronoun in a text, two answers, and A or B as the correct one")
        yield Schema(before, pronoun, after, (candidates[0], candidates[1]), index)


def _from_text(stored: Stored) -> Iterator[Schema]:
    lines = list(stored.lines())
    while lines and not lines[-1][1].strip():
        lines.pop()
    for start in range(0, len(lines), 5):
        place = lines[start][0]
        block = [text for _, text in lines[start : start + 4]]
        after_block = lines[start + 4][1].strip() if start + 4 < len(lines) else ""
        candidates = [_clean(name) for name in block[2].split(",")] if len(block) == 4 else []
        if len(candidates) != 2 or after_block or MASK not in block[0] or _clean(block[3]) not in candidates:
            raise WholeGPTError(f"{place}: expected a sentence with {MASK}, {MASK}, `A,B`, the right one, a blank line")
        before, _, after = block[0].partition(MASK)
        answer = candidates.index(_clean(block[3]))
        yield Schema(_clean(before), "", _clean(after), (candidates[0], candidates[1]), answer)


def _clean(text: str) -> str:
    return " ".join(text.split())
