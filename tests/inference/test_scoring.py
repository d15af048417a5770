"""Log-likelihoods against transformers' results, lm-evaluation-harness's rules, and a sum by hand."""

import gzip
import json
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wholegpt.inference import plain, scoring
from wholegpt.inference.engine import generate
from wholegpt.inference.requests import Continuation, Window
from wholegpt.model import checkpoint


def test_rules_of_splitting(tokenizer):
    encode = tokenizer.encode_ordinary
    assert scoring.split_ids(tokenizer, "", "a b") == ([tokenizer.eot], encode("a b"))
    context, continuation = scoring.split_ids(tokenizer, "The river  ", "runs")
    assert context == encode("The river")
    assert tokenizer.decode(continuation) == "  runs"


def test_score_is_the_sum_of_log_probabilities(model, tokenizer):
    context, continuation = scoring.split_ids(tokenizer, "The river", " runs")
    ids = torch.tensor([context + continuation])
    with torch.no_grad():
        logprobs = model(ids).log_softmax(-1)[0]
    expected = sum(float(logprobs[len(context) + i - 1, token]) for i, token in enumerate(continuation))
    (score,) = scoring.score(model, tokenizer, [("The river", " runs")])
    assert score.logprob == pytest.approx(expected, abs=1e-4)
    assert score.tokens == len(continuation)


def test_too_long_continuation_is_refused_and_context_cut_on_the_left(model, tokenizer):
    with pytest.raises(ValueError, match="expected 1 to 32"):
        scoring.score(model, tokenizer, [("a", " zq" * 40)])
    long, short = scoring.score(
        model, tokenizer, [("x" * 90 + "The river", " runs"), ("x" * 95 + "The river", " runs")]
    )
    assert long == short


def test_loglikelihoods_of_transformers(shared):
    folder = shared / "fixtures" / "hf-tiny"
    expected = json.loads((folder / "expected_loglikelihoods.json").read_text())["items"]
    model, tokenizer = checkpoint.load(folder)
    assert len(expected) == 30
    found = scoring.score(model, tokenizer, [(pair["context"], pair["continuation"]) for pair in expected])
    for pair, score in zip(expected, found, strict=True):
        assert score.logprob == pytest.approx(pair["sum_logprob"], abs=2e-3)
        assert score.greedy == pair["greedy_match"]


@given(st.integers(1, 60), st.integers(1, 9))
def test_windows_predict_every_token_once(length, window):
    ids = list(range(1, length + 1))
    predicted = []
    for request in scoring.windows(ids, 0, window):
        assert request.count < len(request.ids) <= window + 1
        predicted += request.ids[-request.count :]
    assert predicted == ids


def test_text_logprob_by_hand(model, tokenizer):
    ids = tokenizer.encode_ordinary("The river rises in the hills")[:20]
    with torch.no_grad():
        logprobs = model(torch.tensor([[tokenizer.eot, *ids]]))[0].log_softmax(-1)
    expected = sum(float(logprobs[position, token]) for position, token in enumerate(ids))
    assert scoring.text_logprob(model, tokenizer, ids) == pytest.approx(expected, abs=1e-3)


def test_loglikelihoods_with_the_released_vocabulary(fixtures):
    folder = fixtures / "hf-realtok"
    model, tokenizer = checkpoint.load(folder)
    expected = json.loads((folder / "expected_loglikelihoods.json").read_text(encoding="utf-8"))["items"]
    for pair in expected:
        context, continuation = scoring.split_ids(tokenizer, pair["context"], pair["continuation"])
        assert len(context) == pair["n_context_tokens"]
        assert continuation == pair["continuation_ids"]
    found = scoring.score(model, tokenizer, [(pair["context"], pair["continuation"]) for pair in expected])
    assert [score.logprob for score in found] == pytest.approx([pair["sum_logprob"] for pair in expected], abs=2e-3)
    assert [score.greedy for score in found] == [pair["greedy_match"] for pair in expected]
    assert [score.tokens for score in found] == [len(pair["continuation_ids"]) for pair in expected]


@pytest.mark.parametrize("name", ["hf-tiny", "hf-realtok"])
def test_loglikelihoods_by_ids(fixtures, name):
    folder = fixtures / name
    model, _ = checkpoint.load(folder)
    expected = json.loads((folder / "expected_loglikelihoods.json").read_text(encoding="utf-8"))["items_by_ids"]
    requests = [Continuation(tuple(pair["context_ids"]), tuple(pair["continuation_ids"])) for pair in expected]
    found = dict(scoring.loglikelihoods(model, requests))
    assert any(pair["greedy_match"] for pair in expected)
    for index, pair in enumerate(expected):
        assert found[index].logprob == pytest.approx(pair["sum_logprob"], abs=2e-3)
        assert found[index].is_greedy == pair["greedy_match"]


