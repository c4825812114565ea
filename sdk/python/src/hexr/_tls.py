"""TLS contexts of SVIDs. A private key never lies in a file."""

from __future__ import annotations

import os
import ssl
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from . import _fork


def client_context(chain: bytes, key: bytes, authorities: bytes) -> ssl.SSLContext:
    """A TLS 1.3 context that shows the chain and trusts the authorities alone; chain and
    key are PEM, authorities DER one behind the other. Names are not checked: the caller
    checks the server's SPIFFE ID."""
    with _fork.whole():
        return _client_context(chain, key, authorities)


def _client_context(chain: bytes, key: bytes, authorities: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=authorities)
    context.set_alpn_protocols(["http/1.1"])
    context.sslobject_class = _Object
    with _in_memory(chain) as chain_name, _in_memory(key) as key_name:
        context.load_cert_chain(chain_name, key_name)
    return context


class _Object(ssl.SSLObject):
    """TLS over bytes in memory: it never waits, so a fork can wait for it."""

    def do_handshake(self) -> None:
        with _fork.whole():
            super().do_handshake()

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        with _fork.whole():
            return super().read(len, buffer)

    def write(self, data: Any) -> int:
        with _fork.whole():
            return super().write(data)


@contextmanager
def _in_memory(content: bytes) -> Generator[str]:
    """A name for the content, for as long as ssl, which takes nothing but names, needs it."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("hexr", os.MFD_CLOEXEC)
        writer, name = os.dup(fd), f"/proc/self/fd/{fd}"
    else:  # a pipe, which can be read once; its buffer is larger than any key
        fd, writer = os.pipe()
        name = f"/dev/fd/{fd}"
    try:
        with os.fdopen(writer, "wb") as file:
            file.write(content)
        yield name
    finally:
        os.close(fd)


def peer_ids(peer: Mapping[str, Any] | None) -> list[str]:
    """The URI SANs of a verified peer's certificate, as getpeercert() has it."""
    names: tuple[tuple[str, str], ...] = peer.get("subjectAltName", ()) if peer else ()
    return [value for kind, value in names if kind == "URI"]
