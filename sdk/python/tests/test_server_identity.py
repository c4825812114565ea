"""No byte of a request goes to a server that is not a node of our own trust domain."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import pytest

from hexr import AsyncVaultClient, IdentityError, UnavailableError, VaultClient
from hexr.testing import DevCluster

from . import tlsserver


def health(port: int, kind: str, timeout: float = 5) -> object:
    url = f"https://127.0.0.1:{port}"
    if kind == "sync":
        with VaultClient(url, timeout=timeout) as client:
            return client.health()

    async def ask() -> object:
        async with AsyncVaultClient(url, timeout=timeout) as client:
            return await client.health()

    return asyncio.run(ask())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_node_is_answered(cluster: DevCluster, become: Callable[..., str], agent: str, kind: str) -> None:
    become(agent)
    with tlsserver.serve(tlsserver.context(cluster, "/hexr/node/fake"), tlsserver.HEALTHY) as server:
        assert health(server.port, kind) == {"status": "ok"}
    assert b"GET /health" in server.received
    assert server.handshakes == ["TLSv1.3"]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("identity", ["acme/evil", "/hexr/operator/ann", "/hexr/nodes/n1"])
def test_others_of_the_trust_domain(
    cluster: DevCluster, become: Callable[..., str], agent: str, kind: str, identity: str
) -> None:
    become(agent)
    with tlsserver.serve(tlsserver.context(cluster, identity), tlsserver.HEALTHY) as server:
        with pytest.raises(IdentityError, match="not a hexrd node"):
            health(server.port, kind)
        assert server.seen.wait(30)
    assert "TLSv1.3" in server.handshakes  # it verifies, and is still refused
    assert server.received == b""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_node_of_another_authority(become: Callable[..., str], agent: str, kind: str) -> None:
    become(agent)
    with DevCluster(nodes=1) as other:
        tls = tlsserver.context(other, "/hexr/node/n1")  # of a trust domain of the same name
        with tlsserver.serve(tls, tlsserver.HEALTHY) as server:
            with pytest.raises(IdentityError, match="not a hexrd node"):
                health(server.port, kind)
            assert server.seen.wait(30)
    assert server.received == b""


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_older_tls(cluster: DevCluster, become: Callable[..., str], agent: str, kind: str) -> None:
    become(agent)
    tls = tlsserver.context(cluster, "/hexr/node/old", highest=ssl.TLSVersion.TLSv1_2)
    with tlsserver.serve(tls, tlsserver.HEALTHY) as server, pytest.raises(UnavailableError):
        health(server.port, kind, timeout=0.5)
    assert server.received == b""
