"""Where the nodes are."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from .errors import InvalidRequestError

Address = tuple[str, int]

_USE = "use https://node:7443, or node1:7443,node2:7443"


def addresses(base_url: str | None) -> tuple[Address, ...]:
    """The nodes of base_url, else of HEXR_ADDR, else of HEXR_VAULT_URL: one URL, or
    host:port separated by commas."""
    given = base_url or os.environ.get("HEXR_ADDR") or os.environ.get("HEXR_VAULT_URL") or ""
    found = tuple(_address(part.strip()) for part in given.split(",") if part.strip())
    if not found:
        raise InvalidRequestError(f"no address of a node: set HEXR_ADDR; {_USE}")
    return found


def _address(text: str) -> Address:
    url = urlsplit(text if "://" in text else f"hexr://{text}")
    try:
        host, port = url.hostname, url.port
    except ValueError:
        host = port = None
    if url.scheme == "https":
        port = port or 443
    if url.scheme not in ("https", "hexr") or not host or not port or url.username or url.path.strip("/") or url.query:
        raise InvalidRequestError(f"the address of a node is not usable: {_USE}")
    return host, port
