"""The loss of language modelling: the mean negative log-probability of each next token [nats].

The logits [tokens, vocabulary] would be the largest matrix of the training: 3.3 GB for 16 windows of 1,024 tokens.
Here they exist for some tokens at a time and are turned into their part of the loss and of both gradients at once, so
that nothing of them is kept for the backward pass. Losses, and the gradient of the embedding, are added up in float32
whatever the precision of the products.

Shape suffixes: N tokens, n tokens at a time, D width, V vocabulary, with rows that pad it.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wholegpt.model.gpt import GPT

IGNORED = -100
# On a CPU as few as keep the products fast; a GPU is idle with less (2,670 tokens of GPT-2's vocabulary).
LOGITS_AT_A_TIME = {"cpu": 2**23, "cuda": 2**27}


def batch_loss(model: GPT, ids_BT: Tensor, precision: str) -> Tensor:
    """The mean loss over windows of T - 1 predictions each; the softmax is in float32 in any precision."""
    with torch.autocast(ids_BT.device.type, getattr(torch, precision), enabled=precision != "float32"):
        x_BTD, _ = model.hidden_states(ids_BT[:, :-1])
        targets_N = ids_BT[:, 1:].flatten()
        return linear_cross_entropy(
            x_BTD.flatten(0, 1), model.wte.weight, targets_N, vocab_size=model.config.vocab_size
        )


def linear_cross_entropy(
    x_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    token_weights_N: Tensor | None = None,
    reduction: Literal["mean", "sum"] = "mean",
    vocab_size: int | None = None,
) -> Tensor:
    """`F.cross_entropy(x_ND @ weight_VD.T, targets_N)`, in float32 and without all logits in memory.

    Targets of `IGNORED` do not count; `token_weights_N` says how much each of the others does. `mean` divides the sum
    by that of the weights (nan where nothing counts). Rows of the table from `vocab_size` on are no tokens: they pad
    it, and their gradients are zero. Under autocast the products have its precision, otherwise that of the tensors. One
    backward pass uses the gradients up: a second one raises RuntimeError.
    """
    counts_N = (targets_N != IGNORED).float()
    if token_weights_N is not None:
        counts_N = counts_N * token_weights_N
    device = x_ND.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_ND.dtype
    tokens, with_gradients = vocab_size or len(weight_VD), torch.is_grad_enabled()
    total: Tensor = _LinearCrossEntropy.apply(x_ND, weight_VD, targets_N, counts_N, tokens, dtype, with_gradients)  # type: ignore[no-untyped-call]
    return total / counts_N.sum() if reduction == "mean" else total


class _LinearCrossEntropy(torch.autograd.Function):
    """The weighted sum of the losses, and with it its gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        x_ND: Tensor,
        weight_VD: Tensor,
        targets_N: Tensor,
        counts_N: Tensor,
        tokens: int,
        dtype: torch.dtype,
        with_gradients: bool,
    ) -> Tensor:
        N, table_VD = len(x_ND), weight_VD.to(dtype)
        turn = slopes if torch.compiler.is_compiling() else _fastest_slopes(x_ND.device.type == "cuda")
        x_gradient_ND = torch.empty_like(x_ND) if with_gradients else None
        weight_gradient_VD = torch.zeros_like(table_VD, dtype=torch.float32) if with_gradients else None
        total = torch.zeros((), device=x_ND.device)
        pieces = -(-N * len(table_VD) // LOGITS_AT_A_TIME.get(x_ND.device.type, LOGITS_AT_A_TIME["cpu"]))
        rows = max(1, -(-N // max(1, pieces)))
        for start in range(0, N, rows):
            part = slice(start, start + rows)
            x_nD, counts_n1 = x_ND[part].to(dtype), counts_N[part, None]
            logits_nV = x_nD @ table_VD.t()
            losses_n1, slopes_nV = turn(logits_nV, targets_N[part, None].clamp(min=0), tokens)
            total += (losses_n1 * counts_n1).sum()
            if x_gradient_ND is not None and weight_gradient_VD is not None:
                x_gradient_ND[part] = (slopes_nV @ table_VD) * counts_n1
                _add_product(weight_gradient_VD, slopes_nV.t(), x_nD * counts_n1.to(dtype))
        if weight_gradient_VD is not None:
            ctx.save_for_backward(x_gradient_ND, weight_gradient_VD)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x_gradient_ND, weight_gradient_VD = ctx.saved_tensors  # scaled in place, for they are large
        return x_gradient_ND.mul_(upstream), weight_gradient_VD.mul_(upstream), None, None, None, None, None


def _add_product(sum_: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == sum_.dtype:
        sum_.addmm_(left, right)
    else:
        sum_.add_(left @ right)


def slopes(logits_nV: Tensor, targets_n1: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """The loss of each row [n, 1] in float32, and by how much it changes with each logit [n, V] in their precision.

    The slope is the token's probability, less one for the target; zero for logits beyond the first `tokens`.
    """
    logits = logits_nV.float()
    numbers_V = torch.arange(logits.shape[1], device=logits.device)
    logits = logits.masked_fill(numbers_V >= tokens, float("-inf"))
    total_n1 = logits.logsumexp(1, keepdim=True)
    slopes_nV = (logits - total_n1).exp() - (numbers_V == targets_n1).float()
    return total_n1 - logits.gather(1, targets_n1), slopes_nV.to(logits_nV.dtype)


def slopes_in_place(logits_nV: Tensor, targets_n1: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """`slopes` in the memory of the logits, with one exponential a logit, for where nothing compiles `slopes`."""
    real_nV = logits_nV[:, :tokens]
    largest_n1, of_target_n1 = real_nV.amax(1, keepdim=True).float(), real_nV.gather(1, targets_n1).float()
    in_place = real_nV if real_nV.dtype == torch.float32 else None
    chances_nV = torch.softmax(real_nV, 1, torch.float32, out=in_place)
    # The likeliest token's chance is e^(its logit) / sum; by the target's own chance, small ones would be cut to 0.
    total_n1 = largest_n1 - chances_nV.amax(1, keepdim=True).log()
    chances_nV.scatter_add_(1, targets_n1, torch.full_like(total_n1, -1.0))
    if in_place is None:
        real_nV.copy_(chances_nV)
    logits_nV[:, tokens:] = 0.0
    return total_n1 - of_target_n1, logits_nV


@functools.cache
def _fastest_slopes(on_gpu: bool) -> Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]:
    """Compiled, the many passes over the logits that `slopes` names are two."""
    compiles = on_gpu and importlib.util.find_spec("triton")
    return torch.compile(slopes, dynamic=False) if compiles else slopes_in_place
