"""Starts ranks as torchrun does, but from one process that has imported everything: imports take seconds each.

Reads jobs as JSON lines, {"arguments": [...], "ranks": 2, "log": PATH, "environment": {...}}, starts the command line
on so many ranks, answers with their process ids, waits, and answers with their exit codes.
"""

import json
import os
import socket
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint
import torch.distributed.fsdp

from wholegpt.cli import run


def start(job: dict[str, Any], rank: int, port: int) -> int:
    """A child that is one rank; returns its process id."""
    child = os.fork()
    if child:
        return child
    ranks = job["ranks"]
    if ranks:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
    os.environ |= job.get("environment", {})
    log = os.open(f"{job['log']}.{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", DeprecationWarning)  # torch's compiler uses what torch calls old
    code = 70
    try:
        code = run(["--debug", *job["arguments"]])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        Path(job["log"]).parent.mkdir(parents=True, exist_ok=True)
        port = free_port()
        children = [start(job, rank, port) for rank in range(max(1, job["ranks"]))]
        print(json.dumps(children), flush=True)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)


if __name__ == "__main__":
    main()
