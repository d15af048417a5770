"""Duplicates, exact and near: who stays depends on the documents alone."""

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from wholegpt.corpus import records
from wholegpt.corpus.duplicates import exact_duplicates, near_duplicates
from wholegpt.corpus.duplicates.near_duplicates import NearOptions, components
from wholegpt.errors import UsageError
from wholegpt.runner import Backend, Shard, local

BACKEND = Backend(workers=1)


@pytest.fixture(scope="module", autouse=True)
def _no_worker_stays():
    yield
    local.close(kill=True)


def words(seed: int, count: int = 200) -> list[str]:
    noise = random.Random(seed)
    return ["".join(noise.choices("abcdefghij", k=5)) for _ in range(count)]


def edited(text: list[str], share: float, seed: int) -> list[str]:
    noise = random.Random(seed)
    return [noise.choice("xyz") * 5 if noise.random() < share else word for word in text]


def document(identifier: str, text: str, karma: int | None = None) -> dict[str, object]:
    return {"text": text, "id": identifier, "url": f"u/{identifier}", "karma": karma}


def files_of(folder: Path, shards: list[list[dict[str, object]]]) -> list[Path]:
    found = []
    for number, rows in enumerate(shards):
        folder.mkdir(parents=True, exist_ok=True)
        found.append(folder / f"in{number}.parquet")
        with records.writer(found[-1]) as writer:
            for row in rows:
                writer.write(row)
    return found


def kept(report) -> list[str]:
    assert not report.failed
    return sorted(row["id"] for folder in report.folders for row in records.rows([folder / records.DOCUMENTS]))


def rejects(report) -> list[tuple[str, str]]:
    rows = [row for folder in report.folders for row in records.rows([folder / records.REJECTS])]
    return sorted((row["id"], row["reason"]) for row in rows)


def exact(folder: Path, shards: list[list[dict[str, object]]]):
    return exact_duplicates.remove(files_of(folder, shards), folder / "work", 10, BACKEND)


def near(folder: Path, shards: list[list[dict[str, object]]], options: NearOptions | None = None):
    return near_duplicates.remove(files_of(folder, shards), folder / "work", options or NearOptions(), BACKEND)


def test_the_rule_by_hand(tmp_path):
    same = "one  text\n"
    rows = [
        document("low", same, 1), document("b", "one text", 7), document("a", same, 7), document("none", same),
        document("other", "another text"),
    ]  # fmt: skip
    report = exact(tmp_path, [rows[:2], rows[2:]])
    # Karma 7 of a and b, then the longer text: a has two spaces and a line end.
    assert kept(report) == ["a", "other"]
    assert rejects(report) == [("b", "copy-of a"), ("low", "copy-of a"), ("none", "copy-of a")]
    assert report.counts["exact-duplicates/in"] == 5
    assert report.counts["exact-duplicates/reason/copy-of"] == 3


def test_near_duplicates_go_and_others_stay(tmp_path):
    originals = [words(seed) for seed in range(30)]
    rows = [document(f"o{seed:02d}", " ".join(text), 5) for seed, text in enumerate(originals)]
    copies = [document(f"c{seed:02d}", " ".join(edited(text, 0.01, seed))) for seed, text in enumerate(originals)]
    report = near(tmp_path, [rows, copies])
    assert kept(report)[-30:] == [row["id"] for row in rows]  # no wrong merge
    # 1 % of 200 words edited touch about 10 of 196 5-grams: similarity 0.9, found with odds of 0.9998.
    assert len(kept(report)) <= 31
    assert all(reason == f"like o{identifier[1:]}" for identifier, reason in rejects(report))


def test_the_same_stay_however_they_are_dealt(tmp_path):
    noise = random.Random(3)
    rows = []
    for seed in range(12):
        base = words(seed)
        for copy in range(4):
            text = " ".join(edited(base, 0.02 * copy, 10 * seed + copy))
            rows.append(document(f"{seed:02d}{copy}", text, noise.choice([None, 3, 4])))
    expected = kept(near(tmp_path / "one", [rows]))
    assert 12 <= len(expected) < 40
    for trial in range(3):
        noise.shuffle(rows)
        cuts = sorted(noise.sample(range(len(rows)), 2))
        shards = [rows[: cuts[0]], rows[cuts[0] : cuts[1]], rows[cuts[1] :], []]
        assert kept(near(tmp_path / str(trial), shards)) == expected


