"""The figures of a step: loss in two units, speed and its share of the machine's peak, memory, time left."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import torch

from wholegpt.model.gpt import GPTConfig
from wholegpt.training import flops, memory

# A loss that is higher than the reference by less is on track: the loss of a single step varies by more.
TOLERANCE_NATS = 0.05


class Reference:
    """A curve that somebody's run took: points (tokens, loss [nats a token]), tokens rising."""

    def __init__(self, points: Sequence[Sequence[float]]) -> None:
        self._tokens, self._losses = [point[0] for point in points], [point[1] for point in points]

    def above(self, tokens: float, loss: float) -> float | None:
        """How much a loss lies above the curve [nats]; None before its first point and after its last.

        Between two points the curve is straight in the logarithm of the tokens.
        """
        if not self._tokens or not self._tokens[0] <= tokens <= self._tokens[-1]:
            return None
        right = bisect_left(self._tokens, tokens)
        if self._tokens[right] == tokens:
            return loss - self._losses[right]
        before, after = math.log(self._tokens[right - 1]), math.log(self._tokens[right])
        way = (math.log(tokens) - before) / (after - before)
        return loss - (self._losses[right - 1] + way * (self._losses[right] - self._losses[right - 1]))


def verdict(above: float | None) -> str:
    """In words, to follow a figure; nothing where there is no reference.

    >>> verdict(-0.3), verdict(0.123), verdict(None)
    (', on track', ', above the reference by 0.12', '')
    """
    if above is None:
        return ""
    return ", on track" if above <= TOLERANCE_NATS else f", above the reference by {above:.2f}"


class Meter:
    """Computes the figures of steps of `step_tokens` tokens in windows of `window`, on so many devices at once."""

    def __init__(
        self,
        config: GPTConfig,
        device: torch.device,
        precision: str,
        step_tokens: int,
        window: int,
        devices: int = 1,
        reference: Sequence[Sequence[float]] = (),
    ) -> None:
        self._device, self._step_tokens, self._reference = device, step_tokens, Reference(reference)
        peak = devices * flops.peak_flops(device, precision)
        self._palm = flops.palm_flops(config, window) / peak
        self._exact = flops.exact_flops(config, window) / peak

    def speed(self, seconds: float) -> dict[str, Any]:
        """Of a step that took so long: tokens a second, utilisation in both conventions (`flops.py`), memory."""
        tokens_per_second = self._step_tokens / seconds
        return {
            "tokens_per_second": round(tokens_per_second),
            "mfu": round(tokens_per_second * self._palm, 4),
            "mfu_exact": round(tokens_per_second * self._exact, 4),
            "memory_bytes": memory.peak_bytes(self._device),
        }

    def above_reference(self, steps: int, loss: float) -> float | None:
        """How much the loss after so many steps lies above the reference curve [nats a token]; None without one."""
        return self._reference.above(steps * self._step_tokens, loss)
