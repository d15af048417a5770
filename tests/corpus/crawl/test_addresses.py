"""Addresses that a crawl may connect to, and names looked up once."""

import asyncio
import socket

import pytest
from aiohttp.resolver import ThreadedResolver

from wholegpt.corpus.crawl import addresses
from wholegpt.corpus.crawl.addresses import Names, PrivateAddress, is_public, open_socket

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
PRIVATE = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.0.9", "169.254.169.254", "172.16.0.1", "192.0.2.1",
    "192.168.1.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::127.0.0.1",
    "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1", "2001:0:7f00:1::", "2001:0:808:808::80ff:fffe",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_this_machine_its_network_and_of_many_are_not(address):
    assert not is_public(address)


def test_no_socket_is_made_for_a_private_address():
    with pytest.raises(PrivateAddress):
        open_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)))
    with open_socket((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606:4700::1111", 80, 0, 0))) as made:
        assert made.family == socket.AF_INET6


def looked_up(monkeypatch, answers: list) -> list[str]:
    """Answers in place of the system's; the names that it was asked for."""
    asked = []

    async def resolve(_resolver, host, *_):
        asked.append(host)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ThreadedResolver, "resolve", resolve)
    return asked


@pytest.mark.parametrize(("seconds", "times"), [(600.0, 1), (-1.0, 2)])
def test_a_name_is_looked_up_once_and_again_when_it_is_old(monkeypatch, seconds, times):
    monkeypatch.setattr(addresses, "SECONDS_KEPT", seconds)
    asked = looked_up(monkeypatch, [["first"], ["second"]])

    async def run():
        names = Names()
        return [await names.resolve("a.example", 80), await names.resolve("a.example", 80)]

    assert asyncio.run(run()) == [["first"], ["first", "second"][times - 1 :][:1]]
    assert asked == ["a.example"] * times


def test_that_there_is_no_such_name_is_kept_but_not_that_the_name_server_failed(monkeypatch):
    again, none = OSError(socket.EAI_AGAIN, "again"), OSError(socket.EAI_NONAME, "none")
    asked = looked_up(monkeypatch, [again, none])

    async def run():
        names = Names()
        for error in (again, none, none):
            with pytest.raises(OSError, match=str(error.strerror)):
                await names.resolve("b.example")

    asyncio.run(run())
    assert len(asked) == 2


def test_names_kept_are_bounded(monkeypatch):
    monkeypatch.setattr(addresses, "NAMES_KEPT", 2)
    asked = looked_up(monkeypatch, [["x"]] * 4)

    async def run():
        names = Names()
        for name in ("a", "b", "c", "c", "a"):
            await names.resolve(name)

    asyncio.run(run())
    assert asked == ["a", "b", "c", "a"]


def test_names_below_localhost_are_not_asked_for(monkeypatch):
    asked = looked_up(monkeypatch, [["here"]])

    async def run():
        return await Names().resolve("any.localhost")

    assert asyncio.run(run()) == ["here"]
    assert asked == ["localhost"]
