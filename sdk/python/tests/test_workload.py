"""What the Workload API may say."""

from __future__ import annotations

import random

import pytest

from hexr._workload import Failure, _fields, _parse


def field(number: int, content: bytes) -> bytes:
    size = len(content)
    out = bytes([number << 3 | 2])
    while size > 0x7F:
        out += bytes([size & 0x7F | 0x80])
        size >>= 7
    return out + bytes([size]) + content


def test_fields() -> None:
    long = b"x" * 70000
    assert list(_fields(field(1, b"a") + field(3, b"") + field(2, long))) == [(1, b"a"), (3, b""), (2, long)]


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a",
        b"\x0a\x05abc",
        b"\x08\x01",
        b"\x0a" + b"\xff" * 11,
        field(1, b""),
        field(1, field(2, b"no certificate") + field(3, b"x") + field(4, b"y")),
    ],
)
def test_nonsense_is_unusable(message: bytes) -> None:
    assert _parse(message) is Failure.UNUSABLE


def test_no_svids() -> None:
    assert _parse(b"") is Failure.DENIED
    assert _parse(field(3, b"federated")) is Failure.DENIED


def test_random_bytes_never_raise() -> None:
    rng = random.Random(1)
    for _ in range(5000):
        message = field(1, rng.randbytes(rng.randrange(40))) if rng.random() < 0.5 else rng.randbytes(rng.randrange(40))
        assert isinstance(_parse(message), Failure)
