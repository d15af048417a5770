"""LAMBADA (section 3.3): the last word of a passage, in the variants that people have taken for the paper's.

All variants come from the log-probabilities of the true word and from the most likely tokens at each of its places:

    word           every token of the word is the most likely one: greedy decoding writes the word
    filter         the same, where no stop word may be the first token
    filter-every   the same, where no token of the word may be one, not even in its middle (so does cybertronai/bflm)
    filter-marks   as filter, where the first token may be no punctuation mark either
    last-token     the last token of the word is the most likely one, those before it given

The paper says that a stop-word filter approximates "must be the final word" and brings its largest model from 52.66 to
63.24; `filter` stands beside its column, because it rules out whole words and nothing else. Unstated in the paper: the
list of words, and at which tokens it is applied.
"""

from collections.abc import Callable, Sequence

from wholegpt import paper
from wholegpt.evalsets.lambada import Passage
from wholegpt.inference.requests import Continuation, Scored
from wholegpt.inference.scoring import split_ids
from wholegpt.zeroshot.metrics import mean_perplexity
from wholegpt.zeroshot.statistics import mean
from wholegpt.zeroshot.stopwords import STOP_WORDS
from wholegpt.zeroshot.task import Figure, Option, Row, Sample, Setting, Task, evalset, fitted

PREFIXES = {"none": "", "newline": "\n", "endoftext": ""}
OPTIONS = {
    "prefix": Option("none", "Unstated in the paper: what stands before a passage", tuple(PREFIXES)),
    "candidates": Option(128, "how many of the most likely tokens the stop-word filter chooses among"),
}


def samples(examples: Sequence[Passage], setting: Setting) -> list[Sample]:
    """A request for the word; one more for each of its later tokens, whose candidates the filter needs."""
    return [_sample(number, passage, setting) for number, passage in enumerate(examples)]


def _sample(number: int, passage: Passage, setting: Setting) -> Sample:
    prefix = PREFIXES[setting.options["prefix"]]
    context, ids = split_ids(setting.tokenizer, prefix + passage.context, passage.target)
    if setting.options["prefix"] == "endoftext":
        context = [setting.tokenizer.eot, *context]
    kept, word, cut_tokens = fitted(context, ids, setting.window)
    candidates = int(setting.options["candidates"])
    requests = [Continuation((*kept, *word[:place]), word[place:], candidates) for place in range(len(word))]
    notes = {"ids": word, "cut_tokens": cut_tokens}
    return Sample(number, prefix + passage.context, passage.target, tuple(requests), notes)


def row(sample: Sample, answers: Sequence[Scored], setting: Setting) -> Row:
    """Whether the word is found, by each variant."""
    tokenizer, ids = setting.tokenizer, sample.notes["ids"]
    whole = answers[0]

    def best(place: int, refused: Callable[[str], bool]) -> int:
        allowed = (token for token, _ in answers[place].candidates if not refused(tokenizer.decode([token])))
        return next(allowed, -1)

    filtered = best(0, is_stop_word)
    later = all(whole.greedy[1:])
    return {
        "prediction": tokenizer.decode([answers[0].candidates[0][0]]),
        "filtered": tokenizer.decode([filtered]) if filtered >= 0 else "",
        "cut_tokens": sample.notes["cut_tokens"],
        "logprobs": [round(logprob, 6) for logprob in whole.logprobs],
        "greedy": list(whole.greedy),
        "nats": -whole.logprob,
        "last_nats": -whole.logprobs[-1],
        "word": whole.is_greedy,
        "filter": filtered == ids[0] and later,
        "filter-every": all(best(place, is_stop_word) == token for place, token in enumerate(ids)),
        "filter-marks": best(0, is_stop_word_or_mark) == ids[0] and later,
        "last-token": whole.greedy[-1],
    }


def is_stop_word(text: str) -> bool:
    """Whether a token is a function word, whatever its case.

    >>> is_stop_word(" The"), is_stop_word(" theory")
    (True, False)
    """
    return text.strip().lower() in STOP_WORDS


def is_stop_word_or_mark(text: str) -> bool:
    """The same, or no word at all."""
    return is_stop_word(text) or not any(map(str.isalnum, text))


def figures(_setting: Setting) -> dict[str, Figure]:
    """The paper's two columns first."""
    return {
        "acc,filter": mean("filter", paper=paper.row("LAMBADA", "accuracy, %")),
        "acc,word": mean("word", paper=paper.row("LAMBADA", "accuracy without stop-word filter, %")),
        "acc,filter-every": mean("filter-every"),
        "acc,filter-marks": mean("filter-marks"),
        "acc,last-token": mean("last-token"),
        "perplexity,word": mean_perplexity("nats", paper.row("LAMBADA", "perplexity")),
        "perplexity,last-token": mean_perplexity("last_nats"),
    }


TASKS = (
    Task(
        "lambada",
        1,
        "last word, greedy, no stop word as its first token",
        evalset("lambada"),
        samples,
        row,
        figures,
        ("cloze", "table3"),
        OPTIONS,
        source="lambada",
    ),
)
