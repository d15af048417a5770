"""One file over HTTP, against a host that misbehaves: what is asked for next, and what is left on the disk."""

import hashlib
import json
import random
import shutil
import socket
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wholegpt.errors import WholeGPTError
from wholegpt.sources.download import Patience, Unreachable, download

CONTENT = random.Random(0).randbytes(1_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
# The last piece of an answer that breaks off is lost: up to 64 KiB.
PIECE = 1 << 16


@pytest.fixture
def target(tmp_path, site):
    site.files["file.bin"] = CONTENT
    return tmp_path / "file.bin"


def names(target):
    return sorted(path.name for path in target.parent.iterdir())


def whole(target):
    return target.read_bytes() == CONTENT and names(target) == ["file.bin"]


def get(site, target, patience, expected=DIGEST, name="file.bin"):
    return download(site.url + name, target, expected, patience)


@pytest.mark.parametrize("expected", [DIGEST, None])
def test_a_break_resumes_where_it_ended(site, target, hasty, expected, capsys):
    site.faults = [("break", 500_000), ("break", 300_000)]
    assert get(site, target, hasty, expected) == DIGEST
    assert whole(target)
    first, second, third = site.ranges_of("file.bin")
    assert first is None
    begin, after = (int(asked.removeprefix("bytes=").removesuffix("-")) for asked in (second, third))
    assert 500_000 - PIECE < begin <= 500_000
    assert begin + 300_000 - PIECE < after <= begin + 300_000
    assert [asked.get("If-Range") for asked in site.asked] == ([None] * 3 if expected else [None, '"1"', '"1"'])
    assert "the connection broke" in capsys.readouterr().err


@pytest.mark.parametrize("expected", [DIGEST, None])
def test_the_next_process_goes_on(site, target, hasty, expected):
    """What a killed process leaves is the same as what a given-up download leaves."""
    site.faults = [("break", 500_000), ("status", 503), ("status", 503), ("status", 503)]
    with pytest.raises(Unreachable, match=r"file\.bin: the host answered 503"):
        get(site, target, hasty, expected)
    assert names(target) == ["file.bin.partial", "file.bin.partial.json"]
    there = target.with_name("file.bin.partial").stat().st_size
    assert 500_000 - PIECE < there <= 500_000
    assert get(site, target, hasty, expected) == DIGEST
    assert whole(target)
    assert site.ranges_of("file.bin")[-1] == f"bytes={there}-"


def test_a_download_that_grows_is_not_given_up(site, target, hasty):
    site.faults = [("break", 150_000)] * 6
    assert get(site, target, hasty) == DIGEST
    assert len(site.requests) == 7 > hasty.attempts


def test_a_download_that_does_not_grow_is_given_up(site, target, hasty):
    site.ranges = False
    site.faults = [("break", 500_000)] * 9
    with pytest.raises(Unreachable, match="the connection broke"):
        get(site, target, hasty)
    assert len(site.requests) == hasty.attempts
    assert not target.exists()


@pytest.mark.parametrize("expected", [DIGEST, None])
def test_a_host_without_ranges_begins_anew(site, target, hasty, expected):
    site.ranges = False
    site.faults = [("break", 500_000)]
    assert get(site, target, hasty, expected) == DIGEST
    assert whole(target)
    assert len(site.requests) == 2


def test_a_host_without_marks_begins_anew_unless_the_hash_is_known(site, target, hasty):
    site.etag = None
    site.faults = [("break", 500_000)]
    assert get(site, target, hasty, None) == DIGEST
    assert site.ranges_of("file.bin") == [None, None]
    site.faults = [("break", 500_000)]
    target.unlink()
    assert get(site, target, hasty) == DIGEST
    assert site.ranges_of("file.bin")[-1] is not None


def test_a_file_that_changed_meanwhile_begins_anew(site, target, hasty):
    site.faults = [("break", 500_000), ("status", 503), ("status", 503), ("status", 503)]
    with pytest.raises(Unreachable):
        get(site, target, hasty, None)
    changed = CONTENT[::-1]
    site.files["file.bin"], site.etag = changed, '"2"'
    assert get(site, target, hasty, None) == hashlib.sha256(changed).hexdigest()
    assert target.read_bytes() == changed


def test_a_host_that_ignores_the_condition_is_caught_by_the_length(site, target, hasty):
    site.faults = [("break", 500_000), ("status", 503), ("status", 503), ("status", 503)]
    with pytest.raises(Unreachable):
        get(site, target, hasty, None)
    longer = bytes(1_100_000)
    site.files["file.bin"] = longer  # under the same mark
    assert get(site, target, hasty, None) == hashlib.sha256(longer).hexdigest()
    assert target.read_bytes() == longer


@pytest.mark.parametrize("size", [500_000, 1_000_000, 2_000_000])
def test_a_part_that_does_not_belong_to_the_file_is_thrown_away(site, target, hasty, size):
    target.with_name("file.bin.partial").write_bytes(bytes(size))
    note = {"identity": DIGEST, "validator": None, "total": 1_000_000}
    target.with_name("file.bin.partial.json").write_text(json.dumps(note))
    assert get(site, target, hasty) == DIGEST
    assert whole(target)


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"identity": "http://elsewhere/", "validator": "x", "total": 5}'])
def test_a_part_of_unknown_origin_is_thrown_away(site, target, hasty, note):
    target.with_name("file.bin.partial").write_bytes(bytes(500))
    target.with_name("file.bin.partial.json").write_text(note)
    assert get(site, target, hasty, None) == DIGEST
    assert whole(target)
    assert site.ranges_of("file.bin") == [None]


