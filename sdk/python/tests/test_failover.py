"""Nodes die: who reads sees no error, and what is written is written once."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import httpcore
import pytest

from hexr import (
    AccessDeniedError,
    AsyncVaultClient,
    HexrError,
    IdentityError,
    ThrottledError,
    UnavailableError,
    VaultClient,
    VersionConflictError,
)
from hexr._retry import Budget, Nodes, Tries
from hexr._wire import ends
from hexr.testing import DevCluster

from . import tlsserver

ROUNDS = 3


@pytest.fixture(scope="module")
def shaky() -> Iterator[DevCluster]:
    with DevCluster(nodes=3) as cluster:
        yield cluster


def test_readers_see_no_error_while_nodes_die(shaky: DevCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[BaseException] = []
    reads = 0
    done = threading.Event()

    def read() -> None:
        nonlocal reads
        try:
            with VaultClient() as vault:
                while not done.is_set():
                    assert vault.get("K") == "v"
                    reads += 1
        except BaseException as err:
            errors.append(err)

    async def read_async() -> None:
        nonlocal reads
        async with AsyncVaultClient() as vault:
            while not done.is_set():
                assert await vault.get("K") == "v"
                reads += 1

    def run_async() -> None:
        try:
            asyncio.run(read_async())
        except BaseException as err:
            errors.append(err)

    with shaky.identity("acme/reader") as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        with VaultClient() as vault:
            vault.put("K", "v")
        threads = [threading.Thread(target=target) for target in (read, read, run_async, run_async)]
        for thread in threads:
            thread.start()
        try:
            for node in ["leader"] * ROUNDS:
                before = reads
                victim = shaky.kill(node)
                while reads < before + 20 and not errors:  # they go on with a node down
                    done.wait(0.01)
                shaky.start_node(victim)
        finally:
            done.set()
            for thread in threads:
                thread.join()
    assert errors == []
    assert reads >= 20 * ROUNDS


@pytest.fixture
def one_long_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """A try has all of its call's time: who waits for a node to the end of it gets no answer."""
    monkeypatch.setattr("hexr._wire._EXCHANGE", 1000.0)


@contextmanager
def halted(cluster: DevCluster, address: str) -> Iterator[None]:
    """Its connections stay, and nothing is answered."""
    [node] = [node["id"] for node in cluster.nodes() if node["address"] == address]
    cluster.kill(node, signal="STOP")
    try:
        yield
    finally:
        cluster.kill(node, signal="CONT")


