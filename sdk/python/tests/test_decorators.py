"""@hexr_agent, @secrets_batch and the decorators beside them."""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Optional

import pytest

from hexr import (
    AsyncVaultClient,
    BatchError,
    HexrError,
    IdentityError,
    NotFoundError,
    Secret,
    VaultClient,
    _context,
    hexr_agent,
)
from hexr import (
    vault as functions,
)
from hexr.vault import SecretProperty, inject_secrets, secret, secrets_batch, with_vault


@pytest.fixture(autouse=True)
def keys(become: Callable[..., str], agent: str) -> None:
    become(agent)
    functions.put("OPENAI_API_KEY", "sk-open")
    functions.put("db/pass-word.v1", "pw")


def declared(agent: str) -> dict[str, str]:
    tenant, _, name = agent.partition("/")
    return {"name": name, "tenant": tenant}


# secrets_batch


def test_sync() -> None:
    @secrets_batch(["OPENAI_API_KEY", "db/pass-word.v1"])
    def f(a: int, OPENAI_API_KEY: str, b: int = 2, *, db_pass_word_v1: str, c: int = 3) -> Any:
        """Doc."""
        return a, OPENAI_API_KEY, b, db_pass_word_v1, c

    assert f(1) == (1, "sk-open", 2, "pw", 3)
    assert f(1, 20, c=30) == (1, "sk-open", 20, "pw", 30)  # by position past the secret
    assert (f.__name__, f.__doc__) == ("f", "Doc.")
    assert list(inspect.signature(f).parameters) == ["a", "b", "c"]
    assert set(typing.get_type_hints(f)) == {"a", "b", "c", "return"}
    assert not hasattr(f, "__wrapped__")
    with pytest.raises(TypeError):
        f(1, OPENAI_API_KEY="of a caller")


def test_several_arguments_and_kinds() -> None:
    @secrets_batch("OPENAI_API_KEY", "db/pass-word.v1")
    def f(*args: int, OPENAI_API_KEY: Secret, db_pass_word_v1: bytes, **rest: int) -> Any:
        return args, OPENAI_API_KEY, db_pass_word_v1, rest

    args, wrapped, raw, rest = f(1, 2, x=3)
    assert (args, raw, rest) == ((1, 2), b"pw", {"x": 3})
    assert isinstance(wrapped, Secret)
    assert (wrapped.reveal(), wrapped.path) == ("sk-open", "OPENAI_API_KEY")


def test_optional_secret_annotation() -> None:
    @secrets_batch(["OPENAI_API_KEY"])
    def f(OPENAI_API_KEY: Optional[Secret] = None) -> Any:  # noqa: UP045
        return OPENAI_API_KEY

    assert f().reveal() == "sk-open"


def test_rest_takes_secrets() -> None:
    @secrets_batch(["OPENAI_API_KEY"])
    def f(**rest: str) -> Any:
        return rest

    assert f() == {"OPENAI_API_KEY": "sk-open"}


def test_coroutines_and_generators() -> None:
    batch = secrets_batch(["OPENAI_API_KEY"])

    @batch
    async def coroutine(OPENAI_API_KEY: str) -> str:
        return OPENAI_API_KEY

    @batch
    def generator(n: int, OPENAI_API_KEY: str) -> Iterator[str]:
        for _ in range(n):
            yield OPENAI_API_KEY

    @batch
    async def async_generator(n: int, OPENAI_API_KEY: str) -> AsyncIterator[str]:
        for _ in range(n):
            yield OPENAI_API_KEY

    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(async_generator)

    async def main() -> None:
        assert await coroutine() == "sk-open"
        assert [item async for item in async_generator(2)] == ["sk-open"] * 2
        from hexr import _default

        await _default.async_client().close()

    asyncio.run(main())
    assert list(generator(2)) == ["sk-open"] * 2


def test_all_that_is_missing_before_the_body() -> None:
    ran: list[int] = []

    @secrets_batch(["OPENAI_API_KEY", "NONE", "also/none"])
    def f(OPENAI_API_KEY: str, NONE: str, also_none: str) -> None:
        ran.append(1)

    with pytest.raises(BatchError, match="not found: NONE, also/none") as missing:
        f()
    assert missing.value.missing == ("NONE", "also/none")
    assert ran == []


def test_one_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    from hexr._transport import Transport

    calls: list[str] = []
    call = Transport.call

    def count(self: Any, request: Any) -> Any:
        calls.append(request.target)
        return call(self, request)

    monkeypatch.setattr(Transport, "call", count)

    @secrets_batch(["OPENAI_API_KEY", "db/pass-word.v1"])
    def f(OPENAI_API_KEY: str, db_pass_word_v1: str) -> None:
        pass

    f()
    assert calls == ["/v1/secrets:batchGet"]


def test_wrong_use_is_said_at_once() -> None:
    with pytest.raises(TypeError, match="no parameter KEY"):
        secrets_batch(["KEY"])(lambda: None)
    with pytest.raises(TypeError, match="same parameter"):
        secrets_batch(["a/b", "a-b"])

    def positional(KEY: str, /) -> None: ...
    def before_args(KEY: str, *args: str) -> None: ...

    for function in (positional, before_args):
        with pytest.raises(TypeError, match="keyword-only"):
            secrets_batch(["KEY"])(function)


def test_methods() -> None:
    class Tool:
        @secrets_batch(["OPENAI_API_KEY"])
        def run(self, query: str, OPENAI_API_KEY: str) -> Any:
            return self, query, OPENAI_API_KEY

    tool = Tool()
    assert tool.run("q") == (tool, "q", "sk-open")


