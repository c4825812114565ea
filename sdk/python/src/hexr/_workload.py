"""One question to the SPIFFE Workload API: which X.509-SVIDs does this process have?

It is gRPC, spoken here over httpcore's HTTP/2: grpcio's core, on which the spiffe
package's client stands, hangs in one of some hundred forked children (docs/python.md). What
comes back is parsed and checked by the spiffe package.
"""

from __future__ import annotations

import enum
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpcore

if TYPE_CHECKING:
    from spiffe import X509Bundle, X509Svid

_METHOD = "http://workload/SpiffeWorkloadAPI/FetchX509SVID"
_HEADERS = [
    ("content-type", "application/grpc"),
    ("te", "trailers"),
    ("workload.spiffe.io", "true"),
]
_EMPTY = b"\0\0\0\0\0"  # a message without fields: not compressed, of no bytes
_PERMISSION_DENIED = b"7"
_MAX = 4 << 20


class Failure(enum.Enum):
    """Why there is no answer."""

    MISSING = enum.auto()  # nobody listens there
    DENIED = enum.auto()  # it knows no SVID for this process
    SILENT = enum.auto()
    UNUSABLE = enum.auto()


@dataclass(frozen=True)
class Raw:
    """An SVID with the authorities of its trust domain."""

    svid: X509Svid = field(repr=False)
    bundle: X509Bundle = field(repr=False)


def fetch(address: str, timeout: float) -> list[Raw] | Failure:
    """The SVIDs. Failures are returned: the frames of what is raised hold keys."""
    path = "/" + address.removeprefix("unix:").lstrip("/")
    try:
        with socket.socket(socket.AF_UNIX) as probe:  # httpcore loses the socket when nobody listens
            probe.settimeout(timeout)
            probe.connect(path)
    except OSError:
        return Failure.MISSING
    try:
        message = _ask(path, timeout)
        return _parse(message) if isinstance(message, bytes) else message
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        return Failure.SILENT


def _ask(path: str, timeout: float) -> bytes | Failure:
    end = time.monotonic() + timeout
    limits = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
    with (
        httpcore.ConnectionPool(http1=False, http2=True, uds=path) as pool,
        pool.stream("POST", _METHOD, headers=_HEADERS, content=_EMPTY, extensions={"timeout": limits}) as response,
    ):
        if dict(response.headers).get(b"grpc-status") == _PERMISSION_DENIED:
            return Failure.DENIED
        answer = bytearray()
        for chunk in response.iter_stream():
            answer += chunk
            size = int.from_bytes(answer[1:5], "big")
            if len(answer) >= 5 and (answer[0] or size > _MAX):
                return Failure.UNUSABLE
            if len(answer) >= 5 + size >= 6:
                return bytes(answer[5 : 5 + size])
            if time.monotonic() > end:
                break
    return Failure.SILENT


def _parse(message: bytes) -> list[Raw] | Failure:
    from spiffe import X509Bundle, X509Svid
    from spiffe.errors import PySpiffeError

    raws: list[Raw] = []
    try:
        for number, entry in _fields(message):
            if number != 1:  # svids; the bundles of other trust domains are not ours to trust
                continue
            parts = dict(_fields(entry))
            svid = X509Svid.parse_raw(parts[2], parts[3])
            raws.append(Raw(svid, X509Bundle.parse_raw(svid.spiffe_id.trust_domain, parts[4])))
    except (PySpiffeError, LookupError, ValueError):
        return Failure.UNUSABLE
    return raws or Failure.DENIED


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a protobuf message that has none but strings, bytes and messages."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        size, at = _varint(message, at)
        if key & 7 != 2 or at + size > len(message):
            raise ValueError
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError
