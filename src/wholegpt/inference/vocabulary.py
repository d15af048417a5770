"""From hidden states to what is asked of the vocabulary, without a matrix of all logits.

A row of GPT-2's logits is 200 kB. So the vocabulary is taken in parts, whose embeddings and logits stay in the
processor's cache, and of each part only its sum, its largest and the targets in it are kept: half the time on a CPU.

Shape suffixes: R rows, P predictions (several may be of one row), C entries of a part, V vocabulary, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from wholegpt.model.gpt import GPT

PART_ENTRIES = 2048


def predictions(model: GPT, x_RD: Tensor, row_P: Tensor, target_P: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probability of each target, in float32, and whether it is the most likely token of its row."""
    weight_VD = model.wte.weight[: model.config.vocab_size]
    total_R = x_RD.new_full((len(x_RD),), float("-inf"), dtype=torch.float32)
    best_R, token_R = total_R.clone(), torch.zeros(len(x_RD), dtype=torch.long, device=x_RD.device)
    logit_P = torch.empty(target_P.shape, device=x_RD.device)
    for start in range(0, len(weight_VD), PART_ENTRIES):
        logits_RC = F.linear(x_RD, weight_VD[start : start + PART_ENTRIES]).float()
        here = ((target_P >= start) & (target_P < start + PART_ENTRIES)).nonzero().flatten()
        logit_P[here] = logits_RC[row_P[here], target_P[here] - start]
        largest_R, place_R = logits_RC.max(dim=-1)
        token_R = torch.where(largest_R > best_R, start + place_R, token_R)
        best_R = torch.maximum(largest_R, best_R)
        sum_R = logits_RC.sub_(largest_R[:, None]).exp_().sum(dim=-1)
        total_R = torch.logaddexp(total_R, largest_R + sum_R.log())
    return logit_P - total_R[row_P], token_R[row_P] == target_P


def most_likely(model: GPT, x_RD: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` most likely tokens of each row, best first, and their log-probabilities, in float32."""
    best = model.unembed(x_RD).float().log_softmax(dim=-1).topk(min(count, model.config.vocab_size))
    return best.indices, best.values