def test_a_page_that_is_everywhere_makes_few_pairs(tmp_path):
    rows = [document(f"{number:04d}", " ".join(words(0)) + f" n{number:04d}") for number in range(1500)]
    report = near(tmp_path, [rows[:700], rows[700:]])
    assert kept(report) == ["0000"]
    pairs = np.load(tmp_path / "work" / "pairs" / "pairs" / near_duplicates.PAIRS)
    assert 1499 <= len(pairs) <= 2 * 14 * 1500


def test_texts_without_five_words_are_nobodys_copies(tmp_path):
    rows = [document("a", "one two"), document("b", "three"), document("c", "")]
    assert kept(near(tmp_path, [rows])) == ["a", "b", "c"]


def test_nothing_at_all(tmp_path):
    assert kept(near(tmp_path / "near", [[]])) == []
    assert kept(exact(tmp_path / "exact", [[]])) == []


def test_the_threshold_is_asked_of_the_sets_themselves(tmp_path):
    base = words(1)
    rows = [document("a", " ".join(base)), document("b", " ".join(edited(base, 0.02, 2)))]
    shape = {"bands": "25x5"}
    assert kept(near(tmp_path / "low", [rows], NearOptions(**shape, near_threshold=0.3))) == ["a"]
    assert kept(near(tmp_path / "high", [rows], NearOptions(**shape, near_threshold=0.99))) == ["a", "b"]


def test_components_are_those_of_a_search():
    noise = random.Random(7)
    for _ in range(50):
        edges = np.array([[noise.randrange(30), noise.randrange(30)] for _ in range(20)])
        edges = edges[edges[:, 0] != edges[:, 1]]
        order = np.array(noise.sample(range(30), 30))
        found = components(edges, order)
        neighbours = {node: {node} for node in range(30)}
        for left, right in edges.tolist():
            neighbours[left].add(right)
            neighbours[right].add(left)
        for node in range(30):
            seen, queue = set(), [node]
            while queue:
                here = queue.pop()
                if here not in seen:
                    seen.add(here)
                    queue += neighbours[here]
            first = min(seen, key=order.__getitem__)
            assert found.get(node, node) == first


def test_pairs_are_those_with_the_same_key():
    """Also where keys differ in their low bits alone, and where a document has no key."""
    noise = random.Random(5)
    keys = np.array([noise.randrange(40) << 50 | noise.randrange(2) for _ in range(1500)], np.uint64)
    order = np.array(noise.sample(range(1500), 1500), np.int32)
    expected = set()
    for key in set(keys.tolist()) - {int(near_duplicates.NO_KEY)}:
        members = sorted(np.flatnonzero(keys == key).tolist(), key=order.__getitem__)
        expected |= {(members[0], member) for member in members[1:]} | {*pairwise(members)}
    assert {(left, right) for left, right in near_duplicates.sharing(keys, order).tolist()} == expected
    assert near_duplicates.sharing(keys[:0], order[:0]).shape == (0, 2)


def test_pairs_are_verified_alike_however_few_sets_are_in_memory(tmp_path, monkeypatch):
    rows = [document(f"{seed}{copy}", " ".join(edited(words(seed), 0.02 * copy, copy)))
            for seed in range(9) for copy in range(5)]  # fmt: skip
    near(tmp_path, [rows[:20], rows[20:]], NearOptions("25x5", near_threshold=0.6))
    folders = [tmp_path / "work" / "gather" / f"{number:05d}" for number in range(2)]
    sets = [done / name for done in folders for name in ("grams.npy", "bounds.npy", "numbers.npy")]
    pairs = tmp_path / "work" / "pairs" / "pairs" / near_duplicates.PAIRS
    monkeypatch.setattr(near_duplicates, "HASHES_AT_ONCE", 1000)
    (tmp_path / "small").mkdir()
    counts = near_duplicates.verify(
        Shard("0", (pairs, *sets), (0,)), tmp_path / "small", NearOptions("25x5", near_threshold=0.6)
    )
    assert 0 < counts["alike"] < counts["pairs"]
    whole = np.load(tmp_path / "work" / "verify" / f"{0:012d}" / near_duplicates.PAIRS)
    assert np.array_equal(np.load(tmp_path / "small" / near_duplicates.PAIRS), whole)


def test_wrong_thresholds():
    with pytest.raises(UsageError, match="--near-threshold is 0"):
        NearOptions(near_threshold=0)
