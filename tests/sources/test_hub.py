"""The Hub as a host: a local server under HF_ENDPOINT, and a cache laid out like the Hub's under HF_HOME."""

import hashlib
import json

import pytest

pytest.importorskip("huggingface_hub")

COMMIT = "c" * 40
CONFIG = b'{"n_layer": 1}'
WEIGHTS = bytes(range(250)) * 4000
WEIGHTS_SHA256 = hashlib.sha256(WEIGHTS).hexdigest()
FILES = {"config.json": CONFIG, "model.safetensors": WEIGHTS}


@pytest.fixture
def repository(site, command):
    """`thing`: of owner/thing on the Hub, and of the host openai, where it is not."""
    for version in ("main", COMMIT):
        for name, content in FILES.items():
            path = f"owner/thing/resolve/{version}/{name}"
            site.files[path] = content
            site.headers[path] = {"X-Repo-Commit": COMMIT}
            if content == WEIGHTS:
                site.headers[path] |= {"X-Linked-ETag": f'"{WEIGHTS_SHA256}"', "X-Linked-Size": str(len(WEIGHTS))}
    names = [(name, None) for name in FILES]
    command.table = {"thing": [("hub", "owner/thing", names), ("openai", site.url + "openai/", names)]}
    return site


def in_the_hubs_cache(tmp_path, weights=WEIGHTS):
    """The layout of huggingface_hub: blobs by their hash, a snapshot of links to them, the commit of main."""
    folder = tmp_path / "hub" / "hub" / "models--owner--thing"
    snapshot = folder / "snapshots" / COMMIT
    for made in (folder / "blobs", folder / "refs", snapshot):
        made.mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    for name, content, blob in (("config.json", CONFIG, "e" * 40), ("model.safetensors", weights, WEIGHTS_SHA256)):
        (folder / "blobs" / blob).write_bytes(content)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    return snapshot


def test_all_files_come_from_one_version(repository, command, home):
    assert command.run("fetch", "thing")[:2] == (0, f"{home / 'thing'}\n")
    assert {name: (home / "thing" / name).read_bytes() for name in FILES} == FILES
    assert [(method, path.removeprefix("owner/thing/resolve/")) for method, path, _ in repository.requests] == [
        ("HEAD", "main/config.json"),
        ("GET", f"{COMMIT}/config.json"),
        ("HEAD", f"{COMMIT}/model.safetensors"),
        ("GET", f"{COMMIT}/model.safetensors"),
    ]
    record = json.loads((home / "thing" / "sha256.json").read_text())
    assert record == {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


def test_a_killed_process_loses_nothing(repository, command, home):
    repository.faults = [("fine",), ("fine",), ("fine",), ("stall", 500_000)]
    process = command.start("fetch", "thing", "--host", "hub")
    partial = home / "thing" / "model.safetensors.partial"
    while not partial.is_file() or partial.stat().st_size < 500_000 - (1 << 16):
        assert process.poll() is None
    process.kill()
    process.communicate(timeout=60)
    there = partial.stat().st_size
    assert command.run("fetch", "thing", "--host", "hub")[0] == 0
    assert (home / "thing" / "model.safetensors").read_bytes() == WEIGHTS
    assert repository.requests[-1][2] == f"bytes={there}-"


def test_the_token_goes_to_the_hub(repository, command):
    command.environment["HF_TOKEN"] = "hf_ours"
    assert command.run("fetch", "thing")[0] == 0
    sent = [{name.lower(): value for name, value in asked.items()} for asked in repository.asked]
    assert {asked["authorization"] for asked in sent} == {"Bearer hf_ours"}


def test_bytes_that_the_hub_did_not_promise(repository, command, home):
    for path in repository.files:
        if path.endswith(".safetensors"):
            repository.files[path] = WEIGHTS[::-1]
    code, out, err = command.run("fetch", "thing")
    assert (code, out) == (1, "")
    assert "model.safetensors is not the file it should be" in err
    assert not list((home / "thing").glob("model*"))


def test_what_the_hub_lacks_comes_from_the_next_host(repository, command, home):
    repository.files = {f"openai/{name}": content for name, content in FILES.items()}
    code, _, err = command.run("fetch", "thing", "--host", "hub")
    assert code == 1
    assert f"{repository.url}owner/thing/resolve/main/config.json: the host answered 404 Not Found" in err
    assert command.run("fetch", "thing")[0] == 0
    assert (home / "thing" / "model.safetensors").read_bytes() == WEIGHTS


def test_a_hub_that_recovers(repository, command, home):
    repository.faults = [("status", 503)]
    code, _, err = command.run("fetch", "thing")
    assert (code, (home / "thing" / "config.json").read_bytes()) == (0, CONFIG)
    assert "the host answered 503 Service Unavailable; again in 1 s" in err


def test_what_the_hubs_cache_holds_is_not_downloaded(repository, command, home, tmp_path):
    snapshot = in_the_hubs_cache(tmp_path)
    assert command.run("fetch", "thing")[:2] == (0, f"{snapshot}\n")
    assert command.run("verify", "thing")[:2] == (0, "thing: 2 files are what they should be\n")
    assert not repository.requests
    assert sorted(path.name for path in (home / "thing").iterdir()) == ["lock", "sha256.json"]
    (snapshot / "config.json").resolve().write_bytes(b"{}")
    code, _, err = command.run("fetch", "thing")
    assert code == 1
    assert "config.json is not the file it should be" in err


def test_a_blob_in_the_hubs_cache_must_have_the_hash_of_its_name(repository, command, tmp_path):
    in_the_hubs_cache(tmp_path, weights=WEIGHTS[::-1])
    code, _, err = command.run("fetch", "thing")
    assert code == 1
    assert "model.safetensors is not the file it should be" in err
    assert not repository.requests


def test_offline(repository, command):
    command.environment["HF_HUB_OFFLINE"] = "1"
    code, _, err = command.run("fetch", "thing")
    assert code == 1
    assert f"place config.json and model.safetensors (of {repository.url}owner/thing) or config.json and" in err
    assert not repository.requests
