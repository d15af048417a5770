"""Progress where there is no terminal: a line now and then, with the time left."""

import pytest

from wholegpt import progress
from wholegpt.progress import bar, duration


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_durations():
    assert [duration(seconds) for seconds in (0, 59.6, 3599, 3600)] == ["0:00", "1:00", "59:59", "1:00:00"]


def test_a_line_every_ten_seconds(clock, capsys):
    with bar("training", 1000, "steps") as shown:
        for _ in range(25):
            clock[0] += 1
            shown.advance(10, "loss 3")
    lines = capsys.readouterr().err.splitlines()
    # After 10 s 100 steps, 90 s left for the other 900; after 20 s 200 and 80 s.
    assert lines == [
        "training: 100/1,000 steps, 1:30 left  loss 3",
        "training: 200/1,000 steps, 1:20 left  loss 3",
    ]


def test_what_was_done_before_does_not_count_as_speed(clock):
    with bar("training", 100, "steps", done=50) as shown:
        assert shown.seconds_left() == 0
        clock[0] += 20
        shown.advance(10)
        assert shown.done == 60
        # Ten steps in 20 s, 40 to go.
        assert shown.seconds_left() == 80


def test_without_a_total(clock, capsys):
    with bar("documents", None, "documents") as shown:
        clock[0] += 11
        shown.advance(3)
        shown.note("a note")
    assert capsys.readouterr().err.splitlines() == ["documents: 3 documents", "a note"]
