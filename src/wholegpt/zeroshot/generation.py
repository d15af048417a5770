"""What the tasks that generate share: the room for a text, the request, example pairs, the count of what did not fit.

The model's window is shared by prompt and text. A text has as much room as the task's protocol says, but half of the
window at most, so that small models can be measured too. An example whose question alone does not fit makes no request:
its prediction is empty, which counts as wrong, and it is counted with its reason.
"""

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.inference.requests import Generated, Generation
from wholegpt.zeroshot.answers import normalized
from wholegpt.zeroshot.prompts import END, START, Prompt
from wholegpt.zeroshot.task import Option, Row, Sample, Setting

OWN = "own"
Pair = tuple[str, str]


def length_option(new_tokens: int, unstated: bool = True) -> dict[str, Option]:
    """The option for the length of a text."""
    text = "the most tokens that are generated; half of the model's window where that is less"
    return {"max_new_tokens": Option(new_tokens, f"Unstated in the paper: {text}" if unstated else text)}


def cut_option(default: str) -> dict[str, Option]:
    """The option for the end at which a document loses words."""
    return {"cut": Option(default, "Unstated in the paper: the end at which a document is cut to fit", (START, END))}


def shots_options(count: int, drawn_from: str) -> dict[str, Option]:
    """The options for example pairs."""
    which = f"Unstated in the paper: wholegpt's own, the first `shots`; or of {drawn_from}, drawn with the seed"
    return {
        "shots": Option(count, "Unstated in the paper: how many example pairs"),
        "shots_from": Option(OWN, which, (OWN, drawn_from)),
    }


def shots(
    own: Sequence[Pair], drawn: Callable[[], Sequence[Pair]], tested: Iterable[str], setting: Setting
) -> list[Pair]:
    """The example pairs of the options; none has a sentence that is `tested`, whatever its letters and punctuation.

    UsageError where there are not as many; `drawn` is asked only if they are to come from there.
    """
    count, ours = int(setting.options["shots"]), setting.options["shots_from"] == OWN
    used = set(map(normalized, tested))
    free = [pair for pair in (own if ours else drawn()) if used.isdisjoint(map(normalized, pair))]
    if not 0 <= count <= len(free):
        where = f"{setting.options['shots_from']} pairs"
        raise UsageError(f"{count} example pairs are asked for, and there are {len(free)} {where} (--num-fewshot)")
    return free[:count] if ours else random.Random(setting.seed).sample(free, count)


class Samples:
    """A sample of each example, made whenever it is asked for: all prompts of a set at once would be gigabytes."""

    def __init__(self, make: Callable[[int, Any], Sample], examples: Sequence[Any]) -> None:
        self._make, self._examples = make, examples

    def __iter__(self) -> Iterator[Sample]:
        return itertools.starmap(self._make, enumerate(self._examples))


def sample(
    doc_id: int,
    target: str,
    prompt: Callable[[int], Prompt],
    setting: Setting,
    notes: Mapping[str, Any],
    temperature: float = 0.0,
    top_k: int = 0,
    seed: int = 0,
) -> Sample:
    """A sample of one request; `prompt` makes the prompt for a number of tokens, WholeGPTError where it cannot."""
    room = min(int(setting.options["max_new_tokens"]), setting.window // 2)
    try:
        made = prompt(setting.window - room)
    except WholeGPTError as error:
        return Sample(doc_id, "", target, (), {**notes, "cut_tokens": 0, "dropped_shots": 0, "impossible": str(error)})
    ids = tuple(setting.tokenizer.encode_ordinary(made.text))
    request = Generation(ids, room, made.stop, temperature, top_k, seed)
    fitted = {"cut_tokens": made.cut_tokens, "shots": made.shots, "dropped_shots": made.dropped, "impossible": ""}
    return Sample(doc_id, made.text, target, (request,), {**notes, **fitted})


def row(sample: Sample, answers: Sequence[Generated]) -> Row:
    """The notes of a sample, and the first of its texts with the log-probability of every token."""
    answer = answers[0] if answers else Generated("", (), ())
    logprobs = [round(logprob, 6) for logprob in answer.logprobs]
    return {**sample.notes, "prediction": answer.text.strip(), "generated": answer.text, "logprobs": logprobs}


def fit(rows: Sequence[Row]) -> dict[str, Any]:
    """How many prompts were cut, by how much, and how many examples were impossible, with the reasons; and in words."""
    reasons = Counter(row["impossible"] for row in rows if row["impossible"])
    counts = {
        "cut": sum(row["cut_tokens"] > 0 for row in rows),
        "cut_tokens": sum(row["cut_tokens"] for row in rows),
        "with_dropped_shots": sum(row["dropped_shots"] > 0 for row in rows),
        "impossible": sum(reasons.values()),
    }
    notes = [
        f"{counts[key]:,} of {len(rows):,} {words}"
        for key, words in (("cut", "prompts were cut to fit"), ("impossible", "examples were impossible"))
        if counts[key]
    ]
    return {"fit": {**counts, "reasons": dict(reasons.most_common(10))}, "notes": notes}
