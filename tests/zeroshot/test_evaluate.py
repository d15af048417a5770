"""The verbs `evaluate` and `score`: files that can be checked, and figures of any text."""

import io
import json
import math
import sys

import pytest

from wholegpt import load
from wholegpt.artifact import read_manifest
from wholegpt.errors import UsageError, WholeGPTError
from wholegpt.inference.scoring import text_logprob
from wholegpt.zeroshot.evaluate import EvaluateOptions, ScoreOptions, evaluate, score


def test_the_shape_of_the_harness(run, tmp_path, capsys):
    evaluate(EvaluateOptions(run, tmp_path / "results"))
    content = json.loads((tmp_path / "results" / "heldout.json").read_text())
    assert set(content["results"]["heldout"]) == {
        "nats,none", "token_perplexity,none", "word_perplexity,none", "bits_per_byte,none"
    }  # fmt: skip
    assert content["versions"] == {"heldout": 1}
    assert content["n-samples"] == {"heldout": content["documents"]}
    assert set(content["baselines"]) == {"uniform", "unigram", "gzip -9", "xz -9"}
    assert read_manifest(tmp_path / "results")["counts"] == content["results"]
    printed = capsys.readouterr().out
    assert f"{content['results']['heldout']['bits_per_byte,none']:,}" in printed
    assert "xz -9" in printed


def test_done_once(run, tmp_path, capsys):
    evaluate(EvaluateOptions(run, tmp_path / "results"))
    before = read_manifest(tmp_path / "results")
    capsys.readouterr()
    evaluate(EvaluateOptions(run, tmp_path / "results"))
    captured = capsys.readouterr()
    assert "is there already" in captured.err
    assert captured.out == ""
    assert read_manifest(tmp_path / "results") == before


def test_an_unknown_task(run, tmp_path):
    with pytest.raises(UsageError, match="task lambda is unknown; there is heldout"):
        EvaluateOptions(run, tmp_path, tasks="heldout,lambda")


def test_shards_may_be_named(run, tmp_path):
    evaluate(EvaluateOptions(run, tmp_path / "results", shards=run.parent / "shards"))
    assert (tmp_path / "results" / "heldout.json").is_file()


def test_score_of_a_file(run, tmp_path, capsys):
    texts = ["The river rises in the hills.", "Où est l'école?"]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    score(ScoreOptions(run, str(tmp_path / "a.jsonl"), json=True))
    found = json.loads(capsys.readouterr().out)
    model, tokenizer = load(run)
    nats = -sum(text_logprob(model, tokenizer, tokenizer.encode_ordinary(text)) for text in texts)
    # Nine words: six and three; 29 bytes and 17, for "ù" and "é" take two.
    assert (found["words"], found["bytes"]) == (9, 29 + 17)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / 46, abs=1e-5)
    assert found["word_perplexity"] == pytest.approx(math.exp(nats / 9), rel=1e-4)


def test_score_of_standard_input(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("The river, où?".encode())))
    score(ScoreOptions(run))
    printed = capsys.readouterr().out
    assert "bits per byte" in printed
    assert "15" in printed


@pytest.mark.parametrize(("content", "fault"), [(b"", "there is no text"), (b"ab\xff", "not UTF-8 text .* at byte 2")])
def test_broken_standard_input(run, monkeypatch, content, fault):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(WholeGPTError, match=fault):
        score(ScoreOptions(run))
