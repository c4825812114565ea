"""The vault: clients, functions that use the process's own client, and decorators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from . import _api, generators
from ._aclient import AsyncVaultClient
from ._api import Duration, Version
from ._awatch import AsyncWatch
from ._batch import secrets_batch
from ._client import VaultClient
from ._compat import SecretProperty, inject_secrets, secret, with_vault
from ._default import client as get_client
from ._events import Change
from ._rotate import Generate, Verify
from ._rotation import Rotated
from ._rotator import Rotator
from ._secret import Secret
from ._watch import Watch
from .errors import (
    AuthenticationError,
    PolicyDeniedError,
    RotatingError,
    SecretNotFoundError,
    VaultError,
    VerifyError,
)


def get(path: str, scope: str | None = None) -> str:
    """VaultClient.get of the process's client."""
    return get_client().get(path, scope)


def get_bytes(path: str, scope: str | None = None) -> bytes:
    """VaultClient.get_bytes of the process's client."""
    return get_client().get_bytes(path, scope)


def get_json(path: str, scope: str | None = None) -> Any:
    """VaultClient.get_json of the process's client."""
    return get_client().get_json(path, scope)


def get_secret(path: str, version: int | None = None, scope: str | None = None) -> Secret:
    """VaultClient.get_secret of the process's client."""
    return get_client().get_secret(path, version, scope)


def get_or_default(path: str, default: str, scope: str | None = None) -> str:
    """VaultClient.get_or_default of the process's client."""
    return get_client().get_or_default(path, default, scope)


def get_many(paths: Iterable[str], scope: str | None = None) -> dict[str, str]:
    """VaultClient.get_many of the process's client."""
    return get_client().get_many(paths, scope)


def put(
    path: str,
    value: str | bytes,
    scope: str | None = None,
    metadata: Mapping[str, str] | None = None,
    expected_version: int | None = None,
    rotation: Duration | None = None,
) -> int:
    """VaultClient.put of the process's client."""
    request = _api.put(path, value, scope, metadata, expected_version, rotation)
    del value  # no traceback through here shows it
    return get_client().change(path, request)


def put_json(
    path: str,
    value: object,
    scope: str | None = None,
    metadata: Mapping[str, str] | None = None,
    expected_version: int | None = None,
    rotation: Duration | None = None,
) -> int:
    """VaultClient.put_json of the process's client."""
    request = _api.put_json(path, value, scope, metadata, expected_version, rotation)
    del value
    return get_client().change(path, request)


def delete(path: str, scope: str | None = None) -> None:
    """VaultClient.delete of the process's client."""
    get_client().delete(path, scope)


def undelete(path: str, scope: str | None = None) -> int:
    """VaultClient.undelete of the process's client."""
    return get_client().undelete(path, scope)


def list_secrets(prefix: str = "", scope: str | None = None, *, overdue: bool = False) -> list[str]:
    """VaultClient.list of the process's client."""
    return get_client().list(prefix, scope, overdue=overdue)


def exists(path: str, scope: str | None = None) -> bool:
    """VaultClient.exists of the process's client."""
    return get_client().exists(path, scope)


def versions(path: str, scope: str | None = None) -> list[Version]:
    """VaultClient.versions of the process's client."""
    return list(get_client().versions(path, scope))


def rotate(
    path: str,
    generate: Generate,
    verify: Verify | None = None,
    grace: Duration | None = None,
    *,
    scope: str | None = None,
    metadata: Mapping[str, str] | None = None,
    on_rotate: Callable[[Rotated], object] | None = None,
    lease: float = 30.0,
) -> Rotated:
    """VaultClient.rotate of the process's client."""
    return get_client().rotate(
        path, generate, verify, grace, scope=scope, metadata=metadata, on_rotate=on_rotate, lease=lease
    )


def set_rotation(path: str, every: Duration, scope: str | None = None) -> datetime | None:
    """VaultClient.set_rotation of the process's client."""
    return get_client().set_rotation(path, every, scope)


def watch(
    prefix: str = "",
    *,
    path: str | None = None,
    scope: str | None = None,
    after: str | None = None,
    bookmarks: bool = False,
) -> Watch:
    """VaultClient.watch of the process's client."""
    return get_client().watch(prefix, path=path, scope=scope, after=after, bookmarks=bookmarks)


def health() -> dict[str, str]:
    """VaultClient.health of the process's client."""
    return get_client().health()


__all__ = [
    "AsyncVaultClient",
    "AsyncWatch",
    "AuthenticationError",
    "Change",
    "PolicyDeniedError",
    "Rotated",
    "RotatingError",
    "Rotator",
    "Secret",
    "SecretNotFoundError",
    "SecretProperty",
    "VaultClient",
    "VaultError",
    "VerifyError",
    "Version",
    "Watch",
    "delete",
    "exists",
    "generators",
    "get",
    "get_bytes",
    "get_client",
    "get_json",
    "get_many",
    "get_or_default",
    "get_secret",
    "health",
    "inject_secrets",
    "list_secrets",
    "put",
    "put_json",
    "rotate",
    "secret",
    "secrets_batch",
    "set_rotation",
    "undelete",
    "versions",
    "watch",
    "with_vault",
]
