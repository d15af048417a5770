"""The state of an unfinished run: everything that the next step depends on, saved so that it is there whole or not.

    state/step-000200/   model.safetensors, optimizer.safetensors, progress.json
                         shards/ instead of the first two, where each rank holds a part of the model (FSDP2)

The last few are kept, and the one that was best on held-out text. Any number of ranks goes on from either form, which
must lie where all of them read. The order of the data and all randomness are functions of the seed and the step, so no
generator is saved. Nothing here is unpickled but the index of `shards`, and of that only what such an index holds.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wholegpt import artifact
from wholegpt.errors import WholeGPTError
from wholegpt.model.convert import huggingface
from wholegpt.model.gpt import GPT
from wholegpt.ranks import Team, is_shard

KEPT = 2
MOMENTS = "optimizer.safetensors"
SHARDS = "shards"
PROGRESS = "progress.json"
ALONE = Team(torch.device("cpu"))

Optimizers = Sequence[torch.optim.Optimizer]


def save(
    folder: Path,
    step: int,
    model: GPT,
    optimizers: Optimizers,
    progress: Mapping[str, Any],
    kept: int = KEPT,
    team: Team = ALONE,
) -> None:
    """Save the state after `step` steps and forget all but the last and the best; all ranks must call it.

    `progress` is what JSON can hold; a state with `held_out`, a number, takes part in the choice of the best, the
    smallest.
    """
    _begin(optimizers)
    final = folder / f"step-{step:06d}"
    partial = final.with_name(final.name + ".partial")
    if team.main:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    if is_shard(model.wte.weight):
        from wholegpt.training import state_shards

        state_shards.write(partial / SHARDS, _everything(model, optimizers), team)
    elif team.main:
        rows = model.config.vocab_size
        huggingface.write_weights(partial / huggingface.WEIGHTS, _cut(dict(model.named_parameters()), rows))
        huggingface.write_weights(partial / MOMENTS, _cut(_moments(model, optimizers), rows))
    if team.main:
        artifact.write_json(partial / PROGRESS, {"step": step, **progress})
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        artifact.sync(folder)
        for old in set(saved(folder)[:-kept]) - {best(folder)}:
            shutil.rmtree(old)


def load(folder: Path, model: GPT, optimizers: Optimizers, team: Team = ALONE) -> dict[str, Any] | None:
    """Put the last saved state into model and optimizers and return its progress; None if there is none."""
    return read(saved(folder)[-1], model, optimizers, team) if saved(folder) else None


def read(path: Path, model: GPT, optimizers: Optimizers, team: Team = ALONE) -> dict[str, Any]:
    """Put one saved state into model and optimizers and return its progress."""
    _begin(optimizers)
    try:
        if (path / SHARDS).is_dir():
            from wholegpt.training import state_shards

            state_shards.read(path / SHARDS, _everything(model, optimizers), team)
        else:
            _fill(path / huggingface.WEIGHTS, dict(model.named_parameters()))
            _fill(path / MOMENTS, _moments(model, optimizers))
        progress: dict[str, Any] = artifact.read_json(path / PROGRESS)
    except WholeGPTError as error:
        raise WholeGPTError(f"{path} cannot be read ({error}); remove it to go on from the state before") from None
    return progress


def saved(folder: Path) -> list[Path]:
    """The saved states, oldest first."""
    whole = [path for path in folder.glob("step-*") if not path.name.endswith(".partial")]
    return sorted(whole, key=lambda path: int(path.name.removeprefix("step-")))


def best(folder: Path) -> Path | None:
    """The saved state with the smallest `held_out`; None where none was looked at."""
    looks = {path: artifact.read_json(path / PROGRESS).get("held_out") for path in saved(folder)}
    known = {path: look for path, look in looks.items() if look is not None}
    return min(known, key=known.__getitem__) if known else None


def _moments(model: GPT, optimizers: Optimizers) -> dict[str, Tensor]:
    """What the optimizers remember, by name, as in `0.h.3.ln_1.bias.exp_avg`."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{index}.{names[parameter]}.{key}": tensor
        for index, optimizer in enumerate(optimizers)
        for parameter, memory in optimizer.state.items()
        for key, tensor in memory.items()
    }


def _everything(model: GPT, optimizers: Optimizers) -> dict[str, Tensor]:
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    return parameters | _moments(model, optimizers)


def _begin(optimizers: Optimizers) -> None:
    """Let optimizers that have not stepped yet make their memory, as empty as before, by a step of size zero."""
    for optimizer in optimizers:
        if optimizer.state:
            continue
        rates = [group["lr"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["lr"] = 0.0
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad()
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        for memory in optimizer.state.values():
            for tensor in memory.values():
                tensor.zero_()


def _cut(tensors: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
    """Without the rows that pad the vocabulary: they are zero in parameters and moments."""
    return {name: tensor[:rows] if _padded(name, tensor) else tensor for name, tensor in tensors.items()}


def _padded(name: str, tensor: Tensor) -> bool:
    return "wte.weight" in name and tensor.dim() == 2


@torch.no_grad()
def _fill(path: Path, targets: Mapping[str, Tensor]) -> None:
    """Copy the tensors of a file into these; their names and shapes must be the same, padding aside."""
    with huggingface.open_safetensors(path) as (_, shapes, tensor):
        stored = {name.removeprefix(huggingface.PREFIX): name for name in shapes}
        if others := stored.keys() ^ targets.keys():
            raise WholeGPTError(f"{path.name} is of another model or optimizer: {min(others)}")
        for name, target in targets.items():
            value = tensor(stored[name])
            padding = len(target) - len(value) if _padded(name, target) else 0
            if padding > 0:
                value = torch.cat((value, value.new_zeros(padding, value.shape[1])))
            if value.shape != target.shape:
                raise WholeGPTError(f"{path.name}: {name} is {list(value.shape)}, expected {list(target.shape)}")
            if is_shard(target):
                from torch.distributed.tensor import distribute_tensor

                value = distribute_tensor(value.to(target.device), target.device_mesh, target.placements)
            target.copy_(value)
