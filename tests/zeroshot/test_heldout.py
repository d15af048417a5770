"""The task `heldout`: it finds the shards of a run and measures exactly their held-out part."""

import math
import shutil

import pytest
import torch

from wholegpt import documents, load
from wholegpt.documents import HELD_OUT, TRAIN
from wholegpt.errors import WholeGPTError
from wholegpt.inference.scoring import text_logprob
from wholegpt.model.gpt import GPT
from wholegpt.tokenizer import Tokenizer
from wholegpt.zeroshot import heldout
from wholegpt.zeroshot.baselines import compressors
from wholegpt.zeroshot.task import Setting
from wholegpt.zeroshot.tasks import TASKS

from .conftest import values


def held_out(run):
    return [document.text for document in documents.read(run.parent / "corpus", HELD_OUT)]


def test_finds_the_shards_where_the_manifest_says(run):
    assert heldout.shards_of(run) == run.parent / "shards"


def test_finds_the_shards_beside_a_run_that_was_moved_with_them(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(run.parent / "shards", tmp_path / "shards")
    away = run.parent.rename(run.parent.with_name("away"))
    try:
        assert heldout.shards_of(tmp_path / "run") == tmp_path / "shards"
    finally:
        away.rename(run.parent)


def test_other_shards_of_the_same_name_are_not_taken(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(run.parent / "corpus", tmp_path / "shards")
    away = run.parent.rename(run.parent.with_name("away"))
    try:
        with pytest.raises(WholeGPTError, match="are gone; give --shards"):
            heldout.shards_of(tmp_path / "run")
    finally:
        away.rename(run.parent)


def test_a_checkpoint_without_a_manifest_is_named(tmp_path):
    with pytest.raises(WholeGPTError, match=r"no manifest\.json"):
        heldout.shards_of(tmp_path)


def figures(run, rows, model=None, name="heldout", seed=0, shards=None):
    loaded, tokenizer = load(run)
    given = Setting(tokenizer, loaded.config.n_ctx, {}, seed, model=run, shards=shards)
    data = TASKS[name].read(given)
    found = rows(name, model or loaded, given, examples=data.examples)
    return values(name, found, given), TASKS[name].beside(data, found, given), found


def test_a_model_that_is_no_run_says_what_it_needs(tokenizer, tmp_path):
    with pytest.raises(WholeGPTError, match="needs a run that wholegpt trained, or --shards"):
        TASKS["heldout"].read(Setting(tokenizer, 32, {}, model=tmp_path))


def test_figures_are_those_of_the_held_out_texts(run, rows):
    model, tokenizer = load(run)
    texts = held_out(run)
    found, beside, made = figures(run, rows)
    size = sum(len(text.encode()) for text in texts)
    assert [row["target"] for row in made] == texts
    assert (beside["documents"], beside["bytes"]) == (len(texts), size)
    assert beside["words"] == sum(len(text.split()) for text in texts)
    assert beside["tokens"] == sum(len(tokenizer.encode_ordinary(text)) for text in texts)
    nats = -sum(text_logprob(model, tokenizer, tokenizer.encode_ordinary(text)) for text in texts)
    assert found["bits_per_byte,none"] == pytest.approx(nats / math.log(2) / size, abs=1e-5)
    assert found["word_perplexity,none"] == pytest.approx(math.exp(nats / beside["words"]), rel=1e-4)
    expected = compressors("".join(texts).encode())
    assert {name: beside["baselines"][name] for name in expected} == expected


def test_a_sample_of_the_training_part(run, rows):
    """As many tokens as are held out, of documents that the model was trained on; the seed decides which."""
    train = [document.text for document in documents.read(run.parent / "corpus", TRAIN)]
    _, beside, made = figures(run, rows, name="train-sample")
    drawn = [row["target"] for row in made]
    assert set(drawn[:-1]) <= set(train) and len(set(drawn)) == len(drawn)
    assert any(text.startswith(drawn[-1]) for text in train)  # of the last document a part
    wanted = figures(run, rows)[1]
    assert beside["tokens"] + beside["documents"] == wanted["tokens"] + wanted["documents"]
    assert [row["target"] for row in figures(run, rows, name="train-sample")[2]] == drawn
    others = [[row["target"] for row in figures(run, rows, name="train-sample", seed=seed)[2]] for seed in range(1, 20)]
    assert any(other != drawn for other in others)


def test_a_training_part_smaller_than_what_is_held_out_is_taken_whole(run, rows, tmp_path):
    shutil.copytree(run.parent / "shards", tmp_path / "shards")
    (tmp_path / "shards" / "train_000000.bin").rename(tmp_path / "shards" / "x")
    (tmp_path / "shards" / "val_000000.bin").rename(tmp_path / "shards" / "train_000000.bin")
    (tmp_path / "shards" / "x").rename(tmp_path / "shards" / "val_000000.bin")
    _, _, made = figures(run, rows, name="train-sample", shards=tmp_path / "shards")
    assert sorted(row["target"] for row in made) == sorted(held_out(run))


def test_shards_of_another_tokenizer_are_refused(run, rows, tmp_path):
    """Of as many entries, so that no id is outside; one merge is another."""
    _, tokenizer = load(run)
    shutil.copytree(run.parent / "shards", tmp_path / "shards")
    other = Tokenizer(tokenizer.vocabulary, tokenizer.merges[:-1], tokenizer.special)
    other.save(tmp_path / "shards")
    with pytest.raises(WholeGPTError, match=r"made with another tokenizer \(300 entries\) than the model's \(300\)"):
        figures(run, rows, shards=tmp_path / "shards")


def test_a_model_that_knows_nothing_needs_the_bits_of_its_vocabulary(run, rows):
    trained, _ = load(run)
    uniform = GPT(trained.config).eval()
    with torch.no_grad():
        for parameter in uniform.parameters():
            parameter.zero_()
    found, beside, _ = figures(run, rows, uniform)
    expected = math.log2(300) * beside["tokens"] / beside["bytes"]
    assert found["bits_per_byte,none"] == pytest.approx(expected, abs=1e-5)
    assert found["token_perplexity,none"] == pytest.approx(300, abs=0.01)
    # The baseline does not spread over <|endoftext|>: 299 entries.
    assert beside["baselines"]["uniform"] == pytest.approx(expected * math.log(299) / math.log(300), abs=1e-5)