@pytest.mark.usefixtures("one_long_try")
def test_a_hanging_node_is_left(shaky: DevCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with shaky.identity("acme/hanging") as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        [leader] = [node["address"] for node in shaky.nodes() if node["role"] == "leader"]
        others = [node["address"] for node in shaky.nodes() if node["address"] != leader]
        nodes = ",".join([leader, *others])
        with VaultClient(nodes, timeout=60) as vault, ThreadPoolExecutor(8) as threads:

            def get() -> list[str]:
                return list(threads.map(lambda _: vault.get("K"), range(8)))

            vault._transport.nodes.at = 0
            vault.put("K", "v")
            get()
            with halted(shaky, leader):
                assert get() == ["v"] * 8

        async def main() -> None:
            async with AsyncVaultClient(nodes, timeout=60) as vault:

                async def get() -> list[str]:
                    return await asyncio.gather(*(vault.get("K") for _ in range(8)))

                vault._transport.nodes.at = 0
                await get()
                with halted(shaky, leader):
                    assert await get() == ["v"] * 8

        asyncio.run(main())


@pytest.mark.usefixtures("one_long_try")
@pytest.mark.parametrize("calls", [1, 2])
def test_a_node_that_takes_its_time_is_not_left(
    cluster: DevCluster, become: Callable[..., str], agent: str, calls: int
) -> None:
    """It answers once it was greeted, after each call's own handshake."""
    become(agent)

    def serve() -> AbstractContextManager[tlsserver.Server]:
        return tlsserver.serve(tlsserver.context(cluster, "/hexr/node/slow"), tlsserver.HEALTHY, handshakes=calls + 1)

    with serve() as server, VaultClient(f"https://127.0.0.1:{server.port}") as vault:
        assert list(ThreadPoolExecutor(calls).map(lambda _: vault.health(), range(calls))) == [{"status": "ok"}] * calls
    assert server.received.count(b"GET") == calls

    async def main() -> None:
        with serve() as server:
            async with AsyncVaultClient(f"https://127.0.0.1:{server.port}") as vault:
                assert await asyncio.gather(*(vault.health() for _ in range(calls))) == [{"status": "ok"}] * calls
            assert server.received.count(b"GET") == calls

    asyncio.run(main())


@contextmanager
def losing_answers(node: str, lost: int) -> Iterator[tuple[int, list[int]]]:
    """A proxy before a node, that breaks connections once an answer to a put came, so that
    the client can't know; lost times, then it lets all through."""
    host, _, port = node.rpartition(":")
    listener = socket.create_server(("127.0.0.1", 0))
    broken: list[int] = []
    started: list[tuple[list[threading.Thread], tuple[socket.socket, socket.socket]]] = []

    def pump(source: socket.socket, sink: socket.socket, sizes: list[int]) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sizes.append(len(data))
                sink.sendall(data)
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def answers(server: socket.socket, client: socket.socket, sent: list[int]) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if sum(sent) > 20000 and len(broken) < lost:  # the put, which is larger than all before it
                    broken.append(1)
                    break
                client.sendall(data)
        for sock in (server, client):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((host, int(port)))
                sent: list[int] = []
                pair = [
                    threading.Thread(target=pump, args=(client, server, sent)),
                    threading.Thread(target=answers, args=(server, client, sent)),
                ]
                for one in pair:
                    one.start()
                started.append((pair, (client, server)))

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], broken
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for pair, sockets in started:
            for sock in sockets:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            for one in pair:
                one.join()
            for sock in sockets:
                sock.close()


def test_a_retried_put_is_applied_once(cluster: DevCluster, become: Callable[..., str], agent: str) -> None:
    become(agent)
    with losing_answers(cluster.nodes()[0]["address"], lost=3) as (port, broken):
        with VaultClient(f"https://127.0.0.1:{port}") as vault:
            assert vault.put("K", "x" * 30000) == 1
        assert len(broken) == 3
    with VaultClient() as vault:
        assert [v.version for v in vault.versions("K")] == [1]


@contextmanager
def nothing_left_open() -> Iterator[None]:
    """No descriptor is left to the garbage collector, which warns of each."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(one.message) for one in warned] == []


def test_a_node_that_resets_before_the_handshake(
    become: Callable[..., str], agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that dies just then."""
    become(agent)
    connect_tcp = httpcore.SyncBackend.connect_tcp
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def connect(*args: Any, **kwargs: Any) -> httpcore.NetworkStream:
            stream = connect_tcp(*args, **kwargs)
            conn, _ = listener.accept()
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            conn.close()
            return stream

        monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
        with nothing_left_open():
            url = f"https://127.0.0.1:{listener.getsockname()[1]}"
            with VaultClient(url, timeout=0.2) as vault, pytest.raises(UnavailableError):
                vault.health()


