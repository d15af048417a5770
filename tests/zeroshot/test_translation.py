"""Translation: BLEU is sacreBLEU's, example pairs are none of the test, and a rigged model that is right or wrong."""

import json
from pathlib import Path

import pytest

from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.evalsets.newstest import Pair
from wholegpt.zeroshot import prompts, translation
from wholegpt.zeroshot.task import Data
from wholegpt.zeroshot.translation import TASKS, beside, bleu

sacrebleu = pytest.importorskip("sacrebleu")

EN_FR, FR_EN = TASKS
PAIRS = (
    Pair("The cat sleeps on the old chair.", "Le chat dort sur la vieille chaise."),
    Pair("It is raining in the north of the country. Stay at home.", "Il pleut dans le nord du pays. Restez là."),
    Pair("Où = where?", "Où = où ?"),
)


def test_bleu_is_sacrebleu_s(fixtures: Path, dictated):
    expected = json.loads((fixtures / "scores" / "bleu.json").read_text(encoding="utf-8"))["values"]
    said, wanted = (
        (fixtures / "scores" / f"bleu.{name}.txt").read_text(encoding="utf-8").split("\n")[:60]
        for name in ("hyp", "ref")
    )
    said, wanted = said[: len(wanted)], wanted[: len(said)]
    pairs = [Pair("x", one) for one in wanted]
    for tokenize in ("13a", "intl", "none"):
        setting = dictated.setting(EN_FR, tokenize=tokenize)
        rows = dictated.rows(EN_FR, pairs, lambda sample, _: f" {said[sample.doc_id]}\nmore", setting)
        score = sacrebleu.metrics.BLEU(tokenize=tokenize).corpus_score([one.strip() for one in said], [wanted])
        assert bleu(rows, tokenize) == pytest.approx(score.score)
        assert score.score == pytest.approx(expected[tokenize]["score"])
        made = beside(Data(pairs), rows, setting)
        assert made["sacrebleu"] == str(score)
        assert made["signature"].startswith(f"nrefs:1|case:mixed|eff:no|tok:{tokenize}|smooth:exp|version:")


def test_prompts(dictated):
    setting = dictated.setting(EN_FR, shots=2)
    (first, *_) = EN_FR.samples(PAIRS, setting)
    (house, maison), (waiting, attend) = prompts.TRANSLATION_PAIRS[:2]
    assert first.prompt == f"{house} = {maison}\n{waiting} = {attend}\nThe cat sleeps on the old chair. ="
    assert first.target == PAIRS[0].french and first.requests[0].temperature == 0
    (first, *_) = FR_EN.samples(PAIRS, dictated.setting(FR_EN, shots=1))
    assert first.prompt == f"{maison} = {house}\nLe chat dort sur la vieille chaise. ="
    assert first.target == PAIRS[0].english
    (first, *_) = EN_FR.samples(PAIRS, dictated.setting(EN_FR, shots=0))
    assert first.prompt == "The cat sleeps on the old chair. ="


def test_no_example_is_a_tested_sentence(dictated):
    house, maison = prompts.TRANSLATION_PAIRS[0]
    for tested in (Pair(house.upper(), "x"), Pair("x", maison.rstrip("."))):
        (sample,) = EN_FR.samples([tested], dictated.setting(EN_FR, shots=4))
        assert maison not in sample.prompt and sample.notes["shots"] == 4
        with pytest.raises(UsageError, match="5 example pairs are asked for, and there are 4 own pairs"):
            EN_FR.samples([tested], dictated.setting(EN_FR, shots=5))


def test_pairs_of_the_validation_part(dictated, tmp_path: Path):
    for language, word in (("en", "Word"), ("fr", "Mot")):
        lines = "".join(f"{word} {number}.\n" for number in range(50))
        (tmp_path / f"newstest2013.{language}").write_text(lines, encoding="utf-8")
    setting = dictated.setting(EN_FR, shots=3, shots_from="validation")
    setting = type(setting)(setting.tokenizer, 4096, setting.options, data_dir=tmp_path)
    (sample,) = EN_FR.samples(PAIRS[:1], setting)
    lines = sample.prompt.split("\n")
    assert len(lines) == 4 and all(line.startswith("Word") and " = Mot" in line for line in lines[:3])
    assert [sample] == list(EN_FR.samples(PAIRS[:1], setting))
    other = type(setting)(setting.tokenizer, 4096, setting.options, seed=1, data_dir=tmp_path)
    assert sample.prompt != next(iter(EN_FR.samples(PAIRS[:1], other))).prompt


@pytest.mark.parametrize("task", TASKS)
def test_right_and_wrong_everywhere(dictated, task):
    rows = dictated.rows(task, PAIRS, lambda sample, _: f" {sample.target}\nNext line = ")
    assert dictated.figures(task, rows) == {"bleu,none": pytest.approx(100)}
    for wrong in ("xyzzy", "", "\n"):
        rows = dictated.rows(task, PAIRS, lambda *_, wrong=wrong: wrong)
        assert dictated.figures(task, rows) == {"bleu,none": 0}


def test_first_line_or_first_sentence(dictated):
    said = " Il pleut. Restez là.\nEt encore."
    assert dictated.rows(EN_FR, PAIRS[:1], lambda *_: said)[0]["prediction"] == "Il pleut. Restez là."
    setting = dictated.setting(EN_FR, stop="sentence")
    assert dictated.rows(EN_FR, PAIRS[:1], lambda *_: said, setting)[0]["prediction"] == "Il pleut."


def test_small_windows_drop_pairs_and_never_the_sentence(dictated):
    setting = dictated.setting(EN_FR, window=128)
    rows = dictated.rows(EN_FR, PAIRS, lambda *_: "x", setting)
    assert all(row["prompt"].endswith(f"{row['source']} =") for row in rows)
    assert all(row["shots"] + row["dropped_shots"] == 5 and row["dropped_shots"] > 0 for row in rows)
    assert beside(Data(PAIRS), rows, setting)["fit"]["with_dropped_shots"] == 3
    rows = dictated.rows(EN_FR, PAIRS, lambda *_: "x", dictated.setting(EN_FR, window=16))
    assert [bool(row["impossible"]) for row in rows] == [True, True, True]
    assert rows[0]["prediction"] == "" and rows[0]["prompt"] == ""


def test_a_missing_package_is_named(monkeypatch, dictated, tmp_path: Path):
    (tmp_path / "newstest2014.en").write_text("One.\n")
    (tmp_path / "newstest2014.fr").write_text("Un.\n")
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu.metrics.bleu", None)
    translation._bleu.cache_clear()
    setting = dictated.setting(EN_FR)
    with pytest.raises(WholeGPTError, match=r"sacrebleu: pip install 'wholegpt\[eval\]'"):
        EN_FR.read(type(setting)(setting.tokenizer, 64, setting.options, data_dir=tmp_path))