# The decorators beside it


def test_inject_secrets() -> None:
    @inject_secrets(key="OPENAI_API_KEY", password="db/pass-word.v1")
    def f(n: int, key: str, password: str) -> Any:
        return n, key, password

    assert f(1) == (1, "sk-open", "pw")


def test_secret() -> None:
    @secret("OPENAI_API_KEY")
    def key() -> str: ...

    @secret("none", required=False, default="fallback")
    def optional() -> str: ...

    @secret("none")
    def missing() -> str: ...

    @secret("conf", as_json=True)
    def conf() -> Any: ...

    @secret("OPENAI_API_KEY")
    async def async_key() -> str: ...

    functions.put_json("conf", {"a": 1})
    assert (key(), optional(), conf()) == ("sk-open", "fallback", {"a": 1})
    with pytest.raises(NotFoundError):
        missing()

    async def main() -> str:
        from hexr import _default

        try:
            return await async_key()
        finally:
            await _default.async_client().close()

    assert asyncio.run(main()) == "sk-open"


def test_secret_property() -> None:
    class Config:
        key = SecretProperty("OPENAI_API_KEY")
        fresh = SecretProperty("OPENAI_API_KEY", cache=False)
        optional = SecretProperty("none", required=False, default="d")
        missing = SecretProperty("none")

    config = Config()
    assert (config.key, config.fresh, config.optional) == ("sk-open", "sk-open", "d")
    functions.put("OPENAI_API_KEY", "sk-2")
    assert (config.key, config.fresh, Config().key) == ("sk-open", "sk-2", "sk-2")
    type(config).__dict__["key"].invalidate_cache(config)
    assert config.key == "sk-2"
    with pytest.raises(NotFoundError):
        _ = config.missing
    with pytest.raises(AttributeError):
        config.key = "x"
    assert "sk-2" not in repr(vars(config))
    assert isinstance(Config.key, SecretProperty)


def test_with_vault() -> None:
    @with_vault
    def f(vault: VaultClient, path: str) -> str:
        return vault.get(path)

    assert f("OPENAI_API_KEY") == "sk-open"
    assert list(inspect.signature(f).parameters) == ["path"]


# hexr_agent


def test_agent_on_functions(agent: str) -> None:
    @hexr_agent(**declared(agent), resources=["s3:GetObject"], regions={"aws": "x"}, a2a=True, skills=[], version="1")
    def main(n: int) -> Any:
        current = _context.current()
        assert current is not None
        return n, current.name, VaultClient().get("OPENAI_API_KEY")

    assert main(1) == (1, declared(agent)["name"], "sk-open")
    assert main.__hexr_agent__.metadata["resources"] == ["s3:GetObject"]  # type: ignore[attr-defined]
    assert _context.current() is None


def test_agent_on_coroutines_and_generators(agent: str) -> None:
    @hexr_agent(**declared(agent))
    async def coroutine() -> Any:
        async with AsyncVaultClient() as vault:
            return _context.current() is not None, await vault.get("OPENAI_API_KEY")

    @hexr_agent(**declared(agent))
    def generator() -> Iterator[str]:
        yield VaultClient().get("OPENAI_API_KEY")

    @hexr_agent(**declared(agent))
    async def async_generator() -> AsyncIterator[bool]:
        yield _context.current() is not None

    async def collect() -> list[bool]:
        return [item async for item in async_generator()]

    assert asyncio.run(coroutine()) == (True, "sk-open")
    assert list(generator()) == ["sk-open"]
    assert asyncio.run(collect()) == [True]


def test_agent_on_classes(agent: str) -> None:
    @hexr_agent(**declared(agent), role="main")
    class Agent:
        def __init__(self, n: int) -> None:
            self.n = n

        def run(self) -> Any:
            return self.n, _context.current() is not None, VaultClient().get("OPENAI_API_KEY")

        async def arun(self) -> bool:
            return _context.current() is not None

    assert Agent(1).run() == (1, True, "sk-open")
    assert asyncio.run(Agent(1).arun()) is True
    assert _context.current() is None


@pytest.mark.parametrize("wrong", [{"name": "x"}, {"tenant": "x"}, {"role": "x"}])
def test_another_agent_is_refused_before_the_body(agent: str, wrong: dict[str, str]) -> None:
    ran: list[int] = []

    @hexr_agent(**{**declared(agent), **wrong})
    def main() -> None:
        ran.append(1)

    @hexr_agent(**{**declared(agent), **wrong})
    class Agent:
        pass

    for target in (main, Agent):
        with pytest.raises(IdentityError, match="not the declared"):
            target()
    assert ran == []


def test_both_orders(agent: str) -> None:
    @secrets_batch(["OPENAI_API_KEY"])
    @hexr_agent(**declared(agent))
    def outside(OPENAI_API_KEY: str) -> str:
        return OPENAI_API_KEY

    @hexr_agent(**declared(agent))
    @secrets_batch(["OPENAI_API_KEY"])
    def inside(OPENAI_API_KEY: str) -> str:
        return OPENAI_API_KEY

    assert outside() == inside() == "sk-open"
    assert list(inspect.signature(inside).parameters) == []


def test_errors_have_one_base() -> None:
    from hexr import errors

    kinds = [getattr(errors, name) for name in errors.__all__]
    assert all(issubclass(kind, HexrError) for kind in kinds)
