"""What calls raise: one hierarchy under HexrError.

A message is made of what the server says, its reason and the request's id. It
never holds a value, a path or an identity; those that a program may want are
attributes.
"""

from __future__ import annotations

from collections.abc import Sequence


class HexrError(Exception):
    """The base of every error that this package raises about a vault.

    ``code`` and ``reason`` are the server's and stable (docs/api.md);
    ``request_id`` is the one of the audit. Empty where no server answered.
    """

    def __init__(self, message: str, *, code: str = "", reason: str = "", request_id: str = "", path: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.request_id = request_id
        self.path = path


class AccessDeniedError(HexrError):
    """This identity may not do that."""


class NotFoundError(HexrError):
    """Nothing that this identity can see has that name."""


class VersionConflictError(HexrError):
    """The present state is not the expected one: read it again, then decide."""


class RotatingError(VersionConflictError):
    """Another rotator is at work on this secret, or took over."""


class VerifyError(HexrError):
    """A rotation's new version did not pass its test, and was discarded. ``kind`` is the class
    of what the test raised; what that said might quote the value."""

    def __init__(
        self, message: str, *, code: str = "", reason: str = "", request_id: str = "", path: str = "", kind: str = ""
    ) -> None:
        super().__init__(message, code=code, reason=reason, request_id=request_id, path=path)
        self.kind = kind


class UnavailableError(HexrError):
    """No node answered in time. A put may have been applied or may be yet, unless ``reason`` says
    that it was not: ``NOT_REACHED``, ``NO_LEADER``, ``OVERLOADED``, ``STOPPING``, ``STALE``."""


class ThrottledError(UnavailableError):
    """A rate or a quota of this identity, or a disk, is used up. Nothing was applied."""


class InvalidRequestError(HexrError):
    """The request is not one that the vault takes: the message says what to change."""


class IdentityError(HexrError):
    """There is no usable SVID, it is not the declared agent's, or the server has none.

    ``declared`` and ``found`` are SPIFFE IDs or parts of them, where that is the
    difference.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        request_id: str = "",
        path: str = "",
        declared: str = "",
        found: Sequence[str] = (),
    ) -> None:
        super().__init__(message, code=code, reason=reason, request_id=request_id, path=path)
        self.declared = declared
        self.found = tuple(found)


class BatchError(HexrError):
    """Some secrets of a batch can't be had. ``missing``, ``denied`` and ``failed`` are
    their paths, and the message names them."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        request_id: str = "",
        path: str = "",
        missing: Sequence[str] = (),
        denied: Sequence[str] = (),
        failed: Sequence[str] = (),
    ) -> None:
        super().__init__(message, code=code, reason=reason, request_id=request_id, path=path)
        self.missing = tuple(missing)
        self.denied = tuple(denied)
        self.failed = tuple(failed)


class BatchNotFoundError(BatchError, NotFoundError):
    """Secrets of a batch don't exist, and nothing else is wrong."""


class BatchDeniedError(BatchError, AccessDeniedError):
    """At least one secret of a batch is denied."""


class ProviderError(HexrError):
    """A model's provider refused or failed. ``status`` is its HTTP status, 0 without
    one; ``kind`` the class of its client library's exception."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        request_id: str = "",
        path: str = "",
        status: int = 0,
        kind: str = "",
    ) -> None:
        super().__init__(message, code=code, reason=reason, request_id=request_id, path=path)
        self.status = status
        self.kind = kind


# The names of Hexr's public vault interface.
VaultError = HexrError
SecretNotFoundError = NotFoundError
PolicyDeniedError = AccessDeniedError
AuthenticationError = IdentityError

__all__ = [
    "AccessDeniedError",
    "AuthenticationError",
    "BatchDeniedError",
    "BatchError",
    "BatchNotFoundError",
    "HexrError",
    "IdentityError",
    "InvalidRequestError",
    "NotFoundError",
    "PolicyDeniedError",
    "ProviderError",
    "RotatingError",
    "SecretNotFoundError",
    "ThrottledError",
    "UnavailableError",
    "VaultError",
    "VerifyError",
    "VersionConflictError",
]
