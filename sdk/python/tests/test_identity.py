"""Who the process is, and whom it talks to."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from hexr import IdentityError, VaultClient, _identity, hexr_agent
from hexr._spiffe import Declared, is_node
from hexr.testing import DevCluster

from .workload import serve


@pytest.fixture(autouse=True)
def no_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_identity, "_sources", {})
    monkeypatch.setattr(_identity, "TIMEOUT", 2.0)


def addresses(cluster: DevCluster) -> str:
    return ",".join(node["address"] for node in cluster.nodes())


def test_no_socket_is_said_at_once() -> None:
    with pytest.raises(IdentityError, match="set SPIFFE_ENDPOINT_SOCKET"):
        VaultClient("https://127.0.0.1:9").get("K")


@pytest.mark.parametrize(
    ("socket", "said"), [("unix:///nowhere/api.sock", "no SPIFFE Workload API"), ("none", "no SPIFFE Workload API")]
)
def test_missing_socket_is_said_within_seconds(monkeypatch: pytest.MonkeyPatch, socket: str, said: str) -> None:
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", socket)
    began = time.monotonic()
    with pytest.raises(IdentityError, match=said):
        VaultClient("https://127.0.0.1:9").get("K")
    assert time.monotonic() - began < 3 * _identity.TIMEOUT


def test_not_registered(cluster: DevCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(cluster, []) as address:
        monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", address)
        with pytest.raises(IdentityError, match="is it registered"):
            VaultClient("https://127.0.0.1:9").get("K")


def test_silent_workload_api(cluster: DevCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(cluster, [], silent=True) as address:
        monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", address)
        with pytest.raises(IdentityError, match="did not answer"):
            VaultClient("https://127.0.0.1:9").get("K")


def test_the_declared_svid_is_chosen_not_the_first(cluster: DevCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(cluster, ["acme/first", "acme/second/a", "acme/second/b", "other/first"]) as address:
        monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", address)
        monkeypatch.setenv("HEXR_ADDR", addresses(cluster))

        def scope(**declared: str) -> str:
            @hexr_agent(**declared)
            def main() -> str:
                vault = VaultClient()
                vault.put("WHO", "me")
                return vault.get_secret("WHO").scope

            return main()

        assert scope(name="first", tenant="other") == "spiffe://hexr.cloud/agent/other/first/*"
        assert scope(name="first", tenant="acme") == "spiffe://hexr.cloud/agent/acme/first/*"
        assert scope(name="second", tenant="acme", role="b") == "spiffe://hexr.cloud/agent/acme/second/*"
        with pytest.raises(IdentityError, match="several SVIDs") as several:
            scope(name="second", tenant="acme")
        assert [i.rpartition("/")[2] for i in several.value.found] == ["a", "b"]
        with pytest.raises(IdentityError, match="several SVIDs"):
            VaultClient().get("WHO")
        with pytest.raises(IdentityError, match="not the declared"):
            VaultClient(tenant="nobody").get("WHO")


def test_environment_is_checked_never_trusted(
    become: Callable[..., str], agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(agent)
    monkeypatch.setenv("HEXR_TENANT", "acme")
    monkeypatch.setenv("HEXR_AGENT_NAME", agent.partition("/")[2])
    assert VaultClient().exists("K") is False
    monkeypatch.setenv("HEXR_AGENT_NAME", "another")
    with pytest.raises(IdentityError, match="HEXR_AGENT_NAME") as wrong:
        VaultClient().exists("K")
    assert wrong.value.declared == "acme/another/*"
    assert wrong.value.found == (f"spiffe://hexr.cloud/agent/{agent}/main",)


def test_renewal_under_live_connections(become: Callable[..., str], agent: str) -> None:
    become(agent, svid_ttl="3s")
    with VaultClient() as vault:
        vault.put("K", "v")
        seen: set[float] = set()
        while len(seen) < 4:  # over several lives of an SVID
            assert vault.get("K") == "v"
            svid = vault._transport.svid
            assert svid is not None
            seen.add(svid.expires)


def test_an_unchanged_svid_keeps_its_connections(
    become: Callable[..., str], agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_identity, "_MAX_AGE", 0.0)
    become(agent)
    with VaultClient() as vault:
        vault.put("K", "v")
        first, sockets = vault._transport.svid, set(vault._transport.sockets)
        for _ in range(20):
            vault.get("K")
        assert vault._transport.svid is first
        assert set(vault._transport.sockets) == sockets


def test_the_key_is_in_no_file(become: Callable[..., str], agent: str) -> None:
    """strace sees every file that is opened for writing while the key is loaded."""
    become(agent)
    code = (
        "import os, sys\n"
        "opened = []\n"
        "sys.addaudithook(lambda name, args: opened.append(args) if name == 'open' else None)\n"
        "from hexr import VaultClient\n"
        "VaultClient().exists('K')\n"
        "written = [a for a in opened if isinstance(a[0], str) and a[0] != os.devnull and a[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)]\n"
        "left = [os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if os.path.islink(f'/proc/self/fd/{n}')]\n"
        "print(written, [name for name in left if 'memfd' in name])\n"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"


@pytest.mark.parametrize(
    ("peer", "ok"),
    [
        ("spiffe://td/hexr/node/n1", True),
        ("spiffe://td/hexr/node/n1/x", False),
        ("spiffe://td/hexr/node/", False),
        ("spiffe://other/hexr/node/n1", False),
        ("spiffe://tdx/hexr/node/n1", False),
        ("spiffe://td/agent/a/b/hexr/node/n1", False),
        ("spiffe://td/hexr/operator/n1", False),
    ],
)
def test_nodes_are_told_by_their_ids(peer: str, ok: bool) -> None:
    assert is_node(peer, "td") is ok


def test_declared_matches_exactly() -> None:
    who = Declared("acme", "my-agent")
    assert who.matches("spiffe://td/agent/acme/my-agent/main")
    for other in ("acme/my-agent2/main", "acme/my/agent/main", "acme2/my-agent/main", "acme/my-agent"):
        assert not who.matches(f"spiffe://td/agent/{other}")
    assert Declared().matches("spiffe://td/hexr/provisioner/acme/ci")
    assert not who.matches("spiffe://td/hexr/provisioner/acme/my-agent/main")
