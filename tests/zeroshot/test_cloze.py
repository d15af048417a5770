"""The Children's Book Test: a model that knows the answer, one that knows a wrong one, one that knows nothing."""

import pytest

from wholegpt.zeroshot.tasks import TASKS

from .conftest import values


def teacher(model, right):
    def teach(sample):
        index = sample.notes["answer"] if right else (sample.notes["answer"] + 1) % len(sample.requests)
        model.teach(sample.requests[index].context, sample.requests[index].ids)

    return teach


@pytest.mark.parametrize(("right", "share"), [(True, 1.0), (False, 0.0)])
def test_rigged(setting, rows, rigged, right, share):
    given = setting("cbt-cn")
    found = rows("cbt-cn", rigged, given, teacher(rigged, right))
    assert values("cbt-cn", found, given) == {"acc,none": share, "acc,word": share}
    assert [row["answer"] for row in found] == ["river", "sea"]
    assert TASKS["cbt-cn"].beside(None, found, given) == {"tied": 0, "cut": 0, "cut_tokens": 0}


def test_the_prompt_and_what_counts(setting, tokenizer):
    first, second = TASKS["cbt-cn"].samples(TASKS["cbt-cn"].read(setting("cbt-cn")).examples, setting("cbt-cn"))
    assert first.prompt.startswith('"It rose", said Ann 1. "It rose", said Ann 2.')
    assert first.prompt.endswith("said Ann 20. The")
    assert first.notes["continuations"] == (" sea didn't rise.", " river didn't rise.", " hills didn't rise.")
    assert first.target == " river didn't rise."
    assert second.target == " sea ran."
    for sample in (first, second):
        for request, count, word in zip(
            sample.requests, sample.notes["word_tokens"], ("sea", "river", "hills"), strict=True
        ):
            assert tokenizer.decode(request.ids[:count]) == f" {word}"
            assert request.context == sample.requests[0].context


def test_a_story_that_is_too_long_loses_its_beginning(setting, rows, model):
    given = setting("cbt-cn", window=32)
    found = rows("cbt-cn", model, given)
    assert all(row["cut_tokens"] > 100 and row["prompt"].endswith("the" if row["doc_id"] else "The") for row in found)
    assert TASKS["cbt-cn"].beside(None, found, given)["cut"] == 2


def test_equal_scores_are_counted(setting, rows, rigged):
    """To a model that knows nothing candidates of as many tokens are equal."""
    given = setting("cbt-cn")
    found = rows("cbt-cn", rigged, given)
    expected = [row["logprobs"].count(max(row["logprobs"])) > 1 for row in found]
    assert [row["tied"] for row in found] == expected


def test_what_stands_between_sentences(setting):
    given = setting("cbt-cn", between="newline")
    first = next(iter(TASKS["cbt-cn"].samples(TASKS["cbt-cn"].read(given).examples, given)))
    assert 'said Ann 1.\n"It rose", said Ann 2.' in first.prompt and first.prompt.endswith(".\nThe")
