"""Log-likelihoods: of a continuation given a context, and of a whole text window by window.

Both follow lm-evaluation-harness, so that the numbers can be compared: a text begins with one `<|endoftext|>`, and
every token is predicted exactly once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wholegpt.inference import budget, packing, stream, vocabulary
from wholegpt.inference.requests import Continuation, Scored, Window, as_window, check_window
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

    With a stride, 1 to `window`, each but the first predicts so many tokens, after as many others as fit.
    """
    if stride is not None and not 1 <= stride <= window:
        raise ValueError(f"stride is {stride}, expected 1 to {window} (the window)")
    ids = tuple(ids)
    whole = (eot, *ids)
    done = 0
    while done < len(ids):
        end = min(done + (stride if stride and done else window), len(ids))
        yield Window(whole[max(0, end - window) : end + 1], end - done)
        done = end


def loglikelihoods(
    model: GPT, requests: Sequence[Continuation], batch_tokens: int | None = None
) -> Iterator[tuple[int, Scored]]:
    """The index of each request and its result, in the order in which they get done, the longest first.

    `batch_tokens` go through the model at once (default: `budget.pass_tokens`), nothing is padded, what requests begin
    with alike is read once, and only the places that count reach the vocabulary. Results do not depend on the batch, up
    to rounding. ValueError for a request that is empty or reads more than the window.
    """
    wanted = [as_window(request, model.config) for request in requests]
    candidates = [request.candidates for request in requests]
    batch_tokens = batch_tokens or budget.pass_tokens(model)
    limit = min(batch_tokens, 2 * model.config.n_ctx)  # attention within a tree is quadratic
    trees = packing.plant([window.ids[:-1] for window in wanted], limit)
    for batch in packing.batches(trees, len, batch_tokens):
        yield from _scored(model, batch, wanted, candidates)


def windows_loglikelihoods(model: GPT, requests: Iterable[Window], batch_tokens: int | None = None) -> Iterator[Scored]:
    """The result of each window, in order; batches as in `loglikelihoods`, of neighbours."""
    batch_tokens = batch_tokens or budget.pass_tokens(model)
    for group in packing.batches(requests, lambda window: len(window.ids) - 1, batch_tokens):
        for window in group:
            check_window(len(window.ids) - 1, model.config)
        trees = packing.plant([window.ids[:-1] for window in group], limit=0)
        found = dict(_scored(model, trees, group, [0] * len(group)))
        yield from (found[number] for number in range(len(group)))


@torch.inference_mode()
def _scored(
    model: GPT, trees: Sequence[packing.Tree], wanted: Sequence[Window], candidates: Sequence[int]
) -> list[tuple[int, Scored]]:
    """One pass: the results of all sequences that stand in some trees."""
    weight = model.wte.weight
    pack = packing.Pack(trees, weight.device, weight.dtype)
    places: list[int] = []
    targets: list[int] = []
    starts: dict[int, int] = {}
    for number, path in pack.paths.items():
        starts[number] = len(places)
        places += path[-wanted[number].count :]
        targets += wanted[number].ids[-wanted[number].count :]
    # A place predicts for several sequences where they part; it meets the vocabulary once.
    rows_R, row_P = torch.unique(torch.tensor(places, device=weight.device), return_inverse=True)
    x_RD = stream.hidden_states(model, pack.ids_N, pack.positions_N, pack.attend, rows_R)
    logprobs_P, greedy_P = vocabulary.predictions(model, x_RD, row_P, torch.tensor(targets, device=weight.device))
    logprobs, greedy = logprobs_P.tolist(), greedy_P.tolist()
    asked = {number: candidates[number] for number in starts if candidates[number]}
    best = _candidates(model, x_RD[row_P[[starts[number] for number in asked]]], asked)
    results = []
    for number, start in starts.items():
        part = slice(start, start + wanted[number].count)
        results.append((number, Scored(tuple(logprobs[part]), tuple(greedy[part]), best.get(number, ()))))
    return results


def _candidates(model: GPT, x_RD: Tensor, asked: dict[int, int]) -> dict[int, tuple[tuple[int, float], ...]]:
    """So many most likely tokens of each row, with their log-probabilities, some rows at a time."""
    found: dict[int, tuple[tuple[int, float], ...]] = {}
    size = budget.logits_rows(model)
    numbers = list(asked)
    for start in range(0, len(numbers), size):
        some = numbers[start : start + size]
        ids_RK, logprobs_RK = vocabulary.most_likely(model, x_RD[start : start + size], max(asked.values()))
        for number, ids, logprobs in zip(some, ids_RK.tolist(), logprobs_RK.tolist(), strict=True):
            found[number] = tuple(zip(ids, logprobs, strict=True))[: asked[number]]
    return found
