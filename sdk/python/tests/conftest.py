"""All tests of a process share one cluster of three nodes; each has agents of its own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hexr import VaultClient
from hexr.testing import DevCluster

REPOSITORY = Path(__file__).resolve().parents[3]
os.environ.setdefault("HEXRD_BIN", str(REPOSITORY / "bin" / "hexrd"))
for name in ("HEXR_ADDR", "HEXR_VAULT_URL", "HEXR_TENANT", "HEXR_AGENT_NAME", "SPIFFE_ENDPOINT_SOCKET"):
    os.environ.pop(name, None)

pytest_plugins = ["pytester"]

BecomeFn = Callable[..., str]


@pytest.fixture(scope="session")
def cluster() -> Iterator[DevCluster]:
    with DevCluster(nodes=3) as running:
        yield running


_numbers = itertools.count(1)


@pytest.fixture
def agent() -> str:
    """TENANT/AGENT of an agent that nobody else is."""
    return f"acme/agent-{next(_numbers)}"


@pytest.fixture
def become(cluster: DevCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[BecomeFn]:
    """Makes this process an agent: become("acme/my-agent")."""
    with ExitStack() as stack:

        def do(identity: str, svid_ttl: str = "") -> str:
            for name, value in stack.enter_context(cluster.identity(identity, svid_ttl=svid_ttl)).items():
                monkeypatch.setenv(name, value)
            return identity

        yield do


@pytest.fixture
def vault(become: BecomeFn, agent: str) -> Iterator[VaultClient]:
    """A client of an agent of this test's own."""
    become(agent)
    with VaultClient() as client:
        yield client