def test_a_part_that_only_lacks_its_name_needs_no_host(site, target, hasty):
    target.with_name("file.bin.partial").write_bytes(CONTENT)
    note = {"identity": DIGEST, "validator": None, "total": 1_000_000}
    target.with_name("file.bin.partial.json").write_text(json.dumps(note))
    assert get(site, target, hasty) == DIGEST
    assert whole(target)
    assert not site.requests


def test_wrong_bytes_leave_nothing(site, target, hasty):
    site.files["file.bin"] = b"other"
    with pytest.raises(WholeGPTError, match=r"file\.bin is not the file it should be.*nothing of it was kept") as error:
        get(site, target, hasty)
    assert not isinstance(error.value, Unreachable)
    assert not names(target)
    assert len(site.requests) == 1


def test_silence(site, target, hasty):
    site.faults = [("stall", 500_000)]
    assert get(site, target, hasty) == DIGEST
    assert site.ranges_of("file.bin")[1] is not None
    site.faults = [("stall", 0)] * 3
    with pytest.raises(Unreachable, match="the host fell silent"):
        get(site, target.with_name("again.bin"), hasty)


def test_redirects_keep_the_range(site, target, hasty):
    site.faults = [("redirect", "file.bin"), ("break", 500_000), ("redirect", "file.bin")]
    assert get(site, target, hasty, name="elsewhere") == DIGEST
    assert site.ranges_of("elsewhere")[1] == site.ranges_of("file.bin")[1] is not None


def test_redirects_without_end(site, target, hasty):
    site.faults = [("redirect", "elsewhere")] * 40
    with pytest.raises(Unreachable, match="from one address to the next without end"):
        get(site, target, hasty, name="elsewhere")


def test_a_missing_file_is_asked_for_once(site, target, hasty):
    with pytest.raises(Unreachable, match="/nothing: the host answered 404 Not Found"):
        get(site, target, hasty, name="nothing")
    assert len(site.requests) == 1
    assert not names(target)


def test_a_passing_fault_of_the_host(site, target, hasty):
    site.faults = [("status", 500), ("status", 429)]
    assert get(site, target, hasty) == DIGEST


def test_nobody_listens(target, hasty):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
        with pytest.raises(Unreachable, match=r"file\.bin: the host refused the connection") as error:
            download(url, target, DIGEST, hasty)
    assert "\n" not in str(error.value)


def test_a_host_without_a_name(target, monkeypatch):
    def unknown(*_arguments, **_options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unreachable, match="name was not found"):
        download("http://host.invalid/file.bin", target, DIGEST, Patience(attempts=1))


def test_a_file_of_unknown_length_is_taken_only_with_its_hash(site, target, hasty):
    site.lengths = False
    with pytest.raises(Unreachable, match="does not say how long the file is"):
        get(site, target, hasty, None)
    assert get(site, target, hasty) == DIGEST
    target.unlink()
    site.faults = [("break", 500_000)]
    with pytest.raises(WholeGPTError, match="not the file it should be"):
        get(site, target, hasty)
    assert not names(target)


def test_an_encoded_answer_is_refused(site, target, hasty):
    site.headers["file.bin"] = {"Content-Encoding": "gzip"}
    with pytest.raises(Unreachable, match="as gzip, which was not asked for"):
        get(site, target, hasty)


def test_a_disk_that_is_too_small(site, target, hasty, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=1000))
    with pytest.raises(WholeGPTError, match=r"takes 1 MB more and .* has 0 MB free"):
        get(site, target, hasty)
    assert not names(target)


def test_an_empty_file(site, target, hasty):
    site.files["file.bin"] = b""
    assert get(site, target, hasty, None) == hashlib.sha256(b"").hexdigest()
    assert target.read_bytes() == b""


@given(
    faults=st.lists(
        st.one_of(
            st.tuples(st.just("break"), st.integers(0, len(CONTENT))),
            st.tuples(st.just("status"), st.sampled_from([500, 503, 429])),
        ),
        max_size=5,
    ),
    expected=st.sampled_from([DIGEST, None]),
    ranges=st.booleans(),
    etag=st.sampled_from(['"1"', 'W/"1"', None]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_breaks_the_file_is_whole_or_absent(site, target, faults, expected, ranges, etag):
    site.faults, site.ranges, site.etag = list(faults), ranges, etag
    target.unlink(missing_ok=True)
    try:
        digest = get(site, target, Patience(1, 1, attempts=3, pause_seconds=0), expected)
    except Unreachable:
        assert not target.exists()
        assert len(site.requests) >= 3
    else:
        assert digest == DIGEST
        assert whole(target)
