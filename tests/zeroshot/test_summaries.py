"""Summaries: ROUGE is the package's, the extracts are the article's, and a rigged model that is right or wrong."""

import builtins
import json
from pathlib import Path

import pytest

from wholegpt.errors import WholeGPTError
from wholegpt.evalsets import cnn_dailymail
from wholegpt.evalsets.cnn_dailymail import Article
from wholegpt.evalsets.stored import Stored
from wholegpt.zeroshot import summaries
from wholegpt.zeroshot.summaries import TASK, VARIANTS, beside, rouge
from wholegpt.zeroshot.task import Data

pytest.importorskip("rouge_score")

ARTICLE = Article(
    "1",
    "The mayor of Low Town left. He was ill. His wife stayed on. Nobody saw him go. It rained.",
    ("The mayor left .", "He was ill ."),
)


def test_rouge_is_the_package_s(fixtures: Path):
    expected = json.loads((fixtures / "scores" / "rouge.json").read_text(encoding="utf-8"))
    for ours, theirs in (("porter", "stem"), ("none", "plain")):
        found = [rouge(one["hypothesis"], one["reference"], ours) for one in expected["items"]]
        for scores, one in zip(found, expected["items"], strict=True):
            assert {name: scores[name] for name in one[theirs]} == pytest.approx(
                {name: f1 for name, (_, _, f1) in one[theirs].items()}
            )
        means = {name: sum(one[name] for one in found) / len(found) for name in expected["mean_f1"][theirs]}
        assert means == pytest.approx(expected["mean_f1"][theirs])


def test_rouge_by_hand():
    # Words: 3 of 4 and of 4. Pairs: "he was" of 3 and of 3. One sentence against two: "the mayor" is in the second.
    found = rouge("he was the mayor", "he was ill\nthe mayor", "none")
    assert found["rouge1"] == pytest.approx(2 * 4 / (4 + 5))
    assert found["rouge2"] == pytest.approx(2 * 2 / (3 + 4))
    assert found["rougeL"] == pytest.approx(2 * 4 / (4 + 5))  # he was the mayor, in this order
    assert found["rougeLsum"] == pytest.approx(2 * 4 / (4 + 5))
    swapped = rouge("the mayor he was", "he was ill\nthe mayor", "none")
    assert swapped["rougeL"] == pytest.approx(2 * 2 / (4 + 5))  # only one of the two pairs is in order
    assert swapped["rougeLsum"] == pytest.approx(2 * 4 / (4 + 5))  # each sentence by itself
    assert swapped["rouge"] == pytest.approx((8 / 9 + 4 / 7 + 8 / 9) / 3)
    assert rouge("", "he was ill", "porter")["rouge"] == 0
    assert rouge("mayors", "mayor", "porter")["rouge1"] == 1 and rouge("mayors", "mayor", "none")["rouge1"] == 0


def test_a_reference_in_one_line_is_split(dictated):
    joined = Article("1", ARTICLE.text, (" ".join(ARTICLE.highlights),))
    one, other = dictated.rows(TASK, [joined, ARTICLE], lambda *_: "He was ill. The mayor left.")
    assert one["target"] == other["target"] == "The mayor left .\nHe was ill ."
    assert one["rougeLsum,tldr"] == 1 and one["rougeL,tldr"] == pytest.approx(3 / 6)


def test_four_rows(dictated):
    said = (" The mayor left. He was ill.\n\nIt rained. Then more.", "xyzzy")
    (row,) = dictated.rows(TASK, [ARTICLE], lambda _, place: said[place])
    assert row["prompt"] == f"{ARTICLE.text}\nTL;DR:" and row["prompt_no_hint"] == f"{ARTICLE.text}\n"
    assert row["prediction"] == "The mayor left.\nHe was ill.\nIt rained."
    assert row["summaries"]["no-hint"] == "xyzzy"
    assert row["summaries"]["lead-3"] == "The mayor of Low Town left.\nHe was ill.\nHis wife stayed on."
    random_3 = row["summaries"]["random-3"].split("\n")
    assert len(random_3) == 3 and sorted(random_3, key=ARTICLE.text.index) == random_3
    # 6 words of the reference in the 8 of the summary.
    assert row["rouge1,tldr"] == pytest.approx(2 * 6 / (6 + 8)) and row["rouge,no-hint"] == 0
    assert set(row["logprobs"]) == {"tldr", "no-hint"}
    found = dictated.figures(TASK, [row])
    assert next(iter(found)) == "rouge,tldr" and len(found) == 20
    table = beside(Data([ARTICLE]), [row], dictated.setting(TASK))["table4"]
    assert table["Lede-3"]["paper"] == [40.38, 17.66, 36.62, 31.55]
    assert table["GPT-2 no hint"]["ours"] == [0, 0, 0, 0]
    first, second = dictated.requests
    assert (first.top_k, first.temperature, first.max_new_tokens) == (2, 1.0, 100)
    assert first.seed != second.seed and first.prompt[: len(second.prompt) - 1] == second.prompt[:-1]


