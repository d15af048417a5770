"""Log-likelihoods: of a continuation given a context, and of a whole text window by window.

Both follow lm-evaluation-harness, so that the numbers can be compared: a text begins with one `<|endoftext|>`, and
every token is predicted exactly once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from wholegpt.model.gpt import GPT
from wholegpt.tokenizer import Tokenizer

# How many tokens go through the model at once; the logits of a batch take this times the vocabulary times 4 bytes.
BATCH_TOKENS = 4096


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
        context_ids, continuation_ids = split_ids(tokenizer, context, continuation)
        if not 0 < len(continuation_ids) <= model.config.n_ctx:
            raise ValueError(
                f"a continuation has {len(continuation_ids)} tokens, expected 1 to {model.config.n_ctx} (the window)"
            )
        ids = (context_ids + continuation_ids)[-(model.config.n_ctx + 1) :]
        requests.append((ids, len(continuation_ids)))
    return [
        Score(float(logprobs.sum()), bool(greedy.all()), len(logprobs))
        for logprobs, greedy in _token_logprobs(model, requests)
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
    requests = list(windows(ids, tokenizer.eot, model.config.n_ctx))
    return sum(float(logprobs.double().sum()) for logprobs, _ in _token_logprobs(model, requests))


def windows(ids: Sequence[int], eot: int, window: int) -> Iterator[tuple[list[int], int]]:
    """What `text_logprob` reads: ids of a window with one more to predict, and how many at its end count."""
    ids = list(ids)
    whole = [eot, *ids]
    for start in range(0, len(ids), window):
        end = min(start + window, len(ids))
        first = max(0, end - window)
        yield whole[first : end + 1], end - start


def _token_logprobs(model: GPT, requests: Iterable[tuple[list[int], int]]) -> Iterator[tuple[Tensor, Tensor]]:
    """For each request (ids, count): log-probability and greediness of its last `count` tokens.

    Neighbours of one length share a batch; nothing is padded, and only the positions that count reach the vocabulary.
    """
    batch: list[tuple[list[int], int]] = []
    for request in requests:
        if batch and (len(request[0]) != len(batch[0][0]) or (len(batch) + 1) * len(request[0]) > BATCH_TOKENS):
            yield from _batch_logprobs(model, batch)
            batch = []
        batch.append(request)
    if batch:
        yield from _batch_logprobs(model, batch)


@torch.inference_mode()
def _batch_logprobs(model: GPT, batch: list[tuple[list[int], int]]) -> list[tuple[Tensor, Tensor]]:
    ids_BT = torch.tensor([ids for ids, _ in batch], device=model.wte.weight.device)
    x_BTD, _ = model.hidden_states(ids_BT[:, :-1])
    results = []
    for row, (_, count) in enumerate(batch):
        logits_TV = model.unembed(x_BTD[row, -count:]).float()
        targets_T = ids_BT[row, -count:]
        logprobs_T = -F.cross_entropy(logits_TV, targets_T, reduction="none")
        results.append((logprobs_T.cpu(), (logits_TV.argmax(dim=-1) == targets_T).cpu()))
    return results
