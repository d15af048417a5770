"""Ray: a cluster of two nodes on this machine gives the bytes that local processes give."""

from pathlib import Path

import pytest
import stages
from stages import PARTITIONS, StageOptions

from wholegpt.errors import WholeGPTError
from wholegpt.runner import Backend, Shard, cluster, local, run

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = [
    pytest.mark.ray,
    # Ray's own: files and sockets of its processes, which it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::FutureWarning:ray"),
]


@pytest.fixture(scope="module")
def address():
    """A cluster of two nodes of one processor each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(stages.__file__).parent), prepend=":")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        yield nodes.address
        cluster.close()
        nodes.shutdown()
        local.close(kill=True)


def test_a_cluster_gives_what_local_processes_give(tmp_path, address):
    shards = stages.words_of(tmp_path)
    stages.job(shards, tmp_path / "local", Backend(workers=2))
    expected = stages.contents(tmp_path / "local")
    assert sum(name.endswith("counts.txt") for name in expected) == PARTITIONS
    stages.job(shards, tmp_path / "ray", Backend("ray", address=address))
    assert stages.contents(tmp_path / "ray") == expected


def test_faults_on_a_cluster(tmp_path, address):
    kinds = ["fine", "raise", "kill", "kill-once", "hang", "fine"]
    shards = [Shard(f"{number}-{kind}", (), (kind,)) for number, kind in enumerate(kinds)]
    (tmp_path / "seen").mkdir()
    options = StageOptions(log=tmp_path / "seen")
    report = run(
        stages.misbehave, shards, tmp_path / "out", options, Backend("ray", address=address), timeout_seconds=4
    )
    assert report.failed == ["1-raise", "2-kill", "4-hang"]
    assert report.counts["kinds/in"] == 3


def test_a_folder_that_others_do_not_see(tmp_path, address, monkeypatch):
    connected = cluster.connect(address)
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: 0)
    with pytest.raises(WholeGPTError, match=r"does not see .*; give an --output on storage that all share"):
        cluster.check(connected, tmp_path)


def test_no_cluster_answers(monkeypatch):
    def refuse(**_):
        raise ConnectionError("nobody")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(WholeGPTError, match=r"no Ray cluster answers at 127.0.0.1:1 \(nobody\)"):
        cluster.connect("127.0.0.1:1")
