"""One function over many shards: on this machine, on a Ray cluster, or as one rank of several; resumable by shard."""

from wholegpt.runner.work import Backend, Report, Shard, run

__all__ = ["Backend", "Report", "Shard", "run"]
