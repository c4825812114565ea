"""What makes new values for a rotation: random passwords and keys.

from hexr.vault import generators, rotate

rotate("db/password", generators.password(32), verify=can_log_in)
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable

from .errors import InvalidRequestError

ALPHANUMERIC = string.ascii_letters + string.digits

_MIN_PASSWORD = 8
_MIN_KEY = 16
_MAX = 1 << 16


def password(length: int = 32, alphabet: str = ALPHANUMERIC) -> Callable[[], str]:
    """Passwords of so many characters, each drawn evenly from the alphabet."""
    if not _MIN_PASSWORD <= length <= _MAX:
        raise InvalidRequestError(f"a password has from {_MIN_PASSWORD} to {_MAX} characters")
    if len(alphabet) < 2 or len(set(alphabet)) != len(alphabet):
        raise InvalidRequestError("an alphabet has 2 characters or more, and none twice")
    return lambda: "".join(secrets.choice(alphabet) for _ in range(length))


def key(size: int = 32) -> Callable[[], str]:
    """Keys of so many random bytes, as URL-safe base64 without padding."""
    _check(size)
    return lambda: secrets.token_urlsafe(size)


def raw_key(size: int = 32) -> Callable[[], bytes]:
    """Keys of so many random bytes, as they are."""
    _check(size)
    return lambda: secrets.token_bytes(size)


def _check(size: int) -> None:
    if not _MIN_KEY <= size <= _MAX:
        raise InvalidRequestError(f"a key has from {_MIN_KEY} to {_MAX} bytes")


__all__ = ["ALPHANUMERIC", "key", "password", "raw_key"]
