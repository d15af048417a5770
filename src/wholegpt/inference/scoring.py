"""Log-likelihoods: of a continuation given a context, and of a whole text window by window.

Both follow lm-evaluation-harness, so that the numbers can be compared: a text begins with one `<|endoftext|>`, and
every token is predicted exactly once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from wholegpt.inference import plain
from wholegpt.inference.requests import Continuation, Scored, Window
from wholegpt.model.gpt import GPT
from wholegpt.tokenizer import Tokenizer


@dataclass(frozen=True)
class Score:
    """How likely a continuation is: natural log-probability, whether greedy decoding gives it, its tokens."""

    logprob: float
    greedy: bool
    tokens: int


def score(model: GPT, tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> list[Score]:
    """Scores of (context, continuation) pairs.

    White space at the end of a context moves to its continuation. Ids are those of the joined text, split at the number
    of ids of the context. An empty context is one `<|endoftext|>`; what exceeds the window is cut on the left. Raises
    ValueError for a continuation that is empty or longer than the window.
    """
    requests = []
    for context, continuation in pairs:
        context_ids, ids = split_ids(tokenizer, context, continuation)
        if not 0 < len(ids) <= model.config.n_ctx:
            raise ValueError(f"a continuation has {len(ids)} tokens, expected 1 to {model.config.n_ctx} (the window)")
        kept = context_ids[-(model.config.n_ctx + 1 - len(ids)) :]
        requests.append(Continuation(tuple(kept), tuple(ids)))
    found = dict(loglikelihoods(model, requests))
    return [
        Score(scored.logprob, scored.is_greedy, len(scored.logprobs))
        for scored in (found[index] for index in range(len(pairs)))
    ]


def split_ids(tokenizer: Tokenizer, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Ids of a context and of its continuation, as lm-evaluation-harness splits them."""
    if not context:
        return [tokenizer.eot], tokenizer.encode_ordinary(continuation)
    kept = context.rstrip()
    whole = tokenizer.encode_ordinary(context + continuation)
    context_ids = tokenizer.encode_ordinary(kept)
    if not context_ids:  # a context of white space alone
        return [tokenizer.eot], whole
    return context_ids, whole[len(context_ids) :]


def text_logprob(model: GPT, tokenizer: Tokenizer, ids: Sequence[int]) -> float:
    """The natural log-probability of a whole document, `<|endoftext|>` before it given.

    Disjoint windows, each as long as the model allows; the last one reaches back so that it is full too. With a window
    of 4 and ten tokens, what is read and what is predicted:

        read      eot 0 1 2 | 3 4 5 6 | 5 6 7 8
        predicted   0 1 2 3 | 4 5 6 7 |     8 9
    """
    requests = windows(ids, tokenizer.eot, model.config.n_ctx)
    return sum(scored.logprob for scored in windows_loglikelihoods(model, requests))


def windows(ids: Sequence[int], eot: int, window: int, stride: int | None = None) -> Iterator[Window]:
    """The windows in which a document is read, `<|endoftext|>` before it; each predicts what none before it did.

    With a stride, each window but the first predicts so many tokens, after as many others as the model can read.
    """
    ids = tuple(ids)
    whole = (eot, *ids)
    done = 0
    while done < len(ids):
        end = min(done + (stride if stride and done else window), len(ids))
        yield Window(whole[max(0, end - window) : end + 1], end - done)
        done = end


def loglikelihoods(
    model: GPT,
    requests: Sequence[Continuation],
    batch_tokens: int | None = None,  # noqa: ARG001
) -> Iterator[tuple[int, Scored]]:
    """The index of each request and its result, in the order in which they get done."""
    for index, request in enumerate(requests):
        yield index, plain.loglikelihood(model, request)


def windows_loglikelihoods(model: GPT, requests: Iterable[Window], batch_tokens: int | None = None) -> Iterator[Scored]:  # noqa: ARG001
    """The result of each window, in order."""
    for request in requests:
        yield plain.window_loglikelihood(model, request)
