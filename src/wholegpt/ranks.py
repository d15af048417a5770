"""The processes that work together, one a device: who each is, what they tell each other, who of them is missing.

`torchrun` starts them and says in environment variables who each is; without it there is one, and nothing is sent.
Gradients travel by NCCL between GPUs; everything else (a request to stop, losses, decisions of the main rank) by gloo.

A rank that stops, or never comes, would let all others wait without a word. So each leaves a sign of life in the store
through which they met, once a second, with the step it has reached; who waits too long reads the others' signs, names
the one that is missing, and ends, whereupon torchrun starts all of them again from the last state.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeGuard, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from wholegpt.errors import Interrupted, UsageError, WholeGPTError
from wholegpt.progress import say

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

BEAT_SECONDS = 1.0
# So many beats without a new sign of life make a rank dead.
BEATS_TO_LIVE = 3

# Programs of one command may start so far apart.
START_SECONDS = 60.0

Value = TypeVar("Value")


class Team:
    """This process among those that work together; alone, everything here is immediate."""

    rank, count, local_rank, local_count = 0, 1, 0, 1
    launched = False
    """Whether torchrun started this process."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @property
    def main(self) -> bool:
        """Whether this is the rank that writes files and speaks."""
        return self.rank == 0

    def say(self, sentence: str) -> None:
        """Print a line, once for all ranks."""
        if self.main:
            say(sentence)

    def share(self, value: Value) -> Value:
        """The main rank's value, on every rank."""
        return value

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Each number summed over all ranks; bit for bit the same on each."""
        return list(numbers)

    def wait(self) -> None:
        """Until every rank is here."""

    def reached(self, step: int) -> None:
        """Leave word that this rank begins a step."""

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block in which ranks wait for each other: what fails because one is missing names it."""
        yield


class LaunchedTeam(Team):
    """One of the processes of torchrun."""

    launched = True

    def __init__(self, device: torch.device, timeout_seconds: float) -> None:
        super().__init__(device)
        self.local_rank, self.local_count = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
        # The watch below ends a rank that waits too long, with a name; this time-out is only its safety net.
        patience = timedelta(seconds=2 * timeout_seconds + START_SECONDS)
        store, self.rank, self.count = _meet(patience)
        dist.init_process_group(
            "nccl" if device.type == "cuda" and dist.is_nccl_available() else "gloo",
            store=PrefixStore("gradients", store),
            rank=self.rank,
            world_size=self.count,
            timeout=patience,
        )
        self.talk = dist.new_group(backend="gloo", timeout=patience)
        self._step, self._since, self._timeout_seconds = 0, time.monotonic(), timeout_seconds
        self._left = threading.Event()
        self._store = _meet(patience)[0]  # a connection of its own: the other may be held by a call that waits
        self._give_sign(0)
        self.wait()
        self._watcher = threading.Thread(target=self._watch, name="watch over the other ranks", daemon=True)
        self._watcher.start()

    def share(self, value: Value) -> Value:
        box = [value if self.main else None]
        with self.together():
            dist.broadcast_object_list(box, 0, group=self.talk)
        return box[0]  # type: ignore[return-value]

    def sum(self, numbers: Sequence[float]) -> list[float]:
        total = torch.tensor(numbers, dtype=torch.float64)
        with self.together():
            dist.all_reduce(total, group=self.talk)
        result: list[float] = total.tolist()
        return result

    def wait(self) -> None:
        with self.together():
            dist.barrier(group=self.talk)

    def reached(self, step: int) -> None:
        self._step, self._since = step, time.monotonic()

    @contextmanager
    def together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, dist.DistError) and "gloo" not in str(error):
                raise
            fault = str(error).splitlines()[0]
            who = self.missing() or f"the ranks lost each other ({fault})"
            raise WholeGPTError(f"{who}; torchrun --max-restarts goes on from the last state by itself") from None

    def missing(self) -> str:
        """Which ranks give no sign of life, or are behind this one, in words; "" if none."""
        try:
            before = self._signs()
            time.sleep(BEATS_TO_LIVE * BEAT_SECONDS)
            now = self._signs()
        except RuntimeError:
            return "the process that holds the ranks together (torchrun, or rank 0) is gone"
        dead = [rank for rank in range(self.count) if now[rank] == before[rank] and rank != self.rank]
        late = [rank for rank in range(self.count) if now[rank][1] < self._step and rank not in (*dead, self.rank)]
        words = [f"rank {rank} is dead: no sign of life since step {now[rank][1] + 1}" for rank in dead]
        words += [f"rank {rank} is late: still in step {now[rank][1] + 1}" for rank in late]
        return ", ".join(words)

    def leave(self, in_peace: bool) -> None:
        """Part from the others: in peace, which means all at the same place, or after an error."""
        self._left.set()
        self._watcher.join()  # a thread that is inside the store when Python ends aborts the process
        if in_peace:
            dist.destroy_process_group()

    def _watch(self) -> None:
        beats = 0
        while not self._left.wait(BEAT_SECONDS):
            beats += 1
            self._give_sign(beats)
            # Where nobody is missing, all compute: a long step, a compilation, the main rank at its samples.
            if time.monotonic() - self._since > self._timeout_seconds and (who := self.missing()):
                say(f"rank {self.rank} waited {self._timeout_seconds:.0f} s in step {self._step + 1}: {who}")
                os._exit(1)  # the main thread waits inside a library and cannot be reached

    def _give_sign(self, beats: int) -> None:
        self._store.set(f"sign of {self.rank}", f"{beats} {self._step}")

    def _signs(self) -> list[tuple[int, int]]:
        """Of each rank its beats and its step."""
        found = [self._store.get(f"sign of {rank}").split() for rank in range(self.count)]
        return [(int(beats), int(step)) for beats, step in found]


def _meet(patience: timedelta) -> tuple[Store, int, int]:
    """A connection to the store through which the ranks find each other, this rank, and how many there are."""
    store, rank, count = next(rendezvous("env://", timeout=patience))
    # torchrun may keep its store when it starts the ranks again, and in it the addresses of those that died.
    return PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store), rank, count


@contextmanager
def join(device: str, timeout_seconds: float) -> Iterator[Team]:
    """This process's place among the ranks, with its device."""
    launched = "WORLD_SIZE" in os.environ and "LOCAL_RANK" in os.environ
    chosen = _device(device, int(os.environ["LOCAL_RANK"]) if launched else None)
    if not launched:
        yield Team(chosen)
        return
    team = LaunchedTeam(chosen, timeout_seconds)
    try:
        yield team
    except BaseException as error:
        team.leave(in_peace=isinstance(error, Interrupted))  # all ranks stop after the same step
        raise
    team.leave(in_peace=True)


def is_shard(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether this rank holds a part of the tensor only; known without importing DTensor, which takes a second."""
    return hasattr(tensor, "full_tensor")


def _device(name: str, local_rank: int | None) -> torch.device:
    """`auto` is a GPU where there is one (CUDA, then Apple's); each rank of a machine takes its own."""
    if name == "auto":
        apple = torch.backends.mps.is_available()
        name = "cuda" if torch.cuda.is_available() else "mps" if apple and local_rank is None else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device is {name}, but this PyTorch ({torch.__version__}) sees no GPU; try --device cpu")
    if device.type != "cuda" or local_rank is None:
        return device
    if local_rank >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UsageError(f"there is no GPU for rank {local_rank} of this machine: torchrun --nproc-per-node {found}")
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)
