"""Memory while training: how much is in use, and what to change when there is too little."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from wholegpt.errors import WholeGPTError


def peak_bytes(device: torch.device) -> int | None:
    """The most memory that this process has used so far: on a GPU what PyTorch allocated there, else of the machine.

    None where the system does not tell (Windows).
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short; PyTorch has a class for it on CUDA only."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in words or "can't allocate memory" in words)


@contextmanager
def enough(device: torch.device, micro_batch_size: int, flags: Mapping[str, bool]) -> Iterator[None]:
    """A block that needs much memory: where there is too little, the error says what to change.

    `flags` are those that would save memory, and whether each is given already.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        smaller = [f"--micro-batch-size {micro_batch_size // 2}"] if micro_batch_size > 1 else []
        ways = smaller + [flag for flag, given in flags.items() if not given]
        advice = f"run the same command with {' or '.join(ways)}" if ways else "take a smaller model or --n-ctx"
        raise WholeGPTError(
            f"out of memory on {device} with {micro_batch_size} windows at a time; {advice}: it goes on from the last "
            "state, and the batch of a step stays the same"
        ) from None
