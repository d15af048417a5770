"""Optimizers and the learning-rate schedule. Unstated in the paper: both; it says only that rates were tuned by hand.

`adamw` is what the public reproductions use. `muon` replaces it for the matrices of the blocks by Muon (Jordan et al.
2024: momentum made orthogonal by Newton-Schulz iterations) and reaches the same loss with fewer tokens.
"""

import math
from collections import defaultdict
from typing import Any, Literal

import torch
from torch import Tensor, nn

from wholegpt.model.gpt import GPT

OptimizerName = Literal["adamw", "muon"]
ScheduleName = Literal["cosine", "linear", "constant"]

# Coefficients of the quintic Newton-Schulz iteration, from the public implementation of Muon.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


def build(
    model: GPT,
    name: OptimizerName,
    learning_rate: float,
    muon_learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float],
) -> list[torch.optim.Optimizer]:
    """The optimizers of a model; weight decay falls on matrices only, embeddings included."""
    blocks = [p for n, p in model.named_parameters() if n.startswith("h.") and p.dim() == 2]
    embeddings = [model.wte.weight, model.wpe.weight]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    by_adamw = embeddings if name == "muon" else [*blocks, *embeddings]
    groups = [{"params": by_adamw, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    adamw = _adamw(groups, learning_rate, betas)
    if name == "adamw":
        return [adamw]
    return [Muon(blocks, muon_learning_rate, weight_decay), adamw]


def _adamw(groups: list[dict[str, Any]], learning_rate: float, betas: tuple[float, float]) -> torch.optim.AdamW:
    """AdamW in one kernel, or, on devices for which PyTorch has none, in several."""
    try:
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=1e-8, fused=True)
    except RuntimeError:
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, eps=1e-8)


class Muon(torch.optim.Optimizer):
    """Muon in float32 for [inputs, outputs] matrices; those of one shape are worked on as one batch.

    torch's own Muon iterates in bfloat16, which processors without it emulate slowly. A matrix whose outputs are three
    times its inputs is query, key and value side by side: each is made orthogonal by itself.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002 (torch asks for it)
        for group in self.param_groups:
            same_shape: defaultdict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                state = self.state[parameter]
                average = state.setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(average, group["momentum"])  # Nesterov's
                parts = 3 if parameter.shape[1] == 3 * parameter.shape[0] else 1
                for piece, direction in zip(parameter.chunk(parts, 1), update.chunk(parts, 1), strict=True):
                    same_shape[tuple(piece.shape)].append((piece, direction))
            for (inputs, outputs), pieces in same_shape.items():
                directions = orthogonal(torch.stack([direction for _, direction in pieces]))
                scale = group["lr"] * math.sqrt(max(1.0, outputs / inputs))
                for (piece, _), direction in zip(pieces, directions, strict=True):
                    piece.mul_(1 - group["lr"] * group["weight_decay"]).add_(direction, alpha=-scale)


def orthogonal(matrices: Tensor) -> Tensor:
    """Each matrix of a batch [n, inputs, outputs], its singular values moved near 1 by Newton-Schulz iterations."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def schedule(step: int, steps: int, warmup_steps: int, name: ScheduleName, floor: float) -> float:
    """The share of the full learning rate in step 0 to steps - 1: a linear warm-up, then down to `floor`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if name == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    remaining = 1 - progress if name == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return floor + (1 - floor) * remaining
