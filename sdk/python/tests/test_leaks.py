"""A sentinel is searched for in everything that programs, tests and observers print.

Where the docs (docs/python.md, "What can't be promised") name a place, it is asserted to be
there, so that the docs stay true.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import pprint
import subprocess
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import pytest

from hexr import (
    AsyncVaultClient,
    HexrError,
    Secret,
    VaultClient,
    hexr_agent,
)
from hexr import (
    vault as functions,
)
from hexr.vault import secrets_batch

SENTINEL = "sk-sentinel-5d1c7e"


def dump(err: BaseException, *, ours_only: bool) -> str:
    """All that a traceback with locals and a frame capture as Sentry's would send, along
    the chain of exceptions. ours_only leaves out the frames of the test itself."""
    text = "".join(traceback.TracebackException.from_exception(err, capture_locals=True).format()) if not ours_only else ""
    seen: set[int] = set()
    chain: list[BaseException | None] = [err]
    while chain:
        one = chain.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        text += repr(one) + str(one) + repr(one.args) + repr(vars(one))
        tb: TracebackType | None = one.__traceback__
        while tb is not None:
            if not (ours_only and tb.tb_frame.f_code.co_filename == __file__):
                text += "".join(f"{name}={render(value)}\n" for name, value in tb.tb_frame.f_locals.items())
            tb = tb.tb_next
        chain += [one.__cause__, one.__context__]
    return text


def render(value: object, depth: int = 4) -> str:
    """As observers do: into containers and attributes, by repr at the end."""
    if depth and isinstance(value, dict):
        return "".join(render(k, depth - 1) + render(v, depth - 1) for k, v in value.items())
    if depth and isinstance(value, (list, tuple, set)):
        return "".join(render(v, depth - 1) for v in value)
    return repr(value)


@pytest.fixture
def secret(vault: VaultClient) -> Secret:
    vault.put("K", SENTINEL, metadata={"owner": "ann"})
    return vault.get_secret("K")


def test_a_secret_in_text(secret: Secret, caplog: pytest.LogCaptureFixture) -> None:
    holder = {"a": [secret]}
    texts = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>20}",
        "%s %r" % (secret, secret),
        repr(holder),
        pprint.pformat(holder),
    ]
    logging.getLogger("x").warning("it is %s", secret)
    logging.getLogger("x").warning("it is %(a)s", holder)
    texts.append(caplog.text)
    texts.append(json.dumps(holder, default=str))
    assert SENTINEL not in "".join(texts)
    assert "[redacted]" in caplog.text


def test_a_secret_is_not_serialised(secret: Secret) -> None:
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret, default=vars)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps([secret], protocol)
    assert copy.deepcopy([secret])[0] is secret
    assert secret == copy.copy(secret)
    assert secret != Secret("K", "other")


CASES: list[Callable[[Any], Any]] = [
    lambda v: v.put("bad path", SENTINEL),
    lambda v: v.put("K", SENTINEL, expected_version=77),
    lambda v: v.put("K", SENTINEL, scope="spiffe://hexr.cloud/agent/other/agent/*"),
    lambda v: v.put("K", SENTINEL.encode() + b"x" * (1 << 20)),
    lambda v: v.put("K", SENTINEL, metadata={"a": "b" * 1000}),
    lambda v: v.put("K", SENTINEL, metadata=3),
    lambda v: v.put_json("bad path", {"a": SENTINEL}),
    lambda v: v.put_json("K", {"a": SENTINEL, "b": object()}),
    lambda v: v.get_json("K"),
    lambda v: v.get("RAW"),
]


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("kind", ["sync", "async", "module"])
def test_errors_and_their_frames(vault: VaultClient, kind: str, case: int) -> None:
    vault.put("K", SENTINEL)
    vault.put("RAW", SENTINEL.encode() + b"\xff")
    if kind == "async":

        async def main() -> None:
            async with AsyncVaultClient() as client:
                await CASES[case](client)

        with pytest.raises(HexrError) as caught:
            asyncio.run(main())
    else:
        with pytest.raises(HexrError) as caught:
            CASES[case](vault if kind == "sync" else functions)
    assert SENTINEL not in dump(caught.value, ours_only=False)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_errors_of_the_network(become: Callable[..., str], agent: str, kind: str) -> None:
    become(agent)
    if kind == "sync":
        with pytest.raises(HexrError) as caught:
            VaultClient("https://127.0.0.1:9", timeout=0.3).put("K", SENTINEL)
    else:

        async def main() -> None:
            async with AsyncVaultClient("https://127.0.0.1:9", timeout=0.3) as client:
                await client.put("K", SENTINEL)

        with pytest.raises(HexrError) as caught:
            asyncio.run(main())
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert SENTINEL not in dump(caught.value, ours_only=False)


@pytest.mark.parametrize("order", ["agent outside", "agent inside"])
def test_a_failing_body_shows_its_own_frame_alone(vault: VaultClient, agent: str, order: str) -> None:
    """The docs name it: an injected str is a variable of the function's own frame."""
    vault.put("K", SENTINEL)
    tenant, _, name = agent.partition("/")
    decorators = [secrets_batch(["K"]), hexr_agent(name=name, tenant=tenant)]

    def body(K: str) -> None:
        raise ValueError("of the body")

    def wrapped(K: Secret) -> None:
        raise ValueError("of the body")

    for function, own in ((body, True), (wrapped, False)):
        main: Any = function
        for decorate in decorators if order == "agent outside" else reversed(decorators):
            main = decorate(main)
        with pytest.raises(ValueError, match="of the body") as caught:
            main()
        assert SENTINEL not in dump(caught.value, ours_only=True)
        assert (SENTINEL in dump(caught.value, ours_only=False)) is own


def test_logs_of_every_library(vault: VaultClient, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG: neither values nor paths."""
    with caplog.at_level(logging.DEBUG):
        vault.put("UNSEEN_PATH", SENTINEL)
        vault.get("UNSEEN_PATH")
        vault.get_many(["UNSEEN_PATH"])
        vault.get_or_default("UNSEEN_TOO", "d")

        async def main() -> None:
            async with AsyncVaultClient() as client:
                await client.get("UNSEEN_PATH")

        asyncio.run(main())
    assert caplog.records  # httpcore does log
    assert SENTINEL not in caplog.text
    assert "UNSEEN" not in caplog.text


def test_objects(vault: VaultClient) -> None:
    with VaultClient(cache_ttl=600) as cached:
        cached.put("K", SENTINEL)
        cached.get("K")
        objects = [cached, cached._cache, cached._transport, cached._cache._entries, vars(cached._cache)]
        assert SENTINEL not in "".join(render(o) for o in objects)


def test_showlocals(vault: VaultClient, pytester: pytest.Pytester) -> None:
    vault.put("K", SENTINEL)
    pytester.makepyfile(
        """
        from hexr.vault import VaultClient, secrets_batch
        from hexr import Secret

        def test_secret():
            vault = VaultClient()
            secret = vault.get_secret("K")
            held = {"a": [secret]}
            assert vault.get("K") == "no"

        @secrets_batch(["K"])
        def test_injected(K: Secret):
            assert K is None

        def test_put():
            VaultClient().put("K", VaultClient().get("K"), expected_version=9)
        """
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--showlocals", "-p", "no:cacheprovider", "-vv", "--assert=plain"],
        capture_output=True,
        text=True,
        cwd=pytester.path,
        check=False,
    )
    assert "3 failed" in done.stdout
    assert SENTINEL not in done.stdout + done.stderr
