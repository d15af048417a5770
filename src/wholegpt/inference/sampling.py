"""From logits to the next token: temperature, top-k, and noise that belongs to one request."""

import torch
from torch import Tensor


def request_generator(seed: int, index: int) -> torch.Generator:
    """The noise of request `index`: it depends on nothing else, so a text does not change with its batch."""
    return torch.Generator().manual_seed((seed * 1_000_003 + index) % 2**63)


def keep_top_k(logits_V: Tensor, top_k: int) -> Tensor:
    """The logits with all but the k largest at minus infinity; 0 keeps all (the paper samples with k = 40)."""
    if top_k <= 0 or top_k >= logits_V.shape[-1]:
        return logits_V
    threshold = logits_V.topk(top_k).values[..., -1:]
    return logits_V.masked_fill(logits_V < threshold, float("-inf"))


def next_token(logits_V: Tensor, temperature: float, top_k: int, generator: torch.Generator) -> int:
    """Draw one token from float32 logits on the CPU; temperature 0 takes the largest."""
    if temperature == 0:
        return int(logits_V.argmax())
    probabilities_V = torch.softmax(keep_top_k(logits_V, top_k) / temperature, dim=-1)
    # The exponential race: argmax(p / e) with e ~ Exp(1) is a draw from p; one number of noise a token.
    noise_V = torch.empty_like(probabilities_V).exponential_(generator=generator)
    return int((probabilities_V / noise_V).argmax())