@pytest.mark.parametrize("late", [False, True], ids=["in the handshake", "before it"])
def test_a_try_that_ends_without_a_handshake(
    become: Callable[..., str], agent: str, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """A node that says nothing, or a client that comes to it too late."""
    become(agent)
    connect_tcp, connect_tcp_async = httpcore.SyncBackend.connect_tcp, httpcore.AnyIOBackend.connect_tcp

    def left() -> float:
        return max(0.0, ends.get() - time.monotonic()) + 0.01

    def connect(*args: Any, **kwargs: Any) -> httpcore.NetworkStream:
        stream = connect_tcp(*args, **kwargs)
        time.sleep(left() if late else 0)
        return stream

    async def connect_async(*args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        stream = await connect_tcp_async(*args, **kwargs)
        await asyncio.sleep(left() if late else 0)
        return stream

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_async)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"

        async def main() -> None:
            async with AsyncVaultClient(url, timeout=0.2) as vault:
                with pytest.raises(UnavailableError):
                    await vault.health()
                gc.collect()  # while there is a loop, whose end would close them

        with nothing_left_open():
            with VaultClient(url, timeout=0.2) as vault, pytest.raises(UnavailableError):
                vault.health()
            asyncio.run(main())


def test_the_budget_makes_retries_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("hexr._retry.time.monotonic", lambda: now[0])
    budget = Budget()
    assert [budget.take() for _ in range(100)] == [0.0] * 100
    waits = [budget.take() for _ in range(50)]
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(1.0)
    now[0] += 10
    assert budget.take() == 0.0


def test_tries_go_round_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("hexr._retry.time.monotonic", lambda: now[0])
    tries = Tries(Nodes(3), Budget(), 30.0)
    err = UnavailableError("no")
    seen, pauses = [tries.node], []
    for _ in range(8):
        pauses.append(tries.pause(err))
        seen.append(tries.node)
    assert sorted(seen[:3]) == [0, 1, 2]
    assert pauses[:2] == [0, 0]  # the others first, at once
    assert all(0 < p <= 0.75 for p in pauses[2:])
    now[0] += 30
    with pytest.raises(UnavailableError):
        tries.pause(err)
    with pytest.raises(HexrError):
        Tries(Nodes(3), Budget(), 30.0).pause(HexrError("final"))


def test_an_unknown_outcome_is_asked_for_where_it_was() -> None:
    nodes = Nodes(3)
    tries = Tries(nodes, Budget(), 30.0)
    first = tries.node
    unknown = UnavailableError("unknown", reason="OUTCOME_UNKNOWN")
    assert tries.pause(unknown) == 0
    assert tries.node == nodes.at == first  # it is there, and knows the next leader
    tries.pause(unknown)
    assert tries.node == (first + 1) % 3
    tries.pause(unknown)
    assert tries.node == (first + 1) % 3
    tries.pause(UnavailableError("no"))
    assert tries.node == (first + 2) % 3


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (ThrottledError("no", reason="DISK_LOW"), "OUTCOME_UNKNOWN"),
        (AccessDeniedError("no", reason="BLOCKED"), "OUTCOME_UNKNOWN"),
        (IdentityError("no", reason="NO_IDENTITY"), "OUTCOME_UNKNOWN"),
        (AccessDeniedError("no", reason="DENIED"), "DENIED"),
        (AccessDeniedError("no", reason="WRONG_CLASS"), "WRONG_CLASS"),
        (ThrottledError("no", reason="QUOTA"), "QUOTA"),
        (VersionConflictError("no", reason="VERSION_CONFLICT"), "VERSION_CONFLICT"),
        (HexrError("no", code="INTERNAL", reason="CORRUPT"), "CORRUPT"),
    ],
)
def test_what_a_mutation_says_holds_for_all_its_tries(last: HexrError, reason: str) -> None:
    def end(*errors: HexrError, mutation: bool = True) -> HexrError:
        tries = Tries(Nodes(3), Budget(), 30.0, mutation)
        with pytest.raises(HexrError) as raised:
            for err in errors:
                tries.pause(err)
        return raised.value

    unreached, lost = UnavailableError("no", reason="NOT_REACHED"), UnavailableError("no")
    assert end(unreached, UnavailableError("no", reason="NO_LEADER"), last) is last
    assert end(lost, last, mutation=False) is last
    assert (
        end(UnavailableError("no", reason="OUTCOME_UNKNOWN"), UnavailableError("no", reason="OUTCOME_UNKNOWN"), last).reason
        == reason
    )
    assert end(lost, last).reason == end(lost, unreached, last).reason == reason


def test_what_was_not_sent_was_not_applied(become: Callable[..., str], agent: str) -> None:
    become(agent)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with VaultClient(f"https://127.0.0.1:{port}", timeout=0.2) as vault, pytest.raises(UnavailableError) as refused:
        vault.put("K", "v")
    assert refused.value.reason == "NOT_REACHED"
