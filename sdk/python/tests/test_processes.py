"""Threads, fork and spawn."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import select
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hexr import AsyncVaultClient, VaultClient, _context, _fork, _identity, hexr_agent
from hexr import vault as functions
from hexr._transport import Transport


def in_child(what: Callable[[], object]) -> str:
    """What it returns in a forked child, or its error. A child that hangs shows where, and fails the test."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            result = repr(what())
        except BaseException as err:
            result = f"{type(err).__name__}: {err}"
        os.write(writer, result.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        hangs = not select.select([pipe], [], [], 60)[0]
        if hangs:
            os.kill(child, signal.SIGABRT)  # pytest's faulthandler writes down its threads
        told = pipe.read()
    os.waitpid(child, 0)
    assert not hangs, "a forked child hangs"
    return told


def test_a_child_works_and_shares_nothing(vault: VaultClient) -> None:
    vault.put("K", "v")
    transport = vault._transport
    fds = {sock.fileno() for sock in transport.sockets}
    assert fds

    def child() -> object:
        inherited = [fd for fd in fds if os.path.exists(f"/proc/self/fd/{fd}")]
        before = (inherited, len(transport.sockets), _identity.source().ready())
        return before, vault.get("K"), {s.getsockname() for s in transport.sockets}

    ports = {sock.getsockname() for sock in transport.sockets}
    told = in_child(child)
    assert told.startswith("(([], 0, False), 'v', {"), told
    assert not any(repr(port) in told for port in ports)
    assert vault.get("K") == "v"
    assert {sock.getsockname() for sock in transport.sockets} == ports  # the parent's are unharmed


def test_a_grandchild_works(vault: VaultClient) -> None:
    vault.put("K", "v")
    assert in_child(lambda: in_child(lambda: vault.get("K"))) == repr(repr("v"))


def test_a_child_forgets_the_cache(become: Callable[..., str], agent: str) -> None:
    become(agent)
    with VaultClient(cache_ttl=600) as vault, VaultClient() as other:
        vault.put("K", "old")
        assert vault.get("K") == "old"
        cache, key = vault._cache, ("K", None, None)
        assert cache.get(key) is not None
        assert in_child(lambda: (cache.get(key), vault.get("K"), cache.get(key))) == "(None, 'old', [redacted])"
        other.put("K", "new")
        while vault.get("K") != "new":  # the parent's watch is unharmed
            pass


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_forks_among_threads(vault: VaultClient, kind: str) -> None:
    """Children of a process whose other threads are in the middle of calls and of handshakes,
    with locks of OpenSSL in their hands."""
    vault.put("K", "v")
    stop = threading.Event()
    errors: list[BaseException] = []

    async def read_async() -> None:
        async with AsyncVaultClient() as own:
            assert await own.get("K") == await own.get("K") == "v"

    def read() -> None:
        try:
            while not stop.is_set():
                if kind == "async":
                    asyncio.run(read_async())
                    continue
                with VaultClient() as own:
                    assert own.get("K") == vault.get("K") == "v"
        except BaseException as err:
            errors.append(err)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert [in_child(lambda: vault.get("K")) for _ in range(20)] == [repr("v")] * 20
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []


def test_a_fork_waits_for_openssl() -> None:
    held, entered = [False], threading.Event()

    def hold() -> None:
        with _fork.whole():
            held[0] = True
            entered.set()
            time.sleep(0.2)
            held[0] = False

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(30)
    assert in_child(lambda: (held[0], _fork.whole().acquire(timeout=1))) == "(False, True)"
    assert _fork.whole().acquire(timeout=1)
    _fork.whole().release()
    thread.join()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_openssl_is_entered_where_no_fork_falls(
    become: Callable[..., str], agent: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    seen: list[str] = []

    def watched(of: type, name: str) -> None:
        original = getattr(of, name)

        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            assert _fork.whole()._is_owned(), name  # type: ignore[attr-defined]
            seen.append(name)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(of, name, call)

    for name in ("do_handshake", "read", "write"):
        watched(ssl.SSLObject, name)
    for name in ("load_cert_chain", "load_verify_locations"):
        watched(ssl.SSLContext, name)
    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", None)  # it waits inside
    become(agent)

    async def main() -> None:
        async with AsyncVaultClient() as client:
            assert await client.list() == []

    if kind == "async":
        asyncio.run(main())
    else:
        with VaultClient() as client:
            assert client.list() == []
    assert set(seen) == {"load_verify_locations", "load_cert_chain", "do_handshake", "write", "read"}


def test_a_child_of_a_coroutine(become: Callable[..., str], agent: str) -> None:
    become(agent)
    functions.put("K", "v")

    async def main() -> str:
        async with AsyncVaultClient() as client:
            assert await client.get("K") == "v"

            def child() -> object:
                return asyncio.new_event_loop().run_until_complete(client.get("K"))

            loop = asyncio.get_running_loop()
            told = await loop.run_in_executor(None, in_child, child)
            assert await client.get("K") == "v"
            return told

    assert asyncio.run(main()) == repr("v")


def _read(path: str) -> str:
    return functions.get(path)


def test_spawned_workers(become: Callable[..., str], agent: str) -> None:
    become(agent)
    functions.put("K", "v")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map_async(_read, ["K"] * 4).get(60) == ["v"] * 4


def test_forked_workers(become: Callable[..., str], agent: str) -> None:
    become(agent)
    functions.put("K", "v")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(_read, ["K"] * 4).get(60) == ["v"] * 4


def test_many_threads_share_a_client(vault: VaultClient) -> None:
    def work(number: int) -> list[str]:
        for i in range(5):
            vault.put(f"t/{number}", str(i))
            assert vault.get(f"t/{number}") == str(i)
        return vault.list(f"t/{number}")

    with ThreadPoolExecutor(16) as pool:
        assert all(f"t/{n}" in found for n, found in enumerate(pool.map(work, range(16))))


def test_a_thread_of_an_agent_is_that_agent(become: Callable[..., str], agent: str) -> None:
    become(agent)
    tenant, _, name = agent.partition("/")

    @hexr_agent(name=name, tenant=tenant)
    def main() -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(_context.current).result()

    assert main().name == name
    assert _context.current() is None


def test_connections_are_reused(vault: VaultClient, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    track = Transport.track

    def count(self: Transport, sock: socket.socket) -> None:
        made.append(sock)
        track(self, sock)

    monkeypatch.setattr(Transport, "track", count)
    vault.put("K", "v")
    for _ in range(20):
        vault.get("K")
    assert len(made) <= 2  # one TCP socket, and the same with TLS
