"""Watches: each change once, in order, whatever happens to nodes, processes and threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from hexr import AccessDeniedError, AsyncVaultClient, InvalidRequestError, ThrottledError, VaultClient
from hexr._events import Change, Course, Query
from hexr._spiffe import Declared
from hexr._wire import Shared
from hexr.errors import HexrError, UnavailableError
from hexr.testing import DevCluster

from .test_processes import in_child


@pytest.fixture(scope="module")
def shaky() -> Iterator[DevCluster]:
    with DevCluster(nodes=3) as cluster:
        yield cluster


def test_changes_come_once_and_in_order(vault: VaultClient) -> None:
    vault.put("K", "before")
    with vault.watch() as watch:
        vault.put("K", "v")
        vault.put("L", "v")
        vault.delete("K")
        vault.undelete("K")
        seen = [next(watch) for _ in range(4)]
    assert [(c.kind, c.path, c.version) for c in seen] == [
        ("put", "K", 2),
        ("put", "L", 1),
        ("delete", "K", 2),
        ("undelete", "K", 2),
    ]
    assert all(c.scope.endswith("/*") and c.time is not None for c in seen)
    assert sorted(c.index for c in seen) == [c.index for c in seen]
    assert list(watch) == []  # closed
    with vault.watch(path="K", after=seen[0].cursor) as again:
        assert [next(again) for _ in range(2)] == seen[2:]
    with vault.watch("L") as other:
        vault.put("K", "w")
        vault.put("L", "w")
        assert next(other).path == "L"


def test_bookmarks_and_cursors(vault: VaultClient) -> None:
    watch = vault.watch(bookmarks=True)
    first = next(watch)
    assert (first.kind, watch.cursor) == ("bookmark", first.cursor)
    assert next(watch).kind == "bookmark"
    assert vault.watch(bookmarks=True).__enter__().__next__().kind in ("bookmark", "resync")
    vault.close()
    assert list(watch) == []


def test_wrong_queries(vault: VaultClient) -> None:
    with pytest.raises(InvalidRequestError):
        vault.watch("a", path="b")
    with pytest.raises(InvalidRequestError):
        vault.watch(path="../x")
    with pytest.raises(InvalidRequestError):
        next(vault.watch(after="no cursor"))
    with pytest.raises((AccessDeniedError, InvalidRequestError)):
        next(vault.watch(scope="spiffe://other.example/agent/acme/x/*"))


def test_another_thread_ends_it(vault: VaultClient) -> None:
    watch = vault.watch()
    watch.__enter__()
    seen: list[Change] = []
    thread = threading.Thread(target=lambda: seen.extend(watch))
    thread.start()
    vault.put("K", "v")
    while not seen and thread.is_alive():
        thread.join(0.01)
    watch.close()
    thread.join(5)  # less than the silence after which it would look by itself
    assert not thread.is_alive()
    assert [c.path for c in seen] == ["K"]


def test_a_child_goes_on_by_itself(vault: VaultClient) -> None:
    with vault.watch() as watch:
        vault.put("K", "1")
        assert next(watch).version == 1
        vault.put("K", "2")
        assert in_child(lambda: next(watch).version) == "2"
        vault.put("K", "3")
        assert [next(watch).version, next(watch).version] == [2, 3]  # the parent's is unharmed


def test_asynchronous(become: Callable[..., str], agent: str) -> None:
    become(agent)

    async def main() -> None:
        async with AsyncVaultClient() as vault:
            async with vault.watch() as watch:
                await vault.put("K", "v")
                assert (await anext(watch)).version == 1
                with pytest.raises(asyncio.TimeoutError):  # a wait that is given up loses nothing
                    await asyncio.wait_for(anext(watch), 0.05)
                await vault.put("K", "w")
                assert (await anext(watch)).version == 2
                rest = asyncio.ensure_future(anext(watch, None))
                await asyncio.sleep(0)
            assert await rest is None  # closed by another task

    asyncio.run(main())


def test_no_gap_and_no_duplicate_while_nodes_die(shaky: DevCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch of each kind of client, with nodes killed under it."""
    seen: list[int] = []
    seen_async: list[int] = []
    errors: list[BaseException] = []
    begun = [threading.Event(), threading.Event()]

    def watch() -> None:
        with VaultClient() as vault, vault.watch(path="K") as changes:
            begun[0].set()
            for change in changes:
                if change.kind == "delete":
                    return
                seen.append(change.version)

    async def watch_async() -> None:
        async with AsyncVaultClient() as vault, vault.watch(path="K") as changes:
            begun[1].set()
            async for change in changes:
                if change.kind == "delete":
                    return
                seen_async.append(change.version)

    def guarded(what: Callable[[], None]) -> None:
        try:
            what()
        except BaseException as err:
            errors.append(err)

    with shaky.identity("acme/watcher") as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        threads = [
            threading.Thread(target=guarded, args=(target,), daemon=True)
            for target in (watch, lambda: asyncio.run(watch_async()))
        ]
        for thread in threads:
            thread.start()
        for event in begun:
            assert event.wait(30)
        with VaultClient() as vault:
            for _ in range(2):
                victim = shaky.kill("leader")
                for _ in range(10):
                    vault.put("K", "v")
                shaky.start_node(victim)
            vault.delete("K")
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    assert errors == []
    assert seen == seen_async == list(range(1, 21))


