"""One function over many shards: on this machine, on a Ray cluster, or as one rank of several; resumable by shard."""

from wholegpt.runner.backend import Backend
from wholegpt.runner.ranks import writing
from wholegpt.runner.running import Report, run
from wholegpt.runner.work import Shard, place

__all__ = ["Backend", "Report", "Shard", "place", "run", "writing"]
