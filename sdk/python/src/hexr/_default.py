"""The process's own clients: one for each agent that runs in it."""

from __future__ import annotations

import os

from . import _context
from ._aclient import AsyncVaultClient
from ._client import VaultClient

# Where it talks to, and who it says that it is.
_Key = tuple[_context.Agent | None, str | None, str | None, str | None, str | None]

_clients: dict[_Key, VaultClient] = {}
_async_clients: dict[_Key, AsyncVaultClient] = {}


def _key() -> _Key:
    env = os.environ.get
    return _context.current(), env("HEXR_ADDR"), env("HEXR_VAULT_URL"), env("HEXR_TENANT"), env("HEXR_AGENT_NAME")


def client() -> VaultClient:
    """The client that functions and decorators use. It is not to be closed."""
    key = _key()
    return _clients.get(key) or _clients.setdefault(key, VaultClient())


def async_client() -> AsyncVaultClient:
    """The same for coroutines."""
    key = _key()
    return _async_clients.get(key) or _async_clients.setdefault(key, AsyncVaultClient())
