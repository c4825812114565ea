"""The cache, which is off unless asked for."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count, takewhile
from typing import Any

import pytest

from hexr import AccessDeniedError, AsyncVaultClient, VaultClient
from hexr._atransport import AsyncTransport
from hexr._cache import Cache
from hexr._events import SILENCE
from hexr._secret import Secret
from hexr._transport import Transport
from hexr.testing import DevCluster


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    sync, asynchronous = Transport.call, AsyncTransport.call

    def count(self: Any, request: Any) -> Any:
        seen.append(request.method)
        return sync(self, request)

    async def count_async(self: Any, request: Any) -> Any:
        seen.append(request.method)
        return await asynchronous(self, request)

    monkeypatch.setattr(Transport, "call", count)
    monkeypatch.setattr(AsyncTransport, "call", count_async)
    return seen


def test_off_by_default(vault: VaultClient, calls: list[str]) -> None:
    vault.put("K", "v")
    vault.get("K")
    vault.get("K")
    assert calls == ["PUT", "GET", "GET"]


def test_one_fetch_for_many(become: Callable[..., str], agent: str, calls: list[str]) -> None:
    become(agent)
    with VaultClient(cache_ttl=600) as vault:
        vault.put("K", "v")
        barrier = threading.Barrier(8)

        def get(_: int) -> str:
            barrier.wait()
            return vault.get("K")

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(get, range(8))) == ["v"] * 8
        assert calls == ["PUT", "GET"]
        vault.put("K", "w")  # its own changes are seen
        assert vault.get("K") == "w"


def test_one_fetch_for_many_tasks(become: Callable[..., str], agent: str, calls: list[str]) -> None:
    become(agent)

    async def main() -> list[str]:
        async with AsyncVaultClient(cache_ttl=600) as vault:
            await vault.put("K", "v")
            return await asyncio.gather(*(vault.get("K") for _ in range(8)))

    assert asyncio.run(main()) == ["v"] * 8
    assert calls == ["PUT", "GET"]


def test_entries_end_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("hexr._cache.time.monotonic", lambda: now[0])
    monkeypatch.setattr("hexr._cache.SILENCE", 1000.0)
    cache = Cache(10.0, threading.Lock)
    cache.heard()
    for i in range(100):
        cache.put((str(i), None, None), Secret(str(i), "v"), cache.generation())

    def live() -> int:
        return sum(cache.get((str(i), None, None)) is not None for i in range(100))

    now[0] = 108.9
    assert live() == 100
    now[0] = 109.5
    assert 0 < live() < 100
    now[0] = 110
    assert live() == 0


def test_what_was_fetched_before_a_change_is_not_kept() -> None:
    cache = Cache(10.0, threading.Lock)
    cache.heard()
    key = ("K", None, None)
    generation = cache.generation()
    cache.forget("K")
    cache.put(key, Secret("K", "old"), generation)
    assert cache.get(key) is None


def test_without_a_watch_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("hexr._cache.time.monotonic", lambda: now[0])
    cache = Cache(600.0, threading.Lock)
    key = ("K", None, None)

    def keep() -> bool:
        cache.put(key, Secret("K", "v"), cache.generation())
        return cache.get(key) is not None

    assert not keep()  # it was never heard of
    cache.heard()
    assert keep()
    now[0] += SILENCE - 0.1
    assert cache.get(key) is not None
    now[0] += 0.2
    assert cache.get(key) is None  # silent for too long
    cache.heard()
    assert cache.get(key) is None  # what changed meanwhile is not known yet
    assert keep()
    cache.silent()
    assert cache.get(key) is None and not keep()


def test_holders_see_a_rotation(cluster: DevCluster, become: Callable[..., str], agent: str) -> None:
    """A holder on each of three nodes, one of them asynchronous; none asks for the value."""
    become(agent)
    nodes = [node["address"] for node in cluster.nodes()]
    with VaultClient() as vault:
        vault.put("K", "0")
        asynchronous = AsyncVaultClient(nodes[2], cache_ttl=600)

        async def main() -> list[float]:
            worst = []
            with VaultClient(nodes[0], cache_ttl=600) as one, VaultClient(nodes[1], cache_ttl=600) as two:
                async with asynchronous:
                    for number in range(1, 11):
                        assert {one.get("K"), two.get("K"), await asynchronous.get("K")} == {str(number - 1)}
                        await asyncio.to_thread(vault.rotate, "K", lambda n=number: str(n))
                        current = time.monotonic()
                        caches = [one._cache, two._cache, asynchronous._cache]
                        kept = (any(cache.get(("K", None, None)) for cache in caches) for _ in count())
                        for _ in takewhile(bool, kept):
                            await asyncio.sleep(0.001)
                        assert {one.get("K"), two.get("K"), await asynchronous.get("K")} == {str(number)}
                        worst.append(time.monotonic() - current)
            return worst

        took = asyncio.run(main())
    logging.getLogger(__name__).info("seen by all within %.3f s (median %.3f s)", max(took), sorted(took)[5])


def test_a_block_ends_what_is_kept(cluster: DevCluster, become: Callable[..., str], agent: str) -> None:
    become(agent)
    with VaultClient(cache_ttl=600) as vault:
        vault.put("K", "v")
        assert vault.get("K") == "v"
        done = cluster.run("/hexr/operator/ann", cluster.program, "block", f"agent/{agent}")
        assert done.returncode == 0, done.stderr
        with pytest.raises(AccessDeniedError):
            while True:
                vault.get("K")


def test_close_ends_the_thread(become: Callable[..., str], agent: str) -> None:
    become(agent)

    def threads() -> int:
        return sum(thread.name == "hexr-cache" for thread in threading.enumerate())

    before = threads()
    with VaultClient(cache_ttl=600) as vault:
        vault.put("K", "v")
        assert vault.get("K") == "v"
        assert threads() == before + 1
    assert threads() == before
    assert vault.get("K") == "v"  # and a later read begins anew
    vault.close()
