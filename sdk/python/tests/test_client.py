"""What the two clients do, against three nodes."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import trio

import hexr
from hexr import (
    AccessDeniedError,
    AsyncVaultClient,
    BatchError,
    InvalidRequestError,
    NotFoundError,
    Secret,
    UnavailableError,
    VaultClient,
    VersionConflictError,
    errors,
)
from hexr.testing import DevCluster


class Blocking:
    """The asynchronous client, as the blocking one."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = AsyncVaultClient()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.client, name)
        return lambda *args, **kwargs: self.loop.run_until_complete(method(*args, **kwargs))

    def shut(self) -> None:
        self.loop.run_until_complete(self.client.close())
        self.loop.close()


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, become: Callable[..., str], agent: str) -> Iterator[Any]:
    become(agent)
    if request.param == "sync":
        with VaultClient() as c:
            yield c
        return
    blocking = Blocking()
    yield blocking
    blocking.shut()


def test_put_and_get(client: Any) -> None:
    assert client.put("api-keys/openai", "sk-one", metadata={"owner": "ann"}) == 1
    assert client.put("api-keys/openai", "sk-two ☃\x00") == 2
    assert client.get("api-keys/openai") == "sk-two ☃\x00"
    first = client.get_secret("api-keys/openai", version=1)
    assert (first.reveal(), first.value, first.version, first.metadata) == ("sk-one", "sk-one", 1, {"owner": "ann"})
    assert first.path == "api-keys/openai"
    assert first.scope.endswith("/*")
    assert datetime.now(timezone.utc) - first.created_at < timedelta(minutes=5)
    assert [v.version for v in client.versions("api-keys/openai")] == [1, 2]


def test_bytes_and_json(client: Any) -> None:
    client.put("raw", b"\xff\x00")
    assert client.get_bytes("raw") == b"\xff\x00"
    with pytest.raises(InvalidRequestError, match="get_bytes"):
        client.get("raw")
    client.put_json("conf", {"a": [1, None, "x"]})
    assert client.get_json("conf") == {"a": [1, None, "x"]}
    with pytest.raises(InvalidRequestError, match="not JSON"):
        client.get_json("raw")
    with pytest.raises(InvalidRequestError, match="JSON"):
        client.put_json("conf", object())


def test_compare_and_set(client: Any) -> None:
    assert client.put("K", "a", expected_version=0) == 1
    with pytest.raises(VersionConflictError) as conflict:
        client.put("K", "b", expected_version=0)
    assert conflict.value.reason == "VERSION_CONFLICT"
    assert client.put("K", "b", expected_version=1) == 2


def test_delete_and_undelete(client: Any) -> None:
    client.put("K", "a")
    assert client.exists("K")
    client.delete("K")
    assert not client.exists("K")
    with pytest.raises(NotFoundError):
        client.get("K")
    assert client.undelete("K") == 1
    assert client.get("K") == "a"


def test_list_has_all_pages(client: Any) -> None:
    assert client.list() == []
    for name in ("b/1", "b/2", "a"):
        client.put(name, "x")
    assert client.list() == ["a", "b/1", "b/2"]
    assert client.list("b/") == ["b/1", "b/2"]


def test_missing(client: Any) -> None:
    assert not client.exists("nothing")
    assert client.get_or_default("nothing", "fallback") == "fallback"
    with pytest.raises(errors.SecretNotFoundError) as missing:
        client.get("nothing")
    assert (missing.value.code, missing.value.path) == ("NOT_FOUND", "nothing")
    assert len(missing.value.request_id) == 32
    assert "nothing" not in str(missing.value).split()[1:]  # its message begins with that word


def test_get_many(client: Any) -> None:
    names = [f"n/{i}" for i in range(120)]  # more than one batch takes
    for name in names[:3]:
        client.put(name, name.upper())
    assert client.get_many(names[:3]) == {n: n.upper() for n in names[:3]}
    with pytest.raises(BatchError) as missing:
        client.get_many(names)
    assert set(missing.value.missing) == set(names[3:])
    assert isinstance(missing.value, NotFoundError)


def test_health(client: Any) -> None:
    assert client.health() == {"status": "ok"}


@pytest.mark.parametrize("path", ["", "a//b", "../x", "a b", "é", "x" * 513, "a?b", "a:undelete"])
def test_bad_paths(client: Any, path: str) -> None:
    with pytest.raises(InvalidRequestError, match="path"):
        client.get(path)
    with pytest.raises(InvalidRequestError, match="path"):
        client.put(path, "v")