def test_cloze_of_the_harness(fixtures):
    """The last word of each text given the rest, as lm-evaluation-harness scores LAMBADA."""
    folder = fixtures / "trained"
    model, tokenizer = checkpoint.load(folder)
    texts = [json.loads(line)["text"] for line in (folder / "expected" / "cloze.jsonl").read_text().splitlines()]
    expected = json.loads((folder / "expected" / "cloze.json").read_text())["items"]
    pairs = [(text.rsplit(" ", 1)[0], " " + text.rsplit(" ", 1)[1]) for text in texts]
    found = scoring.score(model, tokenizer, pairs)
    assert [score.logprob for score in found] == pytest.approx([e["loglikelihood"] for e in expected], abs=2e-3)
    assert [score.greedy for score in found] == [e["greedy_match"] for e in expected]


@pytest.mark.parametrize(("name", "first", "last"), [("wikitext2_test_raw", 400, 500), ("ptb_test", 600, 700)])
def test_rolling_of_the_harness(shared, name, first, last):
    folder = shared / "fixtures" / "trained"
    model, tokenizer = checkpoint.load(folder)
    if name == "ptb_test":
        content = (shared / "eval" / "ptb" / "ptb.test.txt").read_bytes()
    else:
        content = gzip.decompress((shared / "eval" / "wikitext2" / "wiki.test.raw.gz").read_bytes())
    text = "".join(content.decode().splitlines(keepends=True)[first:last])
    expected = json.loads((folder / "expected" / "rolling.json").read_text())["sets"][name]
    assert len(text) == expected["chars"]
    ids = tokenizer.encode_ordinary(text)
    assert len(ids) == expected["tokens"]
    # Sums over 12,084 and 4,592 tokens: 2e-6 of the whole is 3e-5 nats a token at most.
    assert scoring.text_logprob(model, tokenizer, ids) == pytest.approx(expected["rolling_ll"], rel=2e-6)


def test_windows_of_the_harness():
    """lm-evaluation-harness's own example: tokens 0 to 9, prefix -100, windows of 4."""
    found = list(scoring.windows(range(10), -100, 4))
    assert [window.ids[-window.count :] for window in found] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    assert [window.ids[:-1] for window in found] == [(-100, 0, 1, 2), (3, 4, 5, 6), (5, 6, 7, 8)]


def test_windows_with_a_stride():
    found = list(scoring.windows(range(10), -100, 4, stride=3))
    assert [window.ids[-window.count :] for window in found] == [(0, 1, 2, 3), (4, 5, 6), (7, 8, 9)]
    assert [window.ids[:-1] for window in found] == [(-100, 0, 1, 2), (2, 3, 4, 5), (5, 6, 7, 8)]
    for stride in (0, 5):
        with pytest.raises(ValueError, match="expected 1 to 4"):
            list(scoring.windows(range(10), -100, 4, stride))


