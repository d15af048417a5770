"""Other people's scoring and generation, each brought to the same form; for the benchmark beside this file."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from peers.training import copy_weights

from wholegpt.inference.requests import Continuation, Generation
from wholegpt.model.gpt import GPT

END_OF_TEXT = "<|endoftext|>"


def hugging_face(weights: GPT) -> Any:
    """GPT2LMHeadModel with our weights."""
    from transformers import GPT2Config, GPT2LMHeadModel, logging

    logging.set_verbosity_error()
    config = weights.config
    sizes = GPT2Config(
        vocab_size=config.vocab_size, n_positions=config.n_ctx, n_embd=config.n_embd, n_layer=config.n_layer,
        n_head=config.n_head, activation_function="gelu_new", bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = GPT2LMHeadModel(sizes).eval()
    copy_weights(weights, model, transposed=False)
    return model


def harness(model: Any, batch_size: int) -> Callable[[Sequence[Continuation]], list[tuple[float, bool]]]:
    """lm-evaluation-harness's HFLM over a model; ids are given to it, so its tokenizer is never asked."""
    from lm_eval.models.huggingface import HFLM
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    nothing = Tokenizer(models.WordLevel({END_OF_TEXT: 0}, unk_token=END_OF_TEXT))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=nothing, eos_token=END_OF_TEXT, pad_token=END_OF_TEXT)
    scorer = HFLM(model, backend="causal", tokenizer=tokenizer, device="cpu", batch_size=batch_size)

    def score(requests: Sequence[Continuation]) -> list[tuple[float, bool]]:
        asked = [((str(number), ""), list(r.context), list(r.ids)) for number, r in enumerate(requests)]
        found: list[tuple[float, bool]] = scorer._loglikelihood_tokens(asked, disable_tqdm=True)
        return found

    return score


def writer(model: Any, batch_size: int) -> Callable[[Sequence[Generation]], list[tuple[int, ...]]]:
    """transformers' greedy `generate` over batches padded on the left, the longest prompts first."""

    def write(requests: Sequence[Generation]) -> list[tuple[int, ...]]:
        order = sorted(range(len(requests)), key=lambda number: -len(requests[number].prompt))
        found: dict[int, tuple[int, ...]] = {}
        for start in range(0, len(order), batch_size):
            numbers = order[start : start + batch_size]
            prompts = [requests[number].prompt for number in numbers]
            longest = max(map(len, prompts))
            ids = torch.tensor([(0,) * (longest - len(prompt)) + prompt for prompt in prompts])
            mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
            new = max(requests[number].max_new_tokens for number in numbers)
            with torch.inference_mode():
                out = model.generate(ids, attention_mask=mask, max_new_tokens=new, do_sample=False, pad_token_id=0)
            for number, row in zip(numbers, out[:, longest:].tolist(), strict=True):
                found[number] = tuple(row[: requests[number].max_new_tokens])
        return [found[number] for number in range(len(requests))]

    return write
