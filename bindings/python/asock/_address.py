"""Addresses: pairs of a host and a port on Python's side, a sockaddr on the library's."""

from __future__ import annotations

from ctypes import byref, create_string_buffer
from functools import lru_cache
from typing import NamedTuple, Optional

from . import _abi, _check
from ._errors import Status, error_of


class Address(NamedTuple):
    """The address of a socket, as `begin_connect(*address)` takes it; str() writes it as "127.0.0.1:80"."""

    host: str
    port: int

    def __str__(self) -> str:
        if self.host.startswith("unix:"):
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(raw: _abi.asock_address) -> Optional[Address]:
    """What the library has written; None if that is no address."""
    text = create_string_buffer(_abi.ASOCK_ADDRESS_TEXT_MAX)
    status = _abi.library.asock_address_format(byref(raw), text, len(text))
    if status != Status.OK:
        raise error_of(status, "address")
    written = text.value.decode("utf-8", "replace")
    if not written:
        return None
    if written.startswith("unix:"):
        return Address(written, 0)
    host, _, _ = written.rpartition(":")
    return Address(host.strip("[]"), int(_abi.library.asock_address_port(byref(raw))))


def write_address(address: object, what: str) -> _abi.asock_address:
    """The library's form of an `Address`, or of what `getsockname` of the standard library gives for a host."""
    if not isinstance(address, tuple) or len(address) not in (2, 4):
        raise TypeError(f"{what} takes an address as a pair (host, port), such as asock.Address, not {address!r}")
    host = address[0]
    if len(address) == 4 and address[3] and isinstance(host, str) and "%" not in host:
        host = f"{host}%{_check.number(address[3], 'scope', 0, 2**32 - 1)}"
    name, port = _check.host_and_port(host, address[1])
    # A scope may be the name of an interface, which may come to mean another one.
    return _parse(name, port) if b"%" in name else _remembered(name, port)


def _parse(name: bytes, port: int) -> _abi.asock_address:
    raw = _abi.asock_address()
    status = _abi.library.asock_address_parse(name, port, byref(raw))
    if status != Status.OK:
        advice = "give a literal IPv4 or IPv6 address, or 'unix:PATH'; names are looked up by begin_connect only"
        raise error_of(status, f"address {name.decode('utf-8', 'replace')!r}", advice=advice)
    return raw


# The library copies what it is given, so an address that was parsed may be given to it again.
_remembered = lru_cache(maxsize=256)(_parse)
