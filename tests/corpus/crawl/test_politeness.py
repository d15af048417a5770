"""Turns of a host, and how long it is left alone."""

import asyncio
import time
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from wholegpt.corpus.crawl import politeness
from wholegpt.corpus.crawl.politeness import Host, Hosts, back_off_seconds
from wholegpt.corpus.crawl.requests import Refusal

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("attempt", "retry_after", "seconds"),
    [
        (0, "", 2.0),
        (2, "", 8.0),
        (0, "120", 120.0),
        (2, "1", 8.0),
        (0, "Tue, 24 Nov 2026 12:01:40 GMT", 100.0),
        (0, "Tue, 24 Nov 2026 11:00:00 GMT", 2.0),
        (0, "Tuesday, 24-Nov-26 12:01:40 GMT", 100.0),
        (0, "soon", 2.0),
        (0, "-5", 2.0),
        (0, "9" * 5000, 1e8),
        (0, "²", 2.0),
        (0, "Tue, 24 Nov 99999 12:01:40 GMT", 2.0),
    ],
)
def test_waiting_is_what_the_host_says_or_twice_as_long_each_time(attempt, retry_after, seconds):
    assert back_off_seconds(attempt, retry_after, NOW) == seconds


def test_turns_are_apart_and_one_at_a_time():
    host, starts, inside = Host(0.05), [], []

    async def ask():
        async with host.turn():
            starts.append(time.monotonic())
            inside.append(1)
            assert len(inside) == 1
            await asyncio.sleep(0.01)
            inside.pop()

    async def run():
        await asyncio.gather(*(ask() for _ in range(4)))

    asyncio.run(run())
    assert all(after - before >= 0.049 for before, after in pairwise(starts))


def test_a_passing_failure_is_tried_so_often_and_the_host_rests_each_time(monkeypatch):
    monkeypatch.setattr(politeness, "FIRST_RETRY_SECONDS", 100.0)
    host, failure = Host(0.0), Refusal("status-503", passing=True)
    assert [host.may_be_asked_again(failure, attempt) for attempt in range(3)] == [True, True, False]
    assert 390 < host.free_at - time.monotonic() <= 400
    assert not host.may_be_asked_again(Refusal("type"), 0)


def test_a_host_that_asks_for_a_day_is_given_up():
    host = Host(0.0)
    assert not host.may_be_asked_again(Refusal("status-429", passing=True, retry_after="86400"), 0)
    assert host.given_up == "status-429"


def test_a_host_is_given_up_after_failures_in_a_row():
    host = Host(0.0)
    for reason in ("dns", "connection", "type", "tls", "time-out", "dns", "dns", "status-404"):
        host.may_be_asked_again(Refusal(reason), 0)
    assert not host.given_up
    for _ in range(5):
        host.may_be_asked_again(Refusal("dns"), 0)
    assert host.given_up == "dns"


def test_hosts_that_wait_are_not_forgotten(monkeypatch):
    monkeypatch.setattr(politeness, "HOSTS_KEPT", 2)
    hosts = Hosts(0.0)
    waiting = hosts["waiting"]
    waiting.rest(100)
    idle = hosts["idle"]
    assert hosts["third"] is hosts["third"]
    assert hosts["waiting"] is waiting
    assert hosts["fourth"] and hosts["idle"] is not idle
