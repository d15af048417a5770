"""Where the work is done: the options that all verbs share which run over shards."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from wholegpt.errors import UsageError


@dataclass(frozen=True)
class Backend:
    """Where the work is done; the result is the same."""

    name: Annotated[Literal["local", "ray", "rank"], tyro.conf.arg(name="backend")] = "local"
    """local: processes here; ray: a Ray cluster; rank: one of several commands that share the output folder."""
    workers: int = 0
    """Shards in work at a time; 0: one a core (of the cluster with ray)."""
    rank: int = 0
    """Which of the commands of --backend rank this is, from 0 (a Slurm array's index)."""
    world_size: int = 1
    """How many commands, alike but for --rank, --backend rank has."""
    address: str = ""
    """Ray cluster, such as auto; by default one is started on this machine."""
    shard_timeout: float = 0.0
    """Stop an attempt at a shard after so long [seconds]; 0: the stage's own limit."""
    rank_timeout: float = 3600.0
    """Wait so long for a rank without a sign of life, then name it and end [seconds]."""
    json: bool = False
    """Progress as JSON, one object a line, on standard output."""

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise UsageError(f"--workers is {self.workers}, expected a number of shards, or 0 for one a core")
        if not 0 <= self.rank < self.world_size:
            raise UsageError(
                f"--rank is {self.rank}, expected 0 to {self.world_size - 1} with --world-size {self.world_size}"
            )
        if self.world_size > 1 and self.name != "rank":
            raise UsageError(f"--world-size is {self.world_size}, which goes with --backend rank only")
        if self.address and self.name != "ray":
            raise UsageError(f"--address is {self.address}, which goes with --backend ray only")
        for flag, seconds in (("--shard-timeout", self.shard_timeout), ("--rank-timeout", self.rank_timeout)):
            if not seconds >= 0:
                raise UsageError(f"{flag} is {seconds}, expected a number of seconds")

    @property
    def leads(self) -> bool:
        """Whether this process writes what is the work of one: reports, and the artifact itself."""
        return self.rank == 0