def test_text_logprob_of_a_long_text_by_hand(model, tokenizer, text):
    ids = tokenizer.encode_ordinary(text[:300])
    assert len(ids) > 3 * 32
    expected = 0.0
    whole = [tokenizer.eot, *ids]
    for position in range(1, len(whole)):
        # The window that predicts it: blocks of 32, the last one filled up with what stands before it.
        end = min((position - 1) // 32 * 32 + 32, len(ids))
        start = max(0, end - 32)
        with torch.no_grad():
            logits = model(torch.tensor([whole[start:position]]))[0, -1]
        expected += float(logits.log_softmax(-1)[whole[position]])
    assert scoring.text_logprob(model, tokenizer, ids) == pytest.approx(expected, abs=1e-2)


def test_no_tokens_no_surprise(model, tokenizer):
    assert scoring.text_logprob(model, tokenizer, []) == 0


@pytest.mark.parametrize("context", ["", " ", "\n\t"])
def test_a_context_of_nothing_is_one_end_of_text(model, tokenizer, context):
    ids = tokenizer.encode_ordinary(context + "runs")
    with torch.no_grad():
        logprobs = model(torch.tensor([[tokenizer.eot, *ids]]))[0].log_softmax(-1)
    (score,) = scoring.score(model, tokenizer, [(context, "runs")])
    assert score.tokens == len(ids)
    assert score.logprob == pytest.approx(sum(float(logprobs[i, token]) for i, token in enumerate(ids)), abs=1e-4)


def test_an_empty_continuation_is_refused(model, tokenizer):
    with pytest.raises(ValueError, match="a continuation has 0 tokens"):
        scoring.score(model, tokenizer, [("The river", "")])


def test_a_continuation_as_long_as_the_window(model, tokenizer):
    (score,) = scoring.score(model, tokenizer, [("The river", "zq" * 16)])
    assert score.tokens == 32
    with pytest.raises(ValueError, match="has 33 tokens, expected 1 to 32"):
        scoring.score(model, tokenizer, [("The river", "zq" * 16 + "z")])


def test_greedy_is_what_generate_gives(model, tokenizer):
    pairs = []
    for prompt in ("The river", "A", ""):
        (text,) = generate(model, tokenizer, [prompt], 4, temperature=0)
        pairs.append((prompt, text))
    scores = scoring.score(model, tokenizer, pairs)
    same = [
        tokenizer.encode_ordinary(prompt + text)[: len(tokenizer.encode_ordinary(prompt))]
        == tokenizer.encode_ordinary(prompt)
        and score.tokens == 4
        for (prompt, text), score in zip(pairs, scores, strict=True)
    ]
    assert any(same)
    assert all(score.greedy for score, comparable in zip(scores, same, strict=True) if comparable)


def test_pairs_of_many_lengths_together_and_alone(model, tokenizer, text):
    pairs = [(text[:length], text[length : length + 5]) for length in (3, 9, 3, 40, 9, 80, 3)]
    together = scoring.score(model, tokenizer, pairs)
    for pair, score in zip(pairs, together, strict=True):
        (alone,) = scoring.score(model, tokenizer, [pair])
        assert alone.logprob == pytest.approx(score.logprob, abs=1e-4)
        assert (alone.greedy, alone.tokens) == (score.greedy, score.tokens)


@st.composite
def continuations(draw):
    """Requests of a model of 300 entries and a window of 32, many of which begin alike."""
    beginnings = draw(st.lists(st.lists(st.integers(0, 299), min_size=1, max_size=20), min_size=1, max_size=3))
    endings = st.lists(st.integers(0, 299), max_size=4)
    ids = st.lists(st.integers(0, 299), min_size=1, max_size=8).map(tuple)
    contexts = st.builds(lambda one, other: (*one, *other), st.sampled_from(beginnings), endings)
    return draw(st.lists(st.builds(Continuation, contexts, ids, st.integers(0, 3)), min_size=1, max_size=12))


def check_equal(found, expected):
    """Log-likelihoods within 1e-4 nats, the same flags and candidates."""
    assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
    assert found.logprob == pytest.approx(expected.logprob, abs=1e-4)
    assert (found.greedy, found.is_greedy) == (expected.greedy, expected.is_greedy)
    assert [token for token, _ in found.candidates] == [token for token, _ in expected.candidates]
    assert [p for _, p in found.candidates] == pytest.approx([p for _, p in expected.candidates], abs=1e-4)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=continuations(), batch_tokens=st.sampled_from([None, 1, 40, 300]))
def test_whatever_the_batch_the_readable_twin_agrees(model, requests, batch_tokens):
    found = list(scoring.loglikelihoods(model, requests, batch_tokens))
    assert sorted(index for index, _ in found) == list(range(len(requests)))
    for index, scored in found:
        check_equal(scored, plain.loglikelihood(model, requests[index]))


@pytest.mark.parametrize("batch_tokens", [None, 1, 70])
@pytest.mark.parametrize("stride", [None, 5])
def test_windows_are_scored_in_order_as_by_the_readable_twin(model, tokenizer, text, batch_tokens, stride):
    ids = tokenizer.encode_ordinary(text[:200])
    asked = [*scoring.windows(ids, tokenizer.eot, 32, stride), *scoring.windows(ids[:9], tokenizer.eot, 32)]
    found = list(scoring.windows_loglikelihoods(model, iter(asked), batch_tokens))
    for window, scored in zip(asked, found, strict=True):
        check_equal(scored, plain.window_loglikelihood(model, window))


