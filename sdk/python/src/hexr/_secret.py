"""A secret with its metadata, which gives its value only to who asks for it."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import NoReturn

from .errors import InvalidRequestError

REDACTED = "[redacted]"


class Secret:
    """A version of a secret. It prints as ``[redacted]`` under repr, str, format and
    logging, and refuses json and pickle. ``reveal()`` and ``value`` give the text.
    """

    __slots__ = ("__value", "__weakref__", "created_at", "metadata", "path", "scope", "version")

    def __init__(
        self,
        path: str,
        value: str | bytes,
        *,
        version: int = 0,
        scope: str = "",
        metadata: Mapping[str, str] | None = None,
        created_at: datetime | None = None,
    ) -> None:
        self.path = path
        self.version = version
        self.scope = scope
        self.metadata = dict(metadata or {})
        self.created_at = created_at
        self.__value = value

    def reveal(self) -> str:
        """The value as text. InvalidRequestError where it is no UTF-8."""
        if isinstance(self.__value, str):
            return self.__value
        raise InvalidRequestError("the value is not UTF-8 text: use reveal_bytes() or get_bytes()", path=self.path)

    def reveal_bytes(self) -> bytes:
        """The value as bytes."""
        return self.__value.encode() if isinstance(self.__value, str) else self.__value

    @property
    def value(self) -> str:
        """The same as reveal()."""
        return self.reveal()

    def __repr__(self) -> str:
        return REDACTED

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.reveal_bytes(), other.reveal_bytes())

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled: send its path, and get it there")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret has no state to hand out")