def test_the_seed_draws_sentences_and_noise(dictated):
    articles = [Article(str(number), ARTICLE.text, ARTICLE.highlights) for number in range(20)]
    rows = dictated.rows(TASK, articles, lambda *_: "x")
    assert rows == dictated.rows(TASK, articles, lambda *_: "x")
    assert len({row["summaries"]["random-3"] for row in rows}) > 3
    assert len({request.seed for request in dictated.requests}) == 2 * len(articles)


def test_right_and_wrong_everywhere(dictated):
    for said, score in (("The mayor left. He was ill.", 1), ("xyzzy", 0), ("", 0), ("\n\n", 0)):
        rows = dictated.rows(TASK, [ARTICLE], lambda *_, said=said: said)
        found = dictated.figures(TASK, rows)
        assert [found["rouge,tldr"], found["rouge,no-hint"]] == [score, score]


def test_long_articles_lose_their_end(dictated):
    long = Article("1", "First things. " + "word " * 600, ("First things .",))
    setting = dictated.setting(TASK, window=128)
    (row,) = dictated.rows(TASK, [long], lambda *_: "First things.", setting)
    assert row["prompt"].startswith("First things. word") and row["prompt"].endswith("word\nTL;DR:")
    assert all(len(request.prompt) + request.max_new_tokens <= 128 for request in dictated.requests)
    assert {request.max_new_tokens for request in dictated.requests} == {64}  # half of the window
    made = beside(Data([long]), [row], setting)["fit"]
    assert made["cut"] == 1 and made["cut_tokens"] > 500
    tiny = dictated.rows(TASK, [long], lambda *_: "x", dictated.setting(TASK, window=8))
    assert tiny[0]["impossible"] and tiny[0]["rouge,tldr"] == 0
    assert tiny[0]["rouge1,lead-3"] > 0  # which needs no model


def test_a_missing_package_is_named(monkeypatch, dictated, tmp_path: Path):
    (tmp_path / "test.jsonl").write_text('{"article": "One.", "highlights": "One ."}\n')
    imported = builtins.__import__

    def without(name: str, *rest):
        if name.startswith("rouge_score"):
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    summaries._scorer.cache_clear()
    setting = dictated.setting(TASK)
    with pytest.raises(WholeGPTError, match=r"rouge-score: pip install 'wholegpt\[eval\]'"):
        TASK.read(type(setting)(setting.tokenizer, 64, setting.options, data_dir=tmp_path))


def test_lead_3_of_real_articles(dictated, shared: Path):
    """100 articles of the test set: near what the paper has for all 11,490."""
    articles = list(cnn_dailymail.read_jsonl(Stored(shared / "eval" / "cnndm" / "realsumm_cnndm_test100.jsonl.gz")))
    found = dictated.figures(TASK, dictated.rows(TASK, articles, lambda *_: ""))
    lead_3 = [round(100 * found[f"{name},lead-3"], 2) for name in ("rouge1", "rouge2", "rougeLsum", "rouge")]
    # The paper: 40.38, 17.66, 36.62, 31.55. rouge-score gives these values, too, for sentences cut by hand at " . ".
    assert lead_3 == [41.06, 17.47, 37.21, 31.91]
    assert set(VARIANTS) == {name.partition(",")[2] for name in found}
    assert found["rouge,lead-3"] > found["rouge,random-3"] > found["rouge,tldr"] == 0