def test_a_node_that_hangs_is_left(shaky: DevCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with shaky.identity("acme/hung") as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        with VaultClient() as vault, vault.watch() as watch:
            victim = shaky.kill("leader", signal="STOP")
            try:
                vault.put("K", "v")
                assert next(watch).version == 1
            finally:
                shaky.kill(victim, signal="CONT")


def test_a_renewed_svid_goes_on(cluster: DevCluster, become: Callable[..., str], agent: str) -> None:
    """An SVID of 3 s ends under the watch."""
    become(agent, svid_ttl="3s")
    with VaultClient() as vault, vault.watch() as watch:
        shared = watch._transport
        before, version = shared.svid, 0
        while shared.svid is before:
            assert vault.put("K", "v") == version + 1
            version = next(watch).version
            assert version == vault.versions("K")[-1].version


def test_a_blocked_agent_is_told(cluster: DevCluster, become: Callable[..., str], agent: str) -> None:
    become(agent)
    with VaultClient() as vault, vault.watch() as watch:
        done = cluster.run("/hexr/operator/ann", cluster.program, "block", f"agent/{agent}")
        assert done.returncode == 0, done.stderr
        with pytest.raises(AccessDeniedError) as denied:
            next(watch)
        assert denied.value.reason == "BLOCKED"
        assert list(watch) == []


def course(after: str = "") -> Course:
    return Course(Query(), Shared((("a", 1), ("b", 2)), Declared(), 30.0), after, False)


def event(kind: str, cursor: str, path: str = "") -> bytes:
    data = f'{{"type":"{kind}","cursor":"{cursor}","index":1,"time":"2026-11-25T10:00:00.1Z","path":"{path}"}}'
    return f"id: {cursor}\nevent: {kind}\ndata: {data}\n\n".encode()


def test_what_was_not_shown_is_asked_for_again() -> None:
    c = course()
    request, _ = c.request()
    assert request.target == "/v1/watch"
    stream = event("bookmark", "1") + event("put", "2", "K") + event("put", "3", "L")
    for i in range(len(stream)):  # however it is cut
        assert c.feed(stream[i : i + 1]) is None
    shown = c.take()
    assert isinstance(shown, Change) and shown.path == "K"
    assert isinstance(c.feed(b""), UnavailableError)
    assert c.request()[0].target == "/v1/watch?after=2"
    assert c.take() is None
    assert c.feed(event("resync", "9")) is None
    shown = c.take()
    assert isinstance(shown, Change) and shown.kind == "resync" and c.cursor == "9"


def test_endings() -> None:
    c = course()
    for err in (HexrError("no", reason="BLOCKED"), ThrottledError("no", reason="TOO_MANY_STREAMS")):
        c.request()
        with pytest.raises(HexrError):  # before it has begun there is nothing to go on with
            c.pause(err)
    assert c.feed(event("bookmark", "1")) is None
    assert c.take() is None
    for reason in ("SLOW_CONSUMER", "TOO_MANY_STREAMS", "STOPPING", "NO_LEADER", "SVID_EXPIRED"):
        data = f'{{"error":{{"code":"UNAVAILABLE","reason":"{reason}","message":"no","request_id":""}}}}'
        c.request()
        assert c.feed(f"event: error\ndata: {data}\n\n".encode()) is None
        err = c.take()
        assert isinstance(err, HexrError) and err.reason == reason
        assert 0 < c.pause(err) <= 3
    c.request()
    assert c.feed(b"data: {}\n\n") is None
    odd = c.take()
    assert isinstance(odd, HexrError)
    with pytest.raises(HexrError):
        c.pause(odd)
