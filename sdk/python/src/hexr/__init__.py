"""Secrets for AI agents: the Python SDK of hexrd.

    from hexr import hexr_agent
    from hexr.vault import VaultClient

    @hexr_agent(name="my-agent", tenant="acme-corp")
    def main():
        key = VaultClient().get("OPENAI_API_KEY")

Who the process is comes from its X.509-SVID (SPIFFE_ENDPOINT_SOCKET), where the
nodes are from HEXR_ADDR or HEXR_VAULT_URL.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

from ._agent import hexr_agent
from ._llm import hexr_llm
from ._secret import Secret
from .errors import (
    AccessDeniedError,
    AuthenticationError,
    BatchError,
    HexrError,
    IdentityError,
    InvalidRequestError,
    NotFoundError,
    ProviderError,
    RotatingError,
    ThrottledError,
    UnavailableError,
    VerifyError,
    VersionConflictError,
)

if TYPE_CHECKING:
    from . import vault
    from .vault import AsyncVaultClient, VaultClient


def __getattr__(name: str) -> Any:
    if name in ("VaultClient", "AsyncVaultClient", "vault"):  # they bring the HTTP client, which not all need
        module = import_module(".vault", __name__)
        return module if name == "vault" else getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AccessDeniedError",
    "AsyncVaultClient",
    "AuthenticationError",
    "BatchError",
    "HexrError",
    "IdentityError",
    "InvalidRequestError",
    "NotFoundError",
    "ProviderError",
    "RotatingError",
    "Secret",
    "ThrottledError",
    "UnavailableError",
    "VaultClient",
    "VerifyError",
    "VersionConflictError",
    "__version__",
    "hexr_agent",
    "hexr_llm",
    "vault",
]
