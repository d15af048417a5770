"""Which addresses a crawl may connect to, and the names it has looked up.

The rule is applied where the socket for an address is made, so it holds for whatever led there: a link, a redirect, a
number in place of a name, or a name that resolves to another address the second time.
"""

import asyncio
import socket
import time
from collections import OrderedDict
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

NAMES_KEPT = 20_000
SECONDS_KEPT = 600.0
# IPv4 in the low 32 bits: translated (RFC 6052), and the form `::1.2.3.4` that RFC 4291 withdrew.
_EMBEDDING = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))


class PrivateAddress(OSError):
    """The address belongs to this machine, its network, or no single machine."""

    def __init__(self) -> None:
        super().__init__("no public address")


def is_public(address: str) -> bool:
    """Whether a machine of the internet may stand there: not private, loopback, link-local, shared, reserved or
    multicast, also where IPv6 carries such an IPv4 address.

    >>> [is_public(a) for a in ("93.184.216.34", "10.0.0.1", "::ffff:127.0.0.1", "fe80::1%eth0", "2606:4700::1111")]
    [True, False, False, False, True]
    """
    found = ip_address(address.partition("%")[0])
    return all(one.is_global and not one.is_multicast for one in (found, *_carried(found)))


def _carried(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that packets to an IPv6 address may end at: mapped, 6to4, Teredo, translated."""
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    found += [IPv4Address(int(address) & 0xFFFFFFFF) for network in _EMBEDDING if address in network]
    return [one for one in found if one is not None]


def open_socket(information: tuple[Any, ...]) -> socket.socket:
    """A socket for an entry of getaddrinfo; PrivateAddress where none may be opened."""
    family, kind, protocol, _, address = information
    if not is_public(address[0]):
        raise PrivateAddress
    return socket.socket(family, kind, protocol)


class Names(AbstractResolver):
    """Looks names up in threads, and keeps answers, also that there is none, for `SECONDS_KEPT`."""

    def __init__(self) -> None:
        self._system = ThreadedResolver()
        self._kept: OrderedDict[tuple[str, int, int], tuple[float, list[ResolveResult] | OSError]] = OrderedDict()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host; OSError where it has none."""
        if host.rpartition(".")[2] == "localhost":
            host = "localhost"  # all names below it are this machine (RFC 6761), and no name server is asked
        key = (host, port, family)
        until, found = self._kept.get(key, (0.0, OSError()))
        if until < time.monotonic():
            found = await self._look_up(host, port, family)
            if isinstance(found, list) or not may_pass(found):
                self._kept[key] = time.monotonic() + SECONDS_KEPT, found
            if len(self._kept) > NAMES_KEPT:
                self._kept.popitem(last=False)
        if isinstance(found, OSError):
            raise found.with_traceback(None)
        return found

    async def _look_up(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult] | OSError:
        try:
            return await self._system.resolve(host, port, family)
        except OSError as error:
            return error
        except (UnicodeError, asyncio.InvalidStateError) as error:  # labels that the system's resolver refuses
            return OSError(socket.EAI_NONAME, str(error))

    async def close(self) -> None:
        """Forget all names."""
        self._kept.clear()


def may_pass(error: OSError) -> bool:
    """Whether a name's failure is the name server's, which may answer later."""
    return error.errno == socket.EAI_AGAIN
