"""The state of an unfinished run: everything that the next step depends on, saved so that it is there whole or not.

    state/step-000200/   model.safetensors, optimizer.pt, progress.json

The order of the data and all randomness are functions of the seed and the step, so no generator is saved.
"""

import pickle
import shutil
from pathlib import Path
from typing import Any

import torch

from wholegpt import artifact
from wholegpt.errors import WholeGPTError
from wholegpt.model import checkpoint
from wholegpt.model.gpt import GPT

KEPT = 2


def save(
    folder: Path, step: int, model: GPT, optimizers: list[torch.optim.Optimizer], progress: dict[str, Any]
) -> None:
    """Save the state after `step` steps and forget all but the last `KEPT`."""
    final = folder / f"step-{step:06d}"
    partial = final.with_name(final.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    checkpoint.save_weights(partial / checkpoint.WEIGHTS, model.state_dict())
    torch.save([optimizer.state_dict() for optimizer in optimizers], partial / "optimizer.pt")
    artifact.sync(partial / "optimizer.pt")
    artifact.write_json(partial / "progress.json", {"step": step, **progress})
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    artifact.sync(folder)
    for old in saved(folder)[:-KEPT]:
        shutil.rmtree(old)


def load(folder: Path, model: GPT, optimizers: list[torch.optim.Optimizer]) -> dict[str, Any] | None:
    """Put the last saved state into model and optimizers and return its progress; None if there is none."""
    if not saved(folder):
        return None
    last = saved(folder)[-1]
    model.load_state_dict(checkpoint.read_weights(last / checkpoint.WEIGHTS, model))
    try:
        states = torch.load(last / "optimizer.pt", map_location=model.wte.weight.device, weights_only=True)
        for optimizer, content in zip(optimizers, states, strict=True):
            optimizer.load_state_dict(content)
    except (RuntimeError, ValueError, EOFError, KeyError, OSError, pickle.UnpicklingError) as error:
        fault = type(error).__name__  # the text of torch's errors fills a screen
        raise WholeGPTError(f"{last} cannot be read ({fault}); remove it to go on from the state before") from None
    progress: dict[str, Any] = artifact.read_json(last / "progress.json")
    return progress


def saved(folder: Path) -> list[Path]:
    """The saved states, oldest first."""
    whole = [path for path in folder.glob("step-*") if not path.name.endswith(".partial")]
    return sorted(whole, key=lambda path: int(path.name.removeprefix("step-")))
