"""How this machine trains fastest: a few steps are timed with each number of threads and precision it could use."""

import copy
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from wholegpt import compiled
from wholegpt.model.gpt import GPT
from wholegpt.progress import say
from wholegpt.training import flops
from wholegpt.training.loss import batch_loss

TIMED_STEPS = 3
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Setup:
    """What decides, beside the options, about speed and about the last bits of the result."""

    threads: int
    precision: str

    def __str__(self) -> str:
        return f"{self.threads} thread{'s' if self.threads > 1 else ''}, {self.precision}"


def choose(
    model: GPT,
    ids_BT: Tensor,
    threads: int,
    precision: str,
    device: torch.device = CPU,
    cores: int | None = None,
) -> tuple[Setup, dict[str, float]]:
    """The fastest setup and the seconds a step of each that was tried; `threads` 0 and `precision` auto are open.

    `cores` is how many this process may use. On a busy machine two threads can be slower than one: they wait for each
    other. On a GPU nothing is tried: the precision is the best that it has.
    """
    cores = cores or compiled.threads()
    if device.type != "cpu":
        return Setup(threads or cores, best_of_gpu(device) if precision == "auto" else precision), {}
    numbers = [threads] if threads else sorted({1, max(1, cores // 2), cores})
    if precision != "auto":
        precisions = [precision]
    else:
        precisions = ["float32", "bfloat16"] if bfloat16_is_faster() else ["float32"]
    candidates = [Setup(number, kind) for number in numbers for kind in precisions]
    if len(candidates) == 1:
        return candidates[0], {}
    trial = copy.deepcopy(model)
    seconds = {candidate: _seconds_per_step(trial, ids_BT, candidate) for candidate in candidates}
    return min(seconds, key=seconds.__getitem__), {str(setup): round(time, 4) for setup, time in seconds.items()}


def best_of_gpu(device: torch.device) -> str:
    """bfloat16 from NVIDIA's Ampere on and on AMD, float16 on what came before with tensor cores, else float32.

    Apple's GPUs get float32: their autocast could not be tried here.
    """
    if device.type != "cuda":
        return "float32"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bfloat16"
    return "float16" if torch.cuda.get_device_capability(device) >= (7, 0) else "float32"


def working_device(model: GPT, ids_BT: Tensor, device: torch.device) -> torch.device:
    """The device, or the CPU where it is a rare one that cannot do what a step does; which is then said."""
    if device.type in ("cpu", "cuda"):
        return device
    try:
        trial = copy.deepcopy(model).to(device)
        float(batch_loss(trial, ids_BT[:1].to(device), "float32"))
        batch_loss(trial, ids_BT[:1].to(device), "float32").backward()  # type: ignore[no-untyped-call]
    except (RuntimeError, NotImplementedError, TypeError, AssertionError) as error:
        fault = (str(error).splitlines() or [type(error).__name__])[0]
        say(f"training does not work on {device} ({fault}); going on with the CPU")
        return CPU
    return device


def bfloat16_is_faster() -> bool:
    """Whether matrix products are faster in bfloat16; a processor without it can be a hundred times slower."""
    return flops.measured_flops(CPU, torch.bfloat16) > flops.measured_flops(CPU, torch.float32)


def _seconds_per_step(model: GPT, ids_BT: Tensor, setup: Setup) -> float:
    torch.set_num_threads(setup.threads)
    fastest = float("inf")
    for _ in range(TIMED_STEPS):
        start = time.perf_counter()
        batch_loss(model, ids_BT, setup.precision).backward()  # type: ignore[no-untyped-call]
        fastest = min(fastest, time.perf_counter() - start)
        model.zero_grad()
    return fastest
