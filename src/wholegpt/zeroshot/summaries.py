"""CNN/Daily Mail (section 3.6): the rows of table 4 that a model, or no model, can be asked for.

    tldr       the first 3 sentences of 100 tokens after the article and "TL;DR:", top-k 2
    no-hint    the same without "TL;DR:"
    lead-3     the first 3 sentences of the article
    random-3   3 sentences of the article, drawn with the seed

Both prompts have the same part of the article, its beginning where it is too long for the window; lead-3 and random-3
have all of it. Scores are the F1 of the package rouge-score. The rows that the paper compares with were made with
ROUGE-1.5.5: stems by Porter, and ROUGE-L of whole summaries, sentence by sentence; so R-L is the package's rougeLsum
here, and so is that of the mean. Its rougeL, of a summary as one sequence of words, stands beside it. The sentences of
the reference are the highlights; highlights that come as one line are split like summaries.

Unstated in the paper: all of the scoring, the splitter of sentences (`sentences.py`), and the temperature, here 1.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from wholegpt import paper
from wholegpt.errors import missing_extra
from wholegpt.evalsets.cnn_dailymail import Article
from wholegpt.inference.requests import Generated
from wholegpt.zeroshot import generation, prompts
from wholegpt.zeroshot.sentences import sentences
from wholegpt.zeroshot.statistics import mean
from wholegpt.zeroshot.task import Data, Figure, Option, Row, Sample, Setting, Task, evalset

HINT = "TL;DR:"
LENGTH = 3
"""Sentences of a summary."""
# Our names, and those of table 4.
VARIANTS = {"tldr": "GPT-2 TL;DR:", "no-hint": "GPT-2 no hint", "lead-3": "Lede-3", "random-3": "Random-3"}
MEASURES = ("rouge1", "rouge2", "rougeLsum", "rougeL")
AVERAGED = MEASURES[:3]
OPTIONS = {
    "stemmer": Option(
        "porter", "Unstated in the paper: compare words by their stems, or as they are", ("porter", "none")
    ),
    "top_k": Option(2, "choose among the k most likely tokens"),
    "temperature": Option(1.0, "Unstated in the paper: what logits are divided by"),
    **generation.cut_option(prompts.END),
    **generation.length_option(100, unstated=False),
}


def read(setting: Setting) -> Data:
    """The articles; WholeGPTError, too, if rouge-score is not installed."""
    data = evalset("cnn-dailymail")(setting)
    _scorer(setting.options["stemmer"])
    return data


def samples(examples: Sequence[Article], setting: Setting) -> Iterable[Sample]:
    """A sample for each article, with a request for each prompt."""
    return generation.Samples(lambda number, article: _sample(number, article, setting), examples)


def _sample(number: int, article: Article, setting: Setting) -> Sample:
    options = setting.options
    whole = sentences(article.text)
    noise = random.Random(f"{setting.seed} {number}")
    drawn = [whole[place] for place in sorted(noise.sample(range(len(whole)), min(LENGTH, len(whole))))]
    highlights = article.highlights if len(article.highlights) > 1 else sentences(article.highlights[0])
    made = generation.sample(
        number,
        "\n".join(highlights),
        lambda budget: prompts.summary(article.text, setting.count_tokens, budget, HINT, options["cut"]),
        setting,
        {"article": article.id, "extracts": {"lead-3": whole[:LENGTH], "random-3": drawn}},
        options["temperature"],
        options["top_k"],
        (setting.seed << 32) + 2 * number,
    )
    if not made.requests:
        return made
    (hinted,) = made.requests
    unhinted = tuple(setting.tokenizer.encode_ordinary(made.prompt.removesuffix(HINT)))
    return replace(made, requests=(hinted, replace(hinted, prompt=unhinted, seed=hinted.seed + 1)))


def row(sample: Sample, texts: Sequence[Generated], setting: Setting) -> Row:
    """The four summaries, one sentence a line, with their scores; texts and log-probabilities of both prompts."""
    made = generation.row(sample, texts)
    written = {name: answer.text for name, answer in zip(("tldr", "no-hint"), texts, strict=False)}
    extracts = made.pop("extracts")
    cut = {name: sentences(written.get(name, ""))[:LENGTH] for name in ("tldr", "no-hint")}
    summaries = {name: "\n".join(one) for name, one in {**cut, **extracts}.items()}
    scores = {name: rouge(one, sample.target, setting.options["stemmer"]) for name, one in summaries.items()}
    return {
        **made,
        "prompt_no_hint": sample.prompt.removesuffix(HINT),
        "prediction": summaries["tldr"],
        "summaries": summaries,
        "generated": written,
        "logprobs": {
            name: [round(logprob, 6) for logprob in answer.logprobs]
            for name, answer in zip(written, texts, strict=True)
        },
        **{f"{measure},{name}": value for name, found in scores.items() for measure, value in found.items()},
    }


def rouge(summary: str, reference: str, stemmer: str) -> dict[str, float]:
    """F1 by each of MEASURES, and as `rouge` the mean of AVERAGED; texts have one sentence a line."""
    scores = _scorer(stemmer).score(reference, summary)
    found = {measure: float(scores[measure].fmeasure) for measure in MEASURES}
    return {"rouge": sum(found[measure] for measure in AVERAGED) / len(AVERAGED), **found}


@lru_cache
def _scorer(stemmer: str) -> Any:
    try:
        from rouge_score import rouge_scorer
    except ImportError:
        raise missing_extra("rouge-score", "eval") from None
    return rouge_scorer.RougeScorer(list(MEASURES), use_stemmer=stemmer == "porter")


def figures(_setting: Setting) -> dict[str, Figure]:
    """Of each variant the mean of ROUGE-1, -2 and -L, and each by itself."""
    keys = [f"{measure},{name}" for name in VARIANTS for measure in ("rouge", *MEASURES)]
    stated = {"rouge,tldr": paper.row("CNN/Daily Mail", "mean of ROUGE-1, -2, -L")}
    return {key: mean(key, paper=stated.get(key)) for key in keys}


def beside(_data: Data, rows: Sequence[Row], _setting: Setting) -> dict[str, Any]:
    """Table 4 with our rows beside its own [%], and what did not fit."""
    table = {
        row_name: {
            "ours": [
                round(100 * mean(f"{measure},{name}").value(rows), 2) for measure in (*AVERAGED, "rouge")
            ],
            "paper": list(paper.TABLE_4[row_name]),
        }
        for name, row_name in VARIANTS.items()
    }  # fmt: skip
    return {"table4": {"columns": ["R-1", "R-2", "R-L", "R-AVG"], **table}, **generation.fit(rows)}


TASK = Task(
    "cnn-dailymail",
    1,
    'article and "TL;DR:", top-k 2, 100 tokens, first 3 sentences; mean of ROUGE-1, -2, -Lsum',
    read,
    samples,
    row,
    figures,
    ("generation",),
    OPTIONS,
    beside,
    source="cnn-dailymail",
)
