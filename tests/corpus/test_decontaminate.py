"""Documents held against evaluation sets: counted or left out, by passages of words."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from wholegpt import evalsets
from wholegpt.corpus import decontaminate, records
from wholegpt.corpus.decontaminate import OverlapOptions
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.evalsets.coqa import Conversation, Turn
from wholegpt.ngrams.words import words
from wholegpt.runner import Backend, Report, local

BACKEND = Backend(workers=1)
PASSAGE = words("It was the best of times, it was the worst of times, it was the age of wisdom")
OTHER = words("Call me Ishmael: some years ago, never mind how long precisely, having little or no money")


@pytest.fixture(scope="module", autouse=True)
def _no_worker_stays() -> Iterator[None]:
    yield
    local.close(kill=True)


@pytest.fixture
def sets(tmp_path: Path) -> tuple[str, str]:
    """Two evaluation sets of a text each: 11 and 9 different 8-grams."""
    names = []
    for name, text in (("tale", PASSAGE), ("whale", OTHER)):
        names.append(str(tmp_path / f"{name}.txt"))
        Path(names[-1]).write_text(" ".join(text), encoding="utf-8")
    return names[0], names[1]


def documents_of(folder: Path, texts: list[list[str]]) -> list[Path]:
    paths = []
    for number, of_file in enumerate(texts):
        paths.append(folder / f"in{number}.parquet")
        with records.writer(paths[-1]) as writer:
            for text in of_file:
                writer.write({"text": text, "id": text.split()[0], "url": "", "karma": None})
    return paths


def hold(folder: Path, texts: list[list[str]], options: OverlapOptions) -> Report:
    indices = decontaminate.index(options, folder / "index", BACKEND)
    files = documents_of(folder, texts)
    return decontaminate.remove(files, indices, folder / "overlap", options, BACKEND)


def rows(report: Report, name: str) -> list[dict[str, object]]:
    return [row for folder in report.folders for row in records.rows([folder / name])]


def test_thirteen_words_in_a_row_go_and_twelve_stay(tmp_path: Path, sets: tuple[str, str]) -> None:
    texts = [
        ["twelve " + " ".join(PASSAGE[:12]), "thirteen, It was -- " + "; ".join(PASSAGE[:13]).upper() + "!"],
        ["scattered " + " x ".join(" ".join(PASSAGE[:9]) for _ in range(9)), "whale " + " ".join(OTHER), "none at all"],
    ]
    report = hold(tmp_path, texts, OverlapOptions(sets, "drop"))
    assert [row["id"] for row in rows(report, records.DOCUMENTS)] == ["twelve", "scattered", "none"]
    found = [(row["id"], row["stage"], row["reason"]) for row in rows(report, records.REJECTS)]
    assert found == [
        ("thirteen,", "decontaminate", f"holds {sets[0]}"),
        ("whale", "decontaminate", f"holds {sets[1]}"),
    ]
    stage = {key.removeprefix("decontaminate/"): count for key, count in report.counts.items() if "taminate" in key}
    assert stage == {"in": 5, "out": 3, f"reason/holds-{sets[0]}": 1, f"reason/holds-{sets[1]}": 1}


def test_a_report_counts_and_leaves_all(tmp_path: Path, sets: tuple[str, str]) -> None:
    texts = [["one " + " ".join(PASSAGE[:13])], ["two " + " ".join(PASSAGE[4:]), "three"]]
    options = OverlapOptions(sets)
    report = hold(tmp_path, texts, options)
    assert [row["id"] for row in rows(report, records.DOCUMENTS)] == ["one", "two", "three"]
    assert not rows(report, records.REJECTS)
    # 18 words have 11 8-grams; the files have 6 and 7 of them, 2 of which are the same: all 11.
    assert decontaminate.report(report, options) == {
        sets[0]: {"grams": 11, "met": 11, "percent": 100.0, "documents": 2},
        sets[1]: {"grams": 9, "met": 0, "percent": 0.0, "documents": 0},
    }


def test_what_two_sets_hold_together_is_no_passage_of_either(tmp_path: Path) -> None:
    """Of six 8-grams in a row one set has the first three, another the rest."""
    names = (str(tmp_path / "first.txt"), str(tmp_path / "second.txt"))
    for name, part in zip(names, (PASSAGE[:10], PASSAGE[3:13]), strict=True):
        Path(name).write_text(" ".join(part), encoding="utf-8")
    options = OverlapOptions(names, overlap_grams=4)
    report = decontaminate.report(hold(tmp_path, [["both " + " ".join(PASSAGE[:13])]], options), options)
    assert [(of_set["met"], of_set["documents"]) for of_set in report.values()] == [(3, 0), (3, 0)]


def test_all_text_of_an_example_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    example = Conversation("id", "source", " ".join(PASSAGE), (Turn("Who said it?", ("some answer",)),))
    found = evalsets.Found("coqa", "", (), "", (example,), {})
    monkeypatch.setattr(evalsets, "find", lambda _name, **_options: found)
    assert {" ".join(PASSAGE), "Who said it?", "some answer"} <= set(decontaminate.texts_of("coqa"))


@pytest.mark.parametrize(
    ("content", "fault"), [(None, "is no test set"), ("too few words", "holds no text of 8 words")]
)
def test_sets_that_cannot_be_used(tmp_path: Path, content: str | None, fault: str) -> None:
    path = tmp_path / "set.txt"
    if content:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(WholeGPTError, match=fault):
        hold(tmp_path, [["a document"]], OverlapOptions((str(path),)))


def test_no_documents(tmp_path: Path, sets: tuple[str, str]) -> None:
    assert not rows(hold(tmp_path, [[]], OverlapOptions(sets, "drop")), records.DOCUMENTS)


def test_wrong_options() -> None:
    with pytest.raises(UsageError, match="--overlap-grams is 0"):
        OverlapOptions(overlap_grams=0)
