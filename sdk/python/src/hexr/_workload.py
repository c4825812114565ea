"""One question to the SPIFFE Workload API: which X.509-SVIDs does this process have?

It is gRPC, spoken here over httpcore's HTTP/2. The spiffe package is not used: it stands on
grpcio, which hangs in one of some hundred forked children, and on a protobuf that AutoGen
can't be installed beside (docs/decisions/0004-python-workload-api.md).
"""

from __future__ import annotations

import base64
import enum
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpcore

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

    spiffe_id: str
    expires: float  # Unix time
    chain: bytes = field(repr=False)  # PEM
    key: bytes = field(repr=False)  # PEM
    authorities: bytes = field(repr=False)  # DER, one behind the other, sorted


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
    raws: list[Raw] = []
    try:
        for number, entry in _fields(message):
            if number == 1:  # the others are of other trust domains, which are not ours to trust
                raws.append(_raw(dict(_fields(entry))))
    except (LookupError, ValueError):
        return Failure.UNUSABLE
    return raws or Failure.DENIED


def _raw(parts: dict[int, bytes]) -> Raw:
    """ValueError where it is no X.509-SVID: its leaf has that ID, alone, and signs nothing."""
    from cryptography import x509

    spiffe_id, chain = parts[1].decode(), _certificates(parts[2])
    leaf = x509.load_der_x509_certificate(chain[0])
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        raise ValueError from None
    if names.get_values_for_type(x509.UniformResourceIdentifier) != [spiffe_id] or constraints.ca:
        raise ValueError
    if not spiffe_id.startswith("spiffe://"):
        raise ValueError
    return Raw(
        spiffe_id,
        leaf.not_valid_after_utc.timestamp(),
        b"".join(_pem("CERTIFICATE", der) for der in chain),
        _pem("PRIVATE KEY", parts[3]),
        b"".join(sorted(_certificates(parts[4]))),
    )


def _certificates(joined: bytes) -> list[bytes]:
    """DER certificates that stand one behind the other."""
    found: list[bytes] = []
    while joined:
        count = joined[1] & 0x7F if joined[1] & 0x80 else 0  # bytes of a long length
        size = 2 + count + (int.from_bytes(joined[2 : 2 + count], "big") if count else joined[1])
        if joined[0] != 0x30 or size > len(joined):
            raise ValueError
        found.append(joined[:size])
        joined = joined[size:]
    if not found:
        raise ValueError
    return found


def _pem(kind: str, der: bytes) -> bytes:
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (kind.encode(), base64.encodebytes(der), kind.encode())


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
