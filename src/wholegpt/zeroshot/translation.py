"""WMT-14 English-French and French-English (section 3.7): newstest2014, translated after example pairs.

The prompt has lines `english sentence = french sentence` and then `english sentence =`; the translation is the first
sentence generated, greedily. From French the sides are exchanged. BLEU is that of sacreBLEU, whose signature stands
with the result; the paper does not say what it used.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from wholegpt import evalsets, paper
from wholegpt.errors import missing_extra
from wholegpt.evalsets.newstest import Pair
from wholegpt.inference.requests import Generated
from wholegpt.zeroshot import generation, prompts
from wholegpt.zeroshot.sentences import sentences
from wholegpt.zeroshot.task import Data, Figure, Option, Row, Sample, Setting, Task, evalset

LINE, SENTENCE = "line", "sentence"
OPTIONS = {
    **generation.shots_options(5, "validation"),
    "stop": Option(
        LINE, "Unstated in the paper: a translation is the first line, or its first sentence", (LINE, SENTENCE)
    ),
    "tokenize": Option("13a", "Unstated in the paper: sacreBLEU's tokenizer", ("13a", "intl", "none")),
    **generation.length_option(256),
}


def samples(examples: Sequence[Pair], setting: Setting, from_french: bool) -> Iterable[Sample]:
    """A sample for each pair."""
    tested = (sentence for pair in examples for sentence in (pair.english, pair.french))
    pairs = generation.shots(prompts.TRANSLATION_PAIRS, lambda: _validation(setting), tested, setting)
    shots = [pair[::-1] for pair in pairs] if from_french else pairs

    def sample(number: int, pair: Pair) -> Sample:
        source, target = (pair.french, pair.english) if from_french else (pair.english, pair.french)
        return generation.sample(
            number,
            target,
            lambda budget: prompts.translation(source, setting.count_tokens, budget, shots),
            setting,
            {"source": source},
        )

    return generation.Samples(sample, examples)


def _validation(setting: Setting) -> list[generation.Pair]:
    """newstest2013, from where the test set is."""
    found = evalsets.find("wmt14", setting.data_dir, "validation", offline=True)
    return [(pair.english, pair.french) for pair in found.examples]


def row(sample: Sample, texts: Sequence[Generated], setting: Setting) -> Row:
    """The translation, with the counts that BLEU is made of."""
    made = generation.row(sample, texts)
    if setting.options["stop"] == SENTENCE:
        made["prediction"] = next(iter(sentences(made["prediction"])), "")
    score = _bleu(setting.options["tokenize"]).corpus_score([made["prediction"]], [[sample.target]])
    return {**made, "bleu_counts": [*score.counts, *score.totals, score.sys_len, score.ref_len]}


def bleu(rows: Sequence[Row], tokenize: str = "13a") -> float:
    """sacreBLEU's corpus score of all translations, from their counts."""
    counts = [sum(column) for column in zip(*(row["bleu_counts"] for row in rows), strict=True)]
    made = _bleu(tokenize)
    return float(made.compute_bleu(counts[:4], counts[4:8], *counts[8:], smooth_method=made.smooth_method).score)


@lru_cache
def _bleu(tokenize: str) -> Any:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        raise missing_extra("sacrebleu", "eval") from None
    return BLEU(tokenize=tokenize)


def beside(_data: Data, rows: Sequence[Row], setting: Setting) -> dict[str, Any]:
    """What sacreBLEU prints, its signature, and what did not fit."""
    made = _bleu(setting.options["tokenize"])
    score = made.corpus_score([row["prediction"] for row in rows], [[row["target"] for row in rows]])
    return {"sacrebleu": str(score), "signature": str(made.get_signature()), **generation.fit(rows)}


def task(part: str, row_name: str) -> Task:
    """One of the two directions; `part` is its name in the test set."""

    def read(setting: Setting) -> Data:
        data = evalset("wmt14", part)(setting)
        _bleu(setting.options["tokenize"])  # WholeGPTError if sacrebleu is not installed
        return data

    def figures(setting: Setting) -> dict[str, Figure]:
        def value(rows: Sequence[Row]) -> float:
            return bleu(rows, setting.options["tokenize"])

        return {"bleu,none": Figure(value, True, paper=paper.row(row_name, "BLEU"))}

    return Task(
        f"wmt14-{part}",
        1,
        "example pairs `sentence = translation`, greedy, first line; sacreBLEU",
        read,
        lambda examples, setting: samples(examples, setting, part == "fr-en"),
        row,
        figures,
        ("generation",),
        OPTIONS,
        beside,
        "shots",
        "wmt14",
    )


TASKS = (task("en-fr", "WMT-14 English-French"), task("fr-en", "WMT-14 French-English"))