def test_bad_values(client: Any) -> None:
    for value in ("\ud800", 7, None):
        with pytest.raises(InvalidRequestError, match="value"):
            client.put("K", value)
    with pytest.raises(InvalidRequestError):
        client.put("K", "v", metadata=3)
    with pytest.raises(InvalidRequestError):
        client.put("K", "x" * (2 << 20))


def test_scopes(cluster: DevCluster, become: Callable[..., str], agent: str) -> None:
    become(f"{agent}/main")
    with VaultClient() as main:
        main.put("SHARED", "s")
        main.put("OWN", "o", scope="researcher")
        with pytest.raises(AccessDeniedError):
            main.get("OWN")  # its supervisor may write, not read
    become(f"{agent}/researcher")
    with VaultClient() as researcher:
        assert researcher.get_many(["SHARED", "OWN"]) == {"SHARED": "s", "OWN": "o"}
        assert researcher.get_secret("OWN").scope.endswith("/researcher")
    become(f"{agent}/writer")
    with VaultClient() as writer:
        assert writer.get("SHARED") == "s"
        with pytest.raises(errors.PolicyDeniedError):
            writer.get("OWN")
        with pytest.raises(BatchError) as batch:
            writer.get_many(["SHARED", "OWN", "NONE"])
        assert (batch.value.denied, batch.value.missing) == (("OWN",), ("NONE",))
        assert isinstance(batch.value, AccessDeniedError)
        with pytest.raises(AccessDeniedError):
            writer.exists("OWN")


def test_functions_of_the_module(become: Callable[..., str], agent: str) -> None:
    become(agent)
    v = hexr.vault
    assert v.put("K", "a") == 1
    assert v.get("K") == "a"
    assert v.put_json("J", [1]) == 1
    assert v.get_json("J") == [1]
    assert v.get_bytes("K") == b"a"
    assert isinstance(v.get_secret("K"), Secret)
    assert v.get_or_default("none", "d") == "d"
    assert v.get_many(["K"]) == {"K": "a"}
    assert v.list_secrets() == ["J", "K"]
    assert v.exists("K")
    assert [one.version for one in v.versions("K")] == [1]
    v.delete("K")
    assert v.undelete("K") == 1
    assert v.health() == {"status": "ok"}
    assert v.get_client() is v.get_client()


def test_both_clients_have_the_same_methods() -> None:
    def surface(cls: type) -> dict[str, str]:
        members = inspect.getmembers(cls, inspect.isfunction)
        named = ((n, m) for n, m in members if (not n.startswith("__") or n == "__init__") and n != "run")
        return {n: str(inspect.signature(m)).replace("Async", "") for n, m in named}

    assert surface(VaultClient) == surface(AsyncVaultClient)


def test_nobody_there(become: Callable[..., str], agent: str) -> None:
    become(agent)
    with VaultClient("https://127.0.0.1:9", timeout=0.5) as client:
        with pytest.raises(UnavailableError, match="HEXR_ADDR"):
            client.get("K")
        with pytest.raises(UnavailableError):  # a vault that can't be reached has no default
            client.get_or_default("K", "d")


@pytest.mark.parametrize("url", ["http://a:1", "https://", "a", "https://u@a:1", "https://a/x", "a:b", "https://a:1?x"])
def test_bad_addresses(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="https://node"):
        VaultClient(url)


def test_no_address() -> None:
    with pytest.raises(InvalidRequestError, match="HEXR_ADDR"):
        VaultClient()


def test_vault_url_is_read_after_addr(become: Callable[..., str], agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    become(agent)
    monkeypatch.setenv("HEXR_ADDR", "")
    with VaultClient() as client:
        assert client.health() == {"status": "ok"}
    with pytest.raises(InvalidRequestError, match="verify_ssl"):
        VaultClient(verify_ssl=False)


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")  # of the loops that ended
def test_one_async_client_over_event_loops(become: Callable[..., str], agent: str) -> None:
    become(agent)
    client = AsyncVaultClient()
    for _ in range(2):
        assert asyncio.run(client.health()) == {"status": "ok"}

    async def close() -> None:
        assert await client.exists("K") is False
        await client.close()

    asyncio.run(close())
    gc.collect()


def test_on_trio(become: Callable[..., str], agent: str) -> None:
    become(agent)

    async def main() -> str:
        async with AsyncVaultClient(cache_ttl=600) as client:
            await client.put("K", "v")
            await client.get("K")
            return await client.get("K")

    assert trio.run(main) == "v"
