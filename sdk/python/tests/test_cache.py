"""The cache, which is off unless asked for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hexr import AsyncVaultClient, VaultClient
from hexr._atransport import AsyncTransport
from hexr._cache import Cache
from hexr._secret import Secret
from hexr._transport import Transport


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
    cache = Cache(10.0, threading.Lock)
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
    key = ("K", None, None)
    generation = cache.generation()
    cache.forget("K")
    cache.put(key, Secret("K", "old"), generation)
    assert cache.get(key) is None
