"""CoQA (section 3.5): stories with a conversation about each, in the JSON of its authors (coqa-dev-v1.0.json)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from wholegpt.errors import WholeGPTError
from wholegpt.evalsets.stored import Stored, strings


@dataclass(frozen=True)
class Turn:
    """A question of a conversation."""

    question: str
    answers: tuple[str, ...]
    """The answer in the conversation first, then those of other people; dev has four in all."""


@dataclass(frozen=True)
class Conversation:
    """A story and the questions about it, each of which may refer to those before."""

    id: str
    source: str
    """The domain, such as cnn, mctest, wikipedia."""
    story: str
    turns: tuple[Turn, ...]


def read(stored: Stored) -> Iterator[Conversation]:
    """The conversations in order."""
    try:
        content = orjson.loads(stored.read())
    except orjson.JSONDecodeError as error:
        raise WholeGPTError(f"{stored} is not JSON ({error})") from None
    stories = content.get("data") if isinstance(content, dict) else None
    if not isinstance(stories, list):
        raise WholeGPTError(f"{stored}: expected an object with `data`, a list of stories")
    for number, record in enumerate(stories, start=1):
        place = f"{stored}, story {number}"
        if not isinstance(record, dict):
            raise WholeGPTError(f"{place}: found {type(record).__name__}, expected an object")
        identifier, source, story = strings(record, place, "id", "source", "story")
        yield Conversation(identifier, source, story, tuple(_turns(record, place)))


def _turns(record: dict[str, Any], place: str) -> Iterator[Turn]:
    questions = _inputs(record.get("questions"), place)
    additional = record.get("additional_answers", {})
    if not isinstance(additional, dict):
        raise WholeGPTError(f"{place}: found {type(additional).__name__} as `additional_answers`, expected an object")
    answers = [_inputs(one, place) for one in (record.get("answers"), *additional.values())]
    if not questions or any(len(one) != len(questions) for one in answers):
        raise WholeGPTError(f"{place}: {len(questions)} questions and {[len(one) for one in answers]} answers to them")
    for question, *given in zip(questions, *answers, strict=True):
        yield Turn(question, tuple(given))


def _inputs(listed: Any, place: str) -> list[str]:
    """The texts of questions or answers, checked to be in the order of their turns."""
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise WholeGPTError(f"{place}: expected lists of objects as questions and answers")
    if any(entry.get("turn_id") != number for number, entry in enumerate(listed, start=1)):
        raise WholeGPTError(f"{place}: the turns are not numbered 1 to {len(listed)}")
    return [strings(entry, place, "input_text")[0] for entry in listed]
