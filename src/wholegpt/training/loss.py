"""The loss of language modelling: the mean negative log-probability of each next token [nats]."""

import torch
from torch import Tensor
from torch.nn import functional as F

from wholegpt.model.gpt import GPT


def batch_loss(model: GPT, ids_BT: Tensor, precision: str) -> Tensor:
    """The mean loss over windows of T - 1 predictions each; the softmax is in float32 in either precision."""
    dtype = torch.float16 if precision == "float16" else torch.bfloat16
    with torch.autocast(ids_BT.device.type, dtype, enabled=precision != "float32"):
        x_BTD, _ = model.hidden_states(ids_BT[:, :-1])
        logits_BTV = model.unembed(x_BTD)
    return F.cross_entropy(logits_BTV.float().flatten(0, 1), ids_BT[:, 1:].flatten())
