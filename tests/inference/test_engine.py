"""Generation: greedy equals the loop without a cache and transformers; a text does not depend on its batch."""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wholegpt.inference import plain
from wholegpt.inference.engine import generate, generate_until
from wholegpt.inference.packing import common_length
from wholegpt.inference.requests import Generation
from wholegpt.inference.sampling import keep_top_k, next_token, request_generator
from wholegpt.inference.slots import Slots
from wholegpt.model import checkpoint


def test_greedy_equals_the_loop_without_a_cache(model, tokenizer):
    ids = tokenizer.encode_ordinary("The river")
    prompt = len(ids)
    for _ in range(12):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    found = generate(model, tokenizer, ["The river"], max_new_tokens=12, temperature=0)
    assert found == [tokenizer.decode(ids[prompt:])]


def test_greedy_of_transformers(shared):
    folder = shared / "fixtures" / "hf-tiny"
    cases = json.loads((folder / "expected_greedy.json").read_text())["items"]
    model, tokenizer = checkpoint.load(folder)
    assert len(cases) == 8
    for case in cases:
        if tokenizer.encode_ordinary(case["prompt"]) == case["prompt_ids"]:
            expected = tokenizer.decode(case["greedy_40"])
            assert generate(model, tokenizer, [case["prompt"]], max_new_tokens=40, temperature=0) == [expected]
        ids = list(case["prompt_ids"])
        cache, start = model.empty_cache(1), 0
        for expected_id in case["greedy_40"]:
            with torch.no_grad():
                logits, cache = model(torch.tensor([ids[start:]]), cache=cache)
            start = len(ids)
            ids.append(int(logits[0, -1].argmax()))
            assert ids[-1] == expected_id


def test_a_text_does_not_depend_on_its_batch(model, tokenizer):
    prompts = ["The river", "", "A miller's daughter", "The river"]
    together = generate(model, tokenizer, prompts, max_new_tokens=9, seed=3)
    assert generate(model, tokenizer, prompts, max_new_tokens=9, seed=3) == together
    assert together[0] == generate(model, tokenizer, prompts[:1], max_new_tokens=9, seed=3)[0]
    assert together[0] != together[3]


def test_beyond_the_window(model, tokenizer):
    (text,) = generate(model, tokenizer, ["The river rises in the hills and runs"], max_new_tokens=90)
    assert len(text) >= 30


def test_end_of_text_stops_only_on_request(model, tokenizer):
    with torch.no_grad():
        model.wte.weight[tokenizer.eot] = 9 * model.ln_f.bias  # makes it the most likely token, always
        model.ln_f.weight.zero_()
    assert generate(model, tokenizer, ["a"], 3, temperature=0, stop_at_eot=True) == [""]
    assert generate(model, tokenizer, ["a"], 3, temperature=0) == ["<|endoftext|>" * 3]


def test_wrong_arguments(model, tokenizer):
    with pytest.raises(TypeError, match="expected a list"):
        generate(model, tokenizer, "one prompt")
    with pytest.raises(ValueError, match="must not be negative"):
        generate(model, tokenizer, ["a"], temperature=-1)


def test_sampling_follows_the_probabilities():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    generator = request_generator(0, 0)
    drawn = torch.bincount(torch.tensor([next_token(logits, 2.0, 3, generator) for _ in range(5000)]), minlength=4)
    expected = torch.softmax(torch.tensor([1.0, 0.5, 0.0, float("-inf")]), 0) * 5000
    assert drawn[3] == 0
    assert torch.all((drawn - expected).abs() < 4 * (expected * (1 - expected / 5000)).sqrt().clamp(min=1))
    assert next_token(logits, 0.0, 3, generator) == 0
    assert keep_top_k(logits, 0) is logits


@pytest.mark.parametrize("name", ["hf-tiny", "hf-realtok"])
def test_greedy_of_transformers_in_one_call(fixtures, name):
    """The prompts as one batch, as texts; only those whose text gives the prompt's ids back."""
    model, tokenizer = checkpoint.load(fixtures / name)
    cases = json.loads((fixtures / name / "expected_greedy.json").read_text(encoding="utf-8"))["items"]
    cases = [case for case in cases if tokenizer.encode_ordinary(case["prompt"]) == case["prompt_ids"]]
    assert len(cases) >= 4
    found = generate(model, tokenizer, [case["prompt"] for case in cases], max_new_tokens=40, temperature=0)
    assert found == [tokenizer.decode(case["greedy_40"]) for case in cases]


