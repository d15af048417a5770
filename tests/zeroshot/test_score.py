"""The verb `score`: figures of any text, by document, by token, of continuations."""

import io
import json
import math
import sys

import pytest

from wholegpt import load
from wholegpt import score as scores
from wholegpt.errors import WholeGPTError
from wholegpt.inference.scoring import text_logprob
from wholegpt.zeroshot.score import ScoreOptions, score

TEXTS = ["The river rises in the hills.", "Où est l'école?"]


def printed(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def given(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_of_a_file(run, tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in [*TEXTS, ""]))
    score(ScoreOptions(run, str(tmp_path / "a.jsonl"), json=True))
    (found,) = printed(capsys)
    model, tokenizer = load(run)
    nats = -sum(text_logprob(model, tokenizer, tokenizer.encode_ordinary(text)) for text in TEXTS)
    # Nine words: six and three; 29 bytes and 17, for "ù" and "é" take two.
    assert (found["words"], found["bytes"]) == (9, 29 + 17)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / 46, abs=1e-5)
    assert found["word_perplexity"] == pytest.approx(math.exp(nats / 9), rel=1e-4)


def test_by_document_and_token(run, tmp_path, capsys, text):
    """Documents of several windows among others, and one without a token."""
    texts = [TEXTS[0], "", text[:600], TEXTS[1], ""]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text, "id": text[:2]}) for text in texts))
    score(ScoreOptions(run, str(tmp_path / "a.jsonl"), per_token=True, json=True))
    *each, whole = printed(capsys)
    assert [document["id"] for document in each] == [text[:2] for text in texts]
    model, tokenizer = load(run)
    for document, text in zip(each, texts, strict=True):
        ids = tokenizer.encode_ordinary(text)
        tokens = document.get("tokens_scored", [])
        assert [token["id"] for token in tokens] == ids
        assert sum(token["logprob"] for token in tokens) == pytest.approx(text_logprob(model, tokenizer, ids), abs=1e-3)
    assert whole["nats"] == pytest.approx(sum(document["nats"] for document in each), abs=1e-2)


def test_continuations(run, monkeypatch, capsys):
    pairs = [
        ("The river", " rises in the hills."),
        ("", "A miller"),
        ("The river rises in the hills. " * 9, "It's late;"),
    ]
    lines = [json.dumps({"context": context, "continuation": continuation}) for context, continuation in pairs]
    given(monkeypatch, "\n".join(lines).encode())
    score(ScoreOptions(run, per_document=True, json=True))
    *each, _ = printed(capsys)
    expected = scores(*load(run), pairs)
    assert [-document["nats"] for document in each] == pytest.approx([one.logprob for one in expected], abs=1e-3)
    assert each[0]["words"] == 4


def test_of_standard_input(run, monkeypatch, capsys):
    given(monkeypatch, "The river, où?".encode())
    score(ScoreOptions(run, per_token=True))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["bytes", "15"]
    assert lines[0].endswith("'T'") and 0 < float(lines[0].split()[0]) < 1


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "there is no text"),
        (b"ab\xff", "not UTF-8 text .* at byte 2"),
        (b'{"text": "a"}\n{"texts": "b"}', "standard input, line 2: found NoneType as `text`"),
        (b'{"continuation": " b", "context": 3}', "standard input:1: found int as `context`"),
        (b'{"continuation": "' + b"b" * 900 + b'"}', "the continuation has .* tokens, expected 1 to 32"),
    ],
)
def test_faults(run, monkeypatch, content, fault):
    given(monkeypatch, content)
    with pytest.raises(WholeGPTError, match=fault):
        score(ScoreOptions(run))
