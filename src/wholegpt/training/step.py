"""One optimizer step: rates, gradients of all micro-batches on all ranks, the norm, the guard, the update.

Every window has as many predictions as any other, so a window's share in the batch is its tokens' share: the gradient
is that of the mean over all tokens of the step, whatever the ranks and micro-batches.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wholegpt.model.gpt import GPT
from wholegpt.ranks import Team, is_shard
from wholegpt.training import parallel
from wholegpt.training.order import keys


@dataclass(frozen=True)
class Outcome:
    """What a step came to."""

    loss: float
    """Mean over the batch [nats a token]."""
    norm: float
    """Of all gradients together, before clipping."""
    taken: bool
    """False: loss or gradient was not finite, and nothing was changed."""
    forgivable: bool
    """Not taken because the scale of float16 was too large; it is smaller now."""
    stop: bool
    """Some rank was asked to stop."""


class Stepper:
    """Steps of one model by its optimizers."""

    def __init__(
        self,
        model: GPT,
        objective: nn.Module,
        optimizers: list[torch.optim.Optimizer],
        team: Team,
        precision: str = "float32",
        micro_batch_size: int = 8,
        gradient_clip: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.model, self.objective, self.optimizers, self.team = model, objective, optimizers, team
        self._micro_batch_size, self._gradient_clip, self._seed = micro_batch_size, gradient_clip, seed
        self._peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
        # On a device without float16 the scaler is off, and scales by one.
        self.scaler = torch.amp.GradScaler(team.device.type, enabled=precision == "float16")

    def take(self, step: int, windows: Tensor, rate_share: float, stop: bool = False) -> Outcome:
        """Take a step on this rank's windows [n, T + 1], at this share of the peak learning rates."""
        self._set_rates(rate_share)
        self.model.train()
        if self.model.config.dropout:  # so that noise, too, depends on seed, step and rank alone
            torch.manual_seed(int(keys(self._seed, step, self.team.count)[self.team.rank]))
        losses = list(self._gradients(windows))
        norm = self._norm()
        # The one place where a step waits for a GPU.
        *values, norm_value = torch.stack([*losses, norm]).tolist()
        loss, stops = self.team.sum([sum(values), stop])
        taken = math.isfinite(loss) and math.isfinite(norm_value)
        forgivable = not taken and math.isfinite(loss) and self.scaler.is_enabled() and self.scaler.get_scale() > 1
        self._update(taken)
        return Outcome(loss, norm_value, taken, forgivable, bool(stops))

    def _set_rates(self, share: float) -> None:
        for optimizer, rates in zip(self.optimizers, self._peaks, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share

    def _gradients(self, windows: Tensor) -> Iterator[Tensor]:
        """Add up the gradients of all micro-batches; yields the loss of each times its share in the whole batch."""
        parts = torch.split(_on(self.team.device, windows), self._micro_batch_size)
        for number, part in enumerate(parts):
            share = len(part) / (len(windows) * self.team.count)
            with parallel.gradients_travel(self.objective, number == len(parts) - 1):
                loss = self.objective(part) * share
                # Ranks take the mean of their gradients, and the sum is wanted.
                self.scaler.scale(loss * self.team.count).backward()
            yield loss.detach().float()

    def _norm(self) -> Tensor:
        """The norm of all gradients, which are clipped to it; the same on every rank, as the gradients are."""
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self._gradient_clip)
        return norm.full_tensor() if is_shard(norm) else norm

    def _update(self, taken: bool) -> None:
        """Step if the step is good; a float16 scale that was too large is halved on every rank, whoever saw it."""
        for optimizer in self.optimizers:
            if taken:
                optimizer.step()
            optimizer.zero_grad()
        if self.scaler.is_enabled():
            self.scaler.update(None if taken else self.scaler.get_scale() * self.scaler.get_backoff_factor())

    def state(self) -> dict[str, Any]:
        """What JSON can hold of the scale of float16; empty in other precisions."""
        return self.scaler.state_dict()

    def load_state(self, content: dict[str, Any]) -> None:
        if content and self.scaler.is_enabled():
            self.scaler.load_state_dict(content)


def _on(device: torch.device, windows: Tensor) -> Tensor:
    """Send windows to the device, without waiting where it is a GPU."""
    return windows.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else windows.to(device)