def test_sampling_equals_the_loop_without_a_cache(model, tokenizer):
    ids = tokenizer.encode_ordinary("A miller")
    prompt, generator = len(ids), request_generator(8, 0)
    for _ in range(15):
        with torch.no_grad():
            ids.append(next_token(model(torch.tensor([ids]))[0, -1], 0.8, 7, generator))
    found = generate(model, tokenizer, ["A miller"], 15, temperature=0.8, top_k=7, seed=8)
    assert found == [tokenizer.decode(ids[prompt:])]


def test_an_empty_prompt_is_one_end_of_text(model, tokenizer):
    with torch.no_grad():
        first = int(model(torch.tensor([[tokenizer.eot]]))[0, -1].argmax())
    assert generate(model, tokenizer, [""], 1, temperature=0) == [tokenizer.decode([first])]


def test_a_prompt_is_ordinary_text(model, tokenizer):
    asked = generate(model, tokenizer, ["<|endoftext|>", ""], 8, temperature=0)
    ids = tokenizer.encode_ordinary("<|endoftext|>")
    with torch.no_grad():
        first = int(model(torch.tensor([ids]))[0, -1].argmax())
    assert asked[0].startswith(tokenizer.decode([first]))
    assert asked[0] != asked[1]


def test_beyond_the_window_by_definition(model, tokenizer):
    """When 32 positions are read, the last 16 are read anew: after them the window is full again 16 tokens later."""
    ids = tokenizer.encode_ordinary("The river")
    prompt, start, generator = len(ids), 0, request_generator(4, 0)
    for _ in range(70):
        if len(ids) - start > 32:
            start = len(ids) - 16
        with torch.no_grad():
            ids.append(next_token(model(torch.tensor([ids[start:]]))[0, -1], 1.0, 0, generator))
    found = generate(model, tokenizer, ["The river"], 70, temperature=1.0, top_k=0, seed=4)
    assert found == [tokenizer.decode(ids[prompt:])]


def test_of_a_prompt_longer_than_the_window_the_end_is_read(model, tokenizer, text):
    ids = tokenizer.encode_ordinary(text[:400])[-32:]
    with torch.no_grad():
        first = int(model(torch.tensor([ids]))[0, -1].argmax())
    assert generate(model, tokenizer, [text[:400]], 1, temperature=0) == [tokenizer.decode([first])]


def test_nothing_asked_nothing_given(model, tokenizer):
    assert generate(model, tokenizer, []) == []
    assert generate(model, tokenizer, ["a", "b"], max_new_tokens=0) == ["", ""]


def test_seeds_give_different_texts(model, tokenizer):
    texts = {generate(model, tokenizer, ["The"], 10, seed=seed)[0] for seed in range(5)}
    assert len(texts) == 5


def test_half_a_character_at_the_end(model, tokenizer):
    half = next(index for index in range(300) if tokenizer.token_bytes(index) == "é".encode()[:1])
    with torch.no_grad():
        model.wte.weight[half] = 9 * model.ln_f.bias
        model.ln_f.weight.zero_()
    assert generate(model, tokenizer, ["a"], 1, temperature=0) == ["\N{REPLACEMENT CHARACTER}"]


def check_equal(model, tokenizer, request, found):
    """As the readable twin writes it, unless it is greedy and two tokens were within 1e-3 of each other."""
    expected = plain.generate_until(model, tokenizer, request)
    if found.text != expected.text:
        same = common_length(found.ids, expected.ids)
        with torch.no_grad():
            best = model(torch.tensor([[*request.prompt, *expected.ids[:same]]]))[0, -1].topk(2).values
        assert float(best[0] - best[1]) <= 1e-3, (request, found, expected)
        return
    assert found.ids == expected.ids
    assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-4)


GENERATIONS = st.builds(
    Generation,
    st.lists(st.integers(0, 299), min_size=1, max_size=12).map(tuple),
    st.integers(0, 20),
    st.sampled_from([(), ("e",), ("\n", "he "), ("the river", "a"), ("è", "\ufffd"), ("zzzz",)]),
    st.sampled_from([0.0, 0.0, 0.8]),
    st.sampled_from([0, 5]),
    st.integers(0, 3),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(GENERATIONS, min_size=1, max_size=9), batch_tokens=st.sampled_from([None, 1, 64, 150]))
def test_whatever_the_batch_the_readable_twin_agrees(model, tokenizer, requests, batch_tokens):
    found = list(generate_until(model, tokenizer, requests, batch_tokens))
    assert sorted(index for index, _ in found) == list(range(len(requests)))
    for index, generated in found:
        check_equal(model, tokenizer, requests[index], generated)


