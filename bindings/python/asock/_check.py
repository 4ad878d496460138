"""Arguments as the library takes them; each refusal says what to give instead."""

from __future__ import annotations

import math
import operator
from typing import Optional, SupportsFloat

# The library's deadlines are 64 bits of milliseconds; a limit beyond the age of the universe is none.
_MOST_MS = 2**62


def number(value: object, what: str, least: int, most: int) -> int:
    """A whole number within limits. True is none: who passes one has mixed up the arguments."""
    if isinstance(value, bool):
        raise TypeError(f"{what} must be an int, not bool")
    try:
        checked = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what} must be an int, not {type(value).__name__}") from None
    if not least <= checked <= most:
        raise ValueError(f"{what} must be from {least} to {most}, not {checked}")
    return checked


def flags(value: object) -> int:
    """Bits as the library takes them; it refuses those that it does not know."""
    return number(value, "flags", 0, 2**32 - 1)


def seconds(value: Optional[SupportsFloat], what: str, positive: bool = False) -> Optional[float]:
    """A limit of time; None is none, and so is infinity."""
    if value is None:
        return None
    if isinstance(value, (str, bytes, bytearray, bool)):
        raise TypeError(f"{what} must be a number of seconds, or None for no limit, not {type(value).__name__}")
    try:
        checked = float(value)
    except TypeError:
        kind = type(value).__name__
        raise TypeError(f"{what} must be a number of seconds, or None for no limit, not {kind}") from None
    if math.isnan(checked) or checked < 0 or (positive and checked == 0):
        bound = "more than 0" if positive else "0 or more"
        raise ValueError(f"{what} must be {bound} seconds, or None for no limit, not {checked}")
    return None if math.isinf(checked) else checked


def milliseconds(limit: float) -> int:
    """Rounded up, so that nothing ends before its time."""
    return min(math.ceil(limit * 1000), _MOST_MS)


def host_and_port(host: object, port: object, least: int = 1) -> "tuple[bytes, int]":
    if not isinstance(host, str):
        raise TypeError(
            f"host must be a str: a name, an IPv4 or IPv6 address, or 'unix:PATH', not {type(host).__name__}"
        )
    if not host:
        raise ValueError("host is empty; give a name, an IPv4 or IPv6 address, or 'unix:PATH'")
    if "\0" in host:
        raise ValueError("host contains a zero character, which no name has; use 'unix:@NAME' for an abstract socket")
    if host.startswith("unix:"):
        path = host.encode("utf-8", "surrogateescape")
        if len(path) > 253:
            raise ValueError(f"host is {len(path)} bytes long, 253 are the most; give a shorter path")
        return path, number(port, "port", 0, 65535)
    try:
        name = host.encode("ascii" if host.isascii() else "idna")
    except UnicodeError as error:
        raise ValueError(f"host {host!r} is no name that can be looked up: {error}") from None
    if len(name) > 253:
        raise ValueError(f"host is {len(name)} bytes long, 253 are the most; give the name of a host")
    return name, number(port, "port", least, 65535)
