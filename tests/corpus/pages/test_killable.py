"""A call that hangs, dies or eats the memory costs itself; nothing is left running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wholegpt.corpus.pages import killable
from wholegpt.corpus.pages.killable import Crashed, Hung, Killable
from wholegpt.errors import WholeGPTError

ANSWERS = """
import os, time
from wholegpt.corpus.pages import killable

def answer(message):
    if message == b"hang":
        while True: pass
    if message == b"sleep": time.sleep(1000)
    if message == b"die": os.abort()
    if message == b"eat": bytearray(2**40)
    if message == b"pid": return str(os.getpid()).encode()
    return message[::-1]

killable.serve(answer)
"""


@pytest.fixture
def command(tmp_path):
    (tmp_path / "answers.py").write_text(ANSWERS)
    return [sys.executable, str(tmp_path / "answers.py")]


@pytest.fixture
def child(command):
    found = Killable(command)
    yield found
    found.close()


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone_after(process: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_alive(process) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_alive(process)


def test_answers_in_another_process(child):
    assert child.call(b"abc", 10) == b"cba"
    assert int(child.call(b"pid", 10)) != os.getpid()
    large = os.urandom(8_000_000)
    assert child.call(large, 30) == large[::-1]
    assert child.call(b"", 10) == b""


@pytest.mark.parametrize("message", [b"hang", b"sleep"])
def test_a_call_that_hangs_is_killed_in_time(child, message):
    before = int(child.call(b"pid", 10))
    start = time.monotonic()
    with pytest.raises(Hung):
        child.call(message, 0.3)
    assert 0.3 <= time.monotonic() - start < 0.8
    assert gone_after(before, 3)
    assert child.call(b"abc", 10) == b"cba"
    assert int(child.call(b"pid", 10)) != before


@pytest.mark.parametrize("message", [b"die", b"eat"])
def test_a_call_that_crashes_costs_itself(child, message):
    for _ in range(3):
        with pytest.raises(Crashed):
            child.call(message, 10)
        assert child.call(b"abc", 10) == b"cba"


def test_a_killed_starter_is_replaced(child):
    child.call(b"abc", 10)
    child._process.kill()
    child._process.wait()
    with pytest.raises(Crashed):
        child.call(b"die", 10)
    assert child.call(b"abc", 10) == b"cba"


def test_a_new_process_now_and_then(child, monkeypatch):
    monkeypatch.setattr(killable, "CALLS", 2)
    processes = [child.call(b"pid", 10) for _ in range(5)]
    assert processes[0] == processes[1] != processes[2] == processes[3] != processes[4]


def test_closing_ends_both(child):
    worker = int(child.call(b"pid", 10))
    starter = child._process.pid
    child.close()
    assert gone_after(worker, 3) and gone_after(starter, 3)


def test_nothing_is_left_when_the_asker_is_killed(command):
    script = f"""
from wholegpt.corpus.pages.killable import Killable
child = Killable({command})
print(child.call(b"pid", 10).decode(), child._process.pid, flush=True)
child.call(b"hang", 1000)
"""
    asker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    processes = [int(word) for word in asker.stdout.readline().split()]
    assert all(map(is_alive, processes))
    os.kill(asker.pid, signal.SIGKILL)
    asker.communicate()
    assert all(gone_after(process, 3) for process in processes)


def test_a_command_that_does_not_start_is_an_error():
    child = Killable([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(WholeGPTError, match="does not start"):
        child.call(b"", 1)
    child.close()