def test_texts_leave_and_enter(model, tokenizer, monkeypatch):
    """Five rows for twelve texts of different lengths: each is read once and written as if alone."""
    requests = [Generation((index, 7, index), 3 + 2 * index % 13) for index in range(12)]
    sizes = []
    step = Slots.step
    monkeypatch.setattr(Slots, "step", lambda slots, ids: sizes.append(len(ids)) or step(slots, ids))
    found = list(generate_until(model, tokenizer, requests, batch_tokens=90))
    assert max(sizes) == 5
    assert len(set(sizes)) > 2
    assert [index for index, _ in found] != sorted(index for index, _ in found)
    for index, generated in found:
        check_equal(model, tokenizer, requests[index], generated)


def rigged_to_write(model, ids):
    """Makes the model write these tokens whatever it reads, one at each position after the first."""
    with torch.no_grad():
        for parameter in model.h.parameters():
            parameter.zero_()
        model.ln_f.weight.fill_(1.0)
        model.ln_f.bias.zero_()
        model.wte.weight.zero_()
        model.wpe.weight.zero_()
        for place, token in enumerate(dict.fromkeys(ids)):
            model.wte.weight[token, place] = 10.0
            for position, written in enumerate(ids):
                if written == token:
                    model.wpe.weight[position, place] = 1000.0


def test_a_stop_string_in_the_last_token(model, tokenizer):
    last = next(index for index in range(300) if len(tokenizer.token_bytes(index)) > 1)
    word = tokenizer.decode([last])
    rigged_to_write(model, [last])
    (found,) = generate_until(model, tokenizer, [Generation((1,), 1, (word[1:],))])
    assert found[1].text == word[:1]
    assert found[1] == plain.generate_until(model, tokenizer, Generation((1,), 1, (word[1:],)))


@pytest.mark.parametrize(
    ("stop", "written", "tokens"),
    [
        ((), "the river", 9),
        (("riv",), "the ", 4),
        (("zz", "er", "he r"), "t", 1),
        (("the",), "", 0),
        (("river!",), "the river", 9),
    ],
)
def test_a_stop_string_may_span_tokens(model, tokenizer, stop, written, tokens):
    letters = [tokenizer.encode_ordinary(letter)[0] for letter in "the river"]
    rigged_to_write(model, letters)
    for generated in (
        dict(generate_until(model, tokenizer, [Generation((0,), 9, stop)]))[0],
        plain.generate_until(model, tokenizer, Generation((0,), 9, stop)),
    ):
        assert generated.text == written
        assert generated.ids == tuple(letters[:tokens])
        assert len(generated.logprobs) == tokens


def test_a_stop_string_inside_a_token_keeps_the_token_that_makes_the_text(model, tokenizer):
    token = max(range(299), key=lambda token: len(tokenizer.decode([token])))
    inner = tokenizer.decode([token])[-2:]
    assert len(tokenizer.decode([token])) > 2
    rigged_to_write(model, [token, token])
    ((_, generated),) = generate_until(model, tokenizer, [Generation((0,), 2, (inner,))])
    assert generated.text == tokenizer.decode([token])[:-2]
    assert generated.ids == (token,)


def test_end_of_text_ends_a_text_without_being_part_of_it(model, tokenizer):
    letters = [tokenizer.encode_ordinary(letter)[0] for letter in "ab"]
    rigged_to_write(model, [*letters, tokenizer.eot, letters[0]])
    ((_, generated),) = generate_until(model, tokenizer, [Generation((0,), 4)])
    assert (generated.text, generated.ids) == ("ab", tuple(letters))
    assert sum(generated.logprobs) == pytest.approx(0, abs=1e-3)


def test_generation_of_the_harness(fixtures):
    """lm-evaluation-harness's texts, all prompts in one call."""
    model, tokenizer = checkpoint.load(fixtures / "trained")
    items = json.loads((fixtures / "trained" / "expected" / "generate_until.json").read_text(encoding="utf-8"))["items"]
    requests = [
        Generation(tuple(tokenizer.encode_ordinary(item["prompt"])), item["max_new_tokens"], tuple(item["until"]))
        for item in items
    ]
    found = dict(generate_until(model, tokenizer, requests))
    compared = [index for index, item in enumerate(items) if item["smallest_top2_gap"] > 1e-3]
    assert len(compared) >= 20
    assert [found[index].text for index in compared] == [items[index]["text"] for index in compared]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Generation((), 1), "is empty"),
        (Generation((1,), -1), "negative"),
        (Generation((1,), 1, temperature=-1.0), "negative"),
        (Generation((1,) * 30, 3), "reads 33 tokens, more than the window of 32"),
    ],
)
def test_what_cannot_be_written_is_refused(model, tokenizer, request_, words):
    with pytest.raises(ValueError, match=words):
        next(generate_until(model, tokenizer, [Generation((1,), 1), request_]))
