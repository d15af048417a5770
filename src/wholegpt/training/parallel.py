"""What makes a step fit and fast, applied from outside to an untouched model, in this order:

1. padding                   rows without a token fill the vocabulary up to a multiple, in memory only
2. activation checkpointing  each block computes its activations again in the backward pass instead of keeping them
3. torch.compile             of model and loss as a whole; under FSDP2 of each block
4. DDP or FSDP2              the same model on every rank, or parameters, gradients and moments in shards

The numbers stay those of one process: gradients are averaged in float32, and the mean over the ranks times their number
is the sum. Left out: tensor and pipeline parallelism, which these sizes do not need.
"""

import copy
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from wholegpt.model.gpt import GPT, Mask
from wholegpt.training.loss import batch_loss
from wholegpt.training.memory import is_out_of_memory
from wholegpt.training.ranks import Team, is_shard

Kind = Literal["ddp", "fsdp"]
# What tensor cores like the rows of a matrix to be a multiple of.
GPU_MULTIPLE = 128


class Objective(nn.Module):
    """From windows of ids [B, T + 1] to their mean loss [nats a token]: one call, which can be compiled and wrapped."""

    def __init__(self, model: GPT, precision: str) -> None:
        super().__init__()
        self.model, self.precision = model, precision

    def forward(self, ids_BT: Tensor) -> Tensor:
        return batch_loss(self.model, ids_BT, self.precision)


def apply(
    model: GPT, precision: str, team: Team, ids_BT: Tensor, kind: Kind, compiles: bool, checkpointing: bool
) -> nn.Module:
    """The objective of a model as this team trains it; `ids_BT` is a micro-batch to try the compiler on.

    Under FSDP2 the model's parameters become shards, in place: build optimizers afterwards.
    """
    sharded = kind == "fsdp" and team.launched
    # What is sharded goes to the device in shards; the whole may not fit.
    objective: nn.Module = Objective(model if sharded else model.to(team.device), precision)
    if checkpointing or sharded:
        for block in model.h:
            block.forward = functools.partial(_forward, block.forward, checkpointing)
    if compiles:
        objective = _compile_blocks(model, objective, team, ids_BT) if sharded else _compile(objective, team, ids_BT)
    if sharded:
        return _shard(model, objective, team)
    if team.count > 1:
        places = [team.device.index] if team.device.type == "cuda" else None
        wrapped = nn.parallel.DistributedDataParallel(objective, device_ids=places, gradient_as_bucket_view=True)
        return cast(nn.Module, wrapped)
    return objective


def pad_vocabulary(model: GPT, multiple: int) -> None:
    """Fill the embedding up with rows of zeros. The model cuts their logits off, so their gradients are zero."""
    extra = -model.config.vocab_size % multiple
    if extra:
        model.wte.weight = nn.Parameter(F.pad(model.wte.weight.detach(), (0, 0, 0, extra)))
        model.wte.num_embeddings += extra


def gradients_travel(objective: nn.Module, now: bool) -> AbstractContextManager[Any]:
    """A block whose gradients go to the other ranks at once, or are added up for the next block whose do.

    Under FSDP2 at once in any case: whole gradients would need the memory that it is there to save.
    """
    if isinstance(objective, nn.parallel.DistributedDataParallel) and not now:
        return cast(AbstractContextManager[Any], objective.no_sync())
    return nullcontext()


def without_gradients(model: GPT, objective: nn.Module, precision: str) -> nn.Module:
    """The objective as it is called under `no_grad`: plain, as it would be compiled anew; shards need their own."""
    return objective if is_shard(model.wte.weight) else Objective(model, precision)


def whole(model: GPT) -> GPT:
    """The model without shards and padding: itself, or, if it has either, a copy. All ranks must call it."""
    rows = model.config.vocab_size
    if not is_shard(model.wte.weight) and model.wte.num_embeddings == rows:
        return model
    tensors = {name: _gathered(tensor.detach()) for name, tensor in model.named_parameters()}
    tensors["wte.weight"] = tensors["wte.weight"][:rows].clone()
    with torch.device("meta"):
        plain = GPT(model.config)
    plain.load_state_dict(tensors, assign=True)
    return plain


def _gathered(tensor: Tensor) -> Tensor:
    return tensor.full_tensor().cpu() if is_shard(tensor) else tensor


def _forward(
    inner: Callable[..., tuple[Tensor, Any]],
    checkpointing: bool,
    x_BTD: Tensor,
    past: tuple[Tensor, Tensor] | None,
    mask_BHTS: Mask | None = None,
) -> tuple[Tensor, Any]:
    """A block's forward pass, keys and values given out only where there is a cache for them: FSDP2 warns of views."""
    if checkpointing:
        y_BTD, present = checkpoint(inner, x_BTD, past, mask_BHTS, use_reentrant=False)
    else:
        y_BTD, present = inner(x_BTD, past, mask_BHTS)
    return y_BTD, present if past is not None else None


def _shard(model: GPT, objective: nn.Module, team: Team) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(team.device.type, (team.count,))
    for block in model.h:
        fully_shard(block, mesh=mesh)
    # Without the last argument the embedding would stay whole after a forward pass that no backward pass follows.
    fully_shard(objective, mesh=mesh, reshard_after_forward=True)
    return objective


def _compile(objective: nn.Module, team: Team, ids_BT: Tensor) -> nn.Module:
    compiled: list[Any] = []

    def use() -> None:
        compiled.append(torch.compile(objective, dynamic=False))
        compiled[0](ids_BT).backward()

    works = _try(use, team)
    objective.zero_grad()
    return cast(nn.Module, compiled[0]) if works else objective


def _compile_blocks(model: GPT, objective: nn.Module, team: Team, ids_BT: Tensor) -> nn.Module:
    trial = copy.deepcopy(model.h[0]).to(team.device)

    def use() -> None:
        trial.compile(dynamic=False)
        x_BTD = torch.randn(len(ids_BT), ids_BT.shape[1] - 1, model.config.n_embd, device=team.device)
        trial(x_BTD, None)[0].sum().backward()

    if _try(use, team):
        for block in model.h:
            block.compile(dynamic=False)
    return objective


def _try(use: Callable[[], Any], team: Team) -> bool:
    """Whether what is compiled works on every rank; says so where it does not."""
    fault = ""
    try:
        use()
    except Exception as error:  # whatever a compiler may raise: it is told, and the eager model does the work
        if is_out_of_memory(error):
            raise
        fault = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    failures = team.sum([bool(fault)])[0]
    if failures:
        team.say(f"torch.compile does not work here ({fault or 'on another rank'}); going on without it")
    return not failures
