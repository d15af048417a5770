"""Shards on a Ray cluster: tasks of Ray Core that get paths and give counts; no table goes through its object store.

The output folder must be on storage that all machines share.
"""

import os
import time
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wholegpt import __version__
from wholegpt.errors import WholeGPTError, missing_extra
from wholegpt.runner.work import Outcome, Task, attempt

SECONDS_BETWEEN_LOOKS = 0.5


def outcomes(
    queue: deque[Task], workers: int, address: str, timeout_seconds: float | None
) -> Iterator[tuple[Task, Outcome]]:
    """Work on the tasks, and on those that are put into the queue meanwhile; results as they come."""
    ray = connect(address)
    if queue:
        check(ray, queue[0].output)
    # Attempts are counted by the driver, so that a shard that kills its worker is not tried for ever.
    remote = ray.remote(num_cpus=1, max_retries=0)(attempt)
    most = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    running: dict[Any, tuple[Task, float]] = {}
    while queue or running:
        while queue and len(running) < most:
            task = queue.popleft()
            running[remote.remote(task)] = (task, time.monotonic())
        done, _ = ray.wait(list(running), num_returns=1, timeout=SECONDS_BETWEEN_LOOKS)
        for reference in done:
            task, _ = running.pop(reference)
            yield task, _outcome(ray, reference)
        for reference, (task, start) in list(running.items()):
            if timeout_seconds and time.monotonic() - start > timeout_seconds:
                ray.cancel(reference, force=True)
                del running[reference]
                fault = f"it took more than {timeout_seconds:g} s"
                yield task, Outcome(fault=fault, traceback=fault)


def connect(address: str) -> Any:
    """Ray, connected: to the cluster at `address` ("auto": the one of this machine), or to one that it starts here."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Otherwise Ray starts workers of another environment, where `uv run` is anywhere above us.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # A worker with no GPU to itself leaves the variables of GPUs alone.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise missing_extra("ray", "ray") from None
    if not ray.is_initialized():
        try:
            ray.init(address=address or "local", include_dashboard=False if not address else None, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise WholeGPTError(f"no Ray cluster answers at {address or 'this machine'} ({error})") from None
    return ray


def close() -> None:
    """Leave the cluster; what was started here ends."""
    import ray

    ray.shutdown()


def check(ray: Any, output: Path) -> None:
    """WholeGPTError where a machine of the cluster has another version of this package, or another folder."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    probe, content = output / f".probe-{uuid.uuid4().hex}", uuid.uuid4().hex
    probe.write_text(content, encoding="utf-8")
    look = ray.remote(num_cpus=0, max_retries=0)(probed)
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        asked = {
            node["NodeManagerAddress"]: look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(str(probe))
            for node in nodes
        }
        for machine, reference in asked.items():
            version, seen = ray.get(reference)
            if version != __version__:
                raise WholeGPTError(f"{machine} has wholegpt {version}, here is {__version__}; install the same there")
            if seen != content:
                raise WholeGPTError(f"{machine} does not see {output}; give an --output on storage that all share")
    finally:
        probe.unlink(missing_ok=True)


def probed(path: str) -> tuple[str, str]:
    """The version of this package on a machine, and what it reads at the path."""
    file = Path(path)
    return __version__, file.read_text(encoding="utf-8") if file.is_file() else ""


def _outcome(ray: Any, reference: Any) -> Outcome:
    try:
        result: Outcome = ray.get(reference)
        return result
    except ray.exceptions.RayError as error:
        return Outcome(fault=f"its process ended ({type(error).__name__})", traceback=str(error))