def test_more_context_predicts_differently_but_as_many(model, tokenizer, text):
    ids = tokenizer.encode_ordinary(text[:200])
    disjoint = list(scoring.windows_loglikelihoods(model, scoring.windows(ids, tokenizer.eot, 32)))
    overlapping = list(scoring.windows_loglikelihoods(model, scoring.windows(ids, tokenizer.eot, 32, 1)))
    assert sum(len(scored.logprobs) for scored in disjoint) == len(ids) == sum(len(s.logprobs) for s in overlapping)
    assert disjoint[0].logprobs == pytest.approx(overlapping[0].logprobs, abs=1e-4)
    assert len(overlapping) == len(ids) - 31


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Continuation((), (1,)), "is empty"),
        (Continuation((1,), ()), "is empty"),
        (Continuation((1,) * 30, (2,) * 4), "reads 33 tokens, more than the window of 32"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_the_first_pass(model, request_, words):
    with pytest.raises(ValueError, match=words):
        next(scoring.loglikelihoods(model, [Continuation((1,), (2,)), request_]))
    with pytest.raises(ValueError, match="more than the window of 32"):
        next(scoring.windows_loglikelihoods(model, [Window((1,) * 34, 1)]))


@pytest.fixture
def trained(fixtures):
    return checkpoint.load(fixtures / "trained")


def test_lambada_of_the_harness(shared, trained):
    expected = json.loads((shared / "fixtures/trained/expected/lambada.json").read_text())["items"]
    lines = gzip.decompress((shared / "eval/lambada/lambada_test.jsonl.gz").read_bytes()).decode().splitlines()
    texts = [json.loads(lines[item["line"]])["text"] for item in expected]
    found = scoring.score(*trained, [(text.rsplit(" ", 1)[0], " " + text.rsplit(" ", 1)[1]) for text in texts])
    assert len(found) == 100
    assert [score.logprob for score in found] == pytest.approx([e["loglikelihood"] for e in expected], abs=1e-3)
    assert [score.greedy for score in found] == [e["greedy_match"] for e in expected]


def test_winograd_of_the_harness(fixtures, trained):
    """Both candidates of 30 sentences: the end given the rest, and the whole."""
    items = json.loads((fixtures / "trained/expected/winograd.json").read_text())["items"]
    assert len(items) == 30
    partial = [(context, item["continuation"]) for item in items for context in item["contexts"]]
    full = [("", context + continuation) for context, continuation in partial]
    for pairs, key in ((partial, "partial_ll"), (full, "full_ll")):
        found = [score.logprob for score in scoring.score(*trained, pairs)]
        assert found == pytest.approx([value for item in items for value in item[key]], abs=1e-3)


@pytest.mark.parametrize("stride", [128, 64])
def test_sliding_windows_of_transformers(shared, trained, stride):
    """The loop of its page on perplexity: no prefix, windows of 128 from every stride on, the first token unscored."""
    model, tokenizer = trained
    content = gzip.decompress((shared / "eval/wikitext2/wiki.test.raw.gz").read_bytes())
    ids = tokenizer.encode_ordinary("".join(content.decode().splitlines(keepends=True)[400:500]))
    expected = json.loads((shared / "fixtures/trained/expected/rolling.json").read_text())["sets"]["wikitext2_test_raw"]
    asked, done = [], 0
    for start in range(0, len(ids), stride):
        end = min(start + 128, len(ids))
        asked.append(Window(tuple(ids[start:end]), min(end - done, end - start - 1)))
        done = end
        if end == len(ids):
            break
    found = [value for scored in scoring.windows_loglikelihoods(model, asked) for value in scored.logprobs]
    assert len(found) == expected[f"sliding_{stride}"]["scored_tokens"]
    assert sum(found) == pytest.approx(expected[f"sliding_{stride}"]["sum_ll"], rel=2e-6)


def test_a_uniform_model_is_as_surprised_as_arithmetic_says(rigged, tokenizer, text):
    """Perplexity per word is the vocabulary to the power of tokens per word, in pieces and as a whole."""
    ids, words = tokenizer.encode_ordinary(text[:3000]), len(text[:3000].split())
    nats = -scoring.text_logprob(rigged, tokenizer, ids)
    assert math.exp(nats / words) == pytest.approx(300 ** (len(ids) / words), rel=1e-5)
    ((_, scored),) = scoring.loglikelihoods(rigged, [Continuation((1, 2), (3, 4, 5))])
    assert scored.logprobs == pytest.approx([-math.log(300)] * 3, rel=1e-6)


def test_a_rigged_model_prefers_what_it_was_taught(rigged, tokenizer):
    context, right, wrong = ((tokenizer.encode_ordinary(part)) for part in ("The river runs to the", " sea", " hills"))
    rigged.teach(context, right)
    asked = [Continuation(tuple(context), tuple(ids), 2) for ids in (right, wrong)]
    found = dict(scoring.loglikelihoods(rigged, asked))
    assert found[0].logprob == pytest.approx(0, abs=1e-6)
    assert found[0].is_greedy
    assert found[1].logprobs[0] < -30
    assert not found[1].is_greedy
    assert found[0].candidates[0] == (right[0], pytest.approx(0, abs=1e-6))
