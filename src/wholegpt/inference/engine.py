"""Generation: prefill the prompt, then decode one token after another with a key-value cache."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch

from wholegpt.inference import plain
from wholegpt.inference.requests import Generated, Generation
from wholegpt.inference.sampling import next_token, request_generator
from wholegpt.model.gpt import GPT, Cache
from wholegpt.tokenizer import Tokenizer


def generate(
    model: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    max_new_tokens: int = 40,
    temperature: float = 1.0,
    top_k: int = 40,
    seed: int = 0,
    stop_at_eot: bool = False,
) -> list[str]:
    """The continuations of some prompts, without the prompts.

    Prompts are ordinary text; an empty one is `<|endoftext|>`, the start of a document. Temperature 0 is greedy, top_k
    0 keeps every token. `<|endoftext|>` ends a text only with `stop_at_eot`. A character that is cut off at the end
    becomes U+FFFD. Beyond the context window the model goes on from the last half of it.
    """
    if isinstance(prompts, str):
        raise TypeError("prompts is one string, expected a list of strings")
    if temperature < 0 or max_new_tokens < 0 or top_k < 0:
        raise ValueError("temperature, top_k and max_new_tokens must not be negative")
    encoded = [tokenizer.encode_ordinary(prompt) or [tokenizer.eot] for prompt in prompts]
    # Prompts of one length share a batch; nothing is padded.
    same_length: defaultdict[int, list[int]] = defaultdict(list)
    for index, ids in enumerate(encoded):
        same_length[len(ids)].append(index)
    texts = [""] * len(prompts)
    for indices in same_length.values():
        generators = [request_generator(seed, index) for index in indices]
        batch = [encoded[index] for index in indices]
        stop = tokenizer.eot if stop_at_eot else None
        new = _continue(model, batch, max_new_tokens, temperature, top_k, generators, stop)
        for index, ids in zip(indices, new, strict=True):
            texts[index] = tokenizer.decode(ids)
    return texts


@torch.inference_mode()
def _continue(
    model: GPT,
    prompts: list[list[int]],
    max_new_tokens: int,
    temperature: float,
    top_k: int,
    generators: list[torch.Generator],
    stop: int | None,
) -> list[list[int]]:
    """The new ids of prompts of one length."""
    sequences = [list(prompt) for prompt in prompts]
    finished = [False] * len(prompts)
    window = model.config.n_ctx
    cache: Cache = []
    for _ in range(max_new_tokens):
        if all(finished):
            break
        length = len(sequences[0])
        if not cache or cache[0][0].shape[2] == window:
            # The beginning, or a full window: read the prompt, or the last half of what was written, anew.
            start = max(0, length - window) if not cache else length - max(1, window // 2)
            cache = model.empty_cache(len(prompts))
        else:
            start = length - 1
        ids_BT = torch.tensor([sequence[start:] for sequence in sequences], device=model.wte.weight.device)
        x_BTD, cache = model.hidden_states(ids_BT, cache)
        logits_BV = model.unembed(x_BTD[:, -1]).float().cpu()
        for row, sequence in enumerate(sequences):
            token = next_token(logits_BV[row], temperature, top_k, generators[row])
            finished[row] = finished[row] or token == stop
            sequence.append(token)
    return [_until(sequence[len(prompts[0]) :], stop) for sequence in sequences]


def _until(ids: list[int], stop: int | None) -> list[int]:
    return ids[: ids.index(stop)] if stop in ids and stop is not None else ids


def generate_until(
    model: GPT,
    tokenizer: Tokenizer,
    requests: Sequence[Generation],
    batch_tokens: int | None = None,  # noqa: ARG001
) -> Iterator[tuple[int, Generated]]:
    """The index of each request and its result, in the order in which they get done."""
    for index, request in enumerate(requests):
        yield index, plain.generate_until(model, tokenizer, request)
