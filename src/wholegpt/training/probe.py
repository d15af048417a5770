"""How this machine trains fastest: a few steps are timed with each number of threads and precision it could use."""

import copy
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from wholegpt import compiled
from wholegpt.model.gpt import GPT
from wholegpt.training.loss import batch_loss

TIMED_STEPS = 3
PRODUCT_SIZE = 512


@dataclass(frozen=True)
class Setup:
    """What decides, beside the options, about speed and about the last bits of the result."""

    threads: int
    precision: str

    def __str__(self) -> str:
        return f"{self.threads} thread{'s' if self.threads > 1 else ''}, {self.precision}"


def choose(model: GPT, ids_BT: Tensor, threads: int, precision: str) -> tuple[Setup, dict[str, float]]:
    """The fastest setup and the seconds a step of each that was tried; `threads` 0 and `precision` auto are open.

    On a busy machine two threads can be slower than one: they wait for each other.
    """
    device = ids_BT.device
    cores = compiled.threads()
    numbers = [threads] if threads else sorted({1, max(1, cores // 2), cores})
    if precision != "auto":
        precisions = [precision]
    elif device.type == "cuda":
        precisions = ["bfloat16" if torch.cuda.is_bf16_supported() else "float32"]
    else:
        precisions = ["float32", "bfloat16"] if bfloat16_is_faster() else ["float32"]
    candidates = [Setup(number, kind) for number in numbers for kind in precisions]
    if len(candidates) == 1:
        return candidates[0], {}
    trial = copy.deepcopy(model)
    seconds = {candidate: _seconds_per_step(trial, ids_BT, candidate) for candidate in candidates}
    return min(seconds, key=seconds.__getitem__), {str(setup): round(time, 4) for setup, time in seconds.items()}


def bfloat16_is_faster() -> bool:
    """Whether one matrix product is faster in bfloat16; a processor without it can be a hundred times slower."""
    seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(PRODUCT_SIZE, PRODUCT_SIZE, dtype=dtype)
        x @ x
        start = time.perf_counter()
        x @ x
        seconds.append(time.perf_counter() - start)
    return seconds[1] < seconds[0]


def _seconds_per_step(model: GPT, ids_BT: Tensor, setup: Setup) -> float:
    torch.set_num_threads(setup.threads)
    fastest = float("inf")
    for _ in range(TIMED_STEPS):
        start = time.perf_counter()
        batch_loss(model, ids_BT, setup.precision).backward()  # type: ignore[no-untyped-call]
        fastest = min(fastest, time.perf_counter() - start)
        model.zero_grad()
    return fastest
