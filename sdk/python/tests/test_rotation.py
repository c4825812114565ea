"""Rotations: readers always have a valid version, whoever dies on the way."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import random
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
import trio

from hexr import AsyncVaultClient, InvalidRequestError, NotFoundError, RotatingError, Secret, VaultClient, VerifyError
from hexr import vault as functions
from hexr.testing import DevCluster
from hexr.vault import Rotated, Rotator, generators

from .test_processes import in_child

SENTINEL = "rotation-sentinel-3391"


def test_generators() -> None:
    assert len({generators.password(12)() for _ in range(50)}) == 50
    assert set(generators.password(500, "ab")()) == {"a", "b"}
    assert len(base64.urlsafe_b64decode(generators.key(32)() + "=")) == 32
    assert len(generators.raw_key(16)()) == 16
    for wrong in (
        lambda: generators.password(7),
        lambda: generators.password(8, "aa"),
        lambda: generators.key(15),
        lambda: generators.raw_key(1 << 17),
    ):
        with pytest.raises(InvalidRequestError):
            wrong()


def test_rotate(vault: VaultClient) -> None:
    vault.put("K", "old", metadata={"owner": "me"})
    told: list[Rotated] = []

    def verify(secret: Secret) -> None:
        assert (secret.reveal(), secret.version, secret.path) == ("new", 2, "K")
        assert vault.get("K") == "old"  # for everybody else
        assert [v.version for v in vault.versions("K") if v.pending] == [2]

    rotated = vault.rotate("K", lambda: "new", verify, grace="1h", on_rotate=told.append)
    assert told == [rotated]
    assert (rotated.version, rotated.previous, rotated.resumed) == (2, 1, False)
    assert rotated.previous_until is not None
    secret = vault.get_secret("K")
    assert (secret.reveal(), secret.version, secret.metadata) == ("new", 2, {"owner": "me"})
    assert vault.get_secret("K", version=1).reveal() == "old"
    assert [v.expires_at is None for v in vault.versions("K")] == [False, True]
    assert functions.rotate("K", generators.raw_key(16), grace=0, metadata={"owner": "you"}).version == 3
    assert vault.get_secret("K").metadata == {"owner": "you"}
    with pytest.raises(InvalidRequestError):
        vault.rotate("K", lambda: 1, lease=1)  # type: ignore[arg-type, return-value]
    with pytest.raises(NotFoundError):
        vault.rotate("none", generators.key())


@pytest.mark.parametrize("how", ["raises", "says so"])
def test_what_fails_its_test_is_discarded(vault: VaultClient, how: str) -> None:
    vault.put("K", "old")

    def verify(secret: Secret) -> bool:
        if how == "raises":
            raise ConnectionError(f"can't log in with {secret.reveal()}")
        return False

    with pytest.raises(VerifyError) as failed:
        vault.rotate("K", lambda: SENTINEL, verify)
    assert failed.value.kind == ("ConnectionError" if how == "raises" else "AssertionError")
    assert SENTINEL not in repr(failed.value) and failed.value.__context__ is None
    assert vault.get_secret("K").version == 1
    assert [v.version for v in vault.versions("K") if not v.destroyed] == [1]
    assert vault.rotate("K", lambda: "new").version == 3  # nobody has to wait for the lease


@pytest.mark.parametrize("asynchronous", [False, True])
def test_no_frame_of_ours_holds_the_value(vault: VaultClient, asynchronous: bool) -> None:
    vault.put("K", "old")

    def fail(secret: Secret) -> None:
        raise ValueError(secret.reveal())

    class Odd:
        def __repr__(self) -> str:
            return SENTINEL

    def put(_: Secret) -> None:
        vault.put("K", "put")

    def rotate(*args: Any, **kwargs: Any) -> None:
        async def main() -> None:
            async with AsyncVaultClient() as client:
                await client.rotate(*args, **kwargs)

        if asynchronous:
            asyncio.run(main())
        else:
            vault.rotate(*args, **kwargs)

    for generate, verify, metadata in (
        (lambda: SENTINEL, fail, None),
        (lambda: SENTINEL, put, None),
        (lambda: SENTINEL, None, {"no": 1}),
        (Odd, None, None),
    ):
        with pytest.raises(functions.VaultError) as failed:
            rotate("K", generate, verify, metadata=metadata)
        assert failed.value.__cause__ is None and failed.value.__context__ is None
        frames = [frame for frame, _ in traceback.walk_tb(failed.value.__traceback__)]
        ours = [frame for frame in frames if "/hexr/_" in frame.f_code.co_filename]
        assert ours
        assert not any(SENTINEL in repr(value) for frame in ours for value in frame.f_locals.values())


def test_one_rotator_at_a_time_for_as_long_as_it_takes(vault: VaultClient) -> None:
    vault.put("K", "old")

    def verify(_: Secret) -> None:
        end = time.monotonic() + 2.5  # the lease is kept over it
        with VaultClient() as other:
            while time.monotonic() < end:
                with pytest.raises(RotatingError):
                    other.rotate("K", lambda: "other")

    assert vault.rotate("K", lambda: "new", verify, lease=1.5).version == 2
    assert vault.get("K") == "new"


def test_asynchronous(become: Callable[..., str], agent: str) -> None:
    become(agent)

    async def main() -> None:
        async with AsyncVaultClient() as vault:
            await vault.put("K", "old")
            told: list[Rotated] = []

            async def generate() -> str:
                return "new"

            async def verify(secret: Secret) -> bool:
                end = time.monotonic() + 2
                while time.monotonic() < end:
                    with pytest.raises(RotatingError):
                        await vault.rotate("K", generate)
                return secret.reveal() == "new" and await vault.get("K") == "old"

            async def on_rotate(rotated: Rotated) -> None:
                told.append(rotated)

            rotated = await vault.rotate("K", generate, verify, on_rotate=on_rotate, lease=1.5)
            assert told == [rotated] and rotated.version == 2
            with pytest.raises(VerifyError):
                await vault.rotate("K", generators.key(), lambda _: False)
            with pytest.raises(ZeroDivisionError):
                await vault.rotate("K", lambda: str(1 / 0))
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(vault.rotate("K", generate, lambda _: asyncio.sleep(600)), 0.5)
            assert (await vault.rotate("K", generate)).resumed is False
            assert await vault.get("K") == "new"

    asyncio.run(main())


def test_on_trio(become: Callable[..., str], agent: str) -> None:
    become(agent)

    async def main() -> None:
        async with AsyncVaultClient(cache_ttl=600) as vault:
            await vault.put("K", "old")
            assert await vault.get("K") == "old"
            async with vault.watch(path="K") as watch:
                with pytest.raises(VerifyError):
                    await vault.rotate("K", lambda: "bad", lambda _: False)
                await vault.rotate("K", lambda: "new")
                assert (await anext(aiter(watch))).kind in ("destroy", "rotate")
                with trio.move_on_after(0.05):
                    async for _ in watch:
                        pass
                await vault.put("K", "put")
                async for change in watch:
                    if change.kind == "put":
                        break
            assert await vault.get("K") == "put"

    trio.run(main)


def test_a_put_in_between_stays(vault: VaultClient) -> None:
    vault.put("K", "old")
    with pytest.raises(functions.VaultError) as conflict:
        vault.rotate("K", lambda: "new", lambda _: vault.put("K", "put"))
    assert conflict.value.reason == "VERSION_CONFLICT"
    assert vault.get("K") == "put"


def eventually(what: Callable[[], Any]) -> None:
    for _ in range(3000):
        if what():
            return
        threading.Event().wait(0.01)
    raise AssertionError("not within 30 s")


def test_what_a_dead_rotator_left_is_finished(vault: VaultClient) -> None:
    vault.put("K", "old")
    for good in (True, False):
        before = vault.get_secret("K").version
        in_child(lambda: vault.rotate("K", lambda: "left", lambda _: os._exit(0), lease=1))
        assert vault.get_secret("K").version == before
        made: list[Rotated] = []

        def verify(secret: Secret, good: bool = good) -> bool:
            return good or secret.reveal() != "left"

        def again(made: list[Rotated] = made) -> bool:
            try:
                made.append(vault.rotate("K", lambda: "new", verify))  # noqa: B023
            except RotatingError:  # the lease of the dead
                return False
            return True

        eventually(again)
        assert (made[0].resumed, vault.get("K")) == ((True, "left") if good else (False, "new"))
        assert not any(v.pending for v in vault.versions("K"))


def test_schedules(vault: VaultClient) -> None:
    vault.put("K", "v", rotation="90d")
    assert vault.list(overdue=True) == functions.list_secrets(overdue=True) == []
    assert vault.set_rotation("K", "1h30m") is not None
    assert vault.set_rotation("K", 0) is None
    with pytest.raises(InvalidRequestError):
        vault.put("K", "v", rotation="soon")


def test_the_rotator_rotates_what_is_due(vault: VaultClient, caplog: pytest.LogCaptureFixture) -> None:
    """One hears that a secret is overdue, its first try fails; another, as in a process that
    starts later, finds what is, and both may rotate."""
    vault.put("heard", "v", rotation="1s")
    vault.put("found", "v", rotation="1s")
    done: list[Rotated] = []
    errors: list[Exception] = []
    failing = ["heard"]

    def verify(secret: Secret) -> None:
        if secret.path in failing:
            failing.remove(secret.path)
            raise ValueError(secret.reveal())

    def on_rotate(rotated: Rotated) -> None:
        vault.set_rotation(rotated.path, "90d")
        done.append(rotated)

    def make(*paths: str) -> Rotator:
        rotator = Rotator(vault, on_rotate=on_rotate, on_error=errors.append)
        for path in paths:
            rotator.add(path, lambda: SENTINEL, verify)
        return rotator

    with caplog.at_level(logging.DEBUG, "hexr"), make("heard") as first:
        eventually(lambda: "found" in vault.list(overdue=True))
        with make("heard", "found"):
            eventually(lambda: {r.path for r in done} == {"heard", "found"})
        with pytest.raises(InvalidRequestError):
            first.add("late", generators.key())
    assert vault.get("heard") == vault.get("found") == SENTINEL
    assert vault.list(overdue=True) == []
    assert [type(err) for err in errors] == [VerifyError]
    assert "VerifyError" in caplog.text
    assert "heard" not in caplog.text and SENTINEL not in caplog.text
    live = [v.version for v in vault.versions("found") if not v.destroyed]
    assert len(live) == 1 + sum(r.path == "found" for r in done)


ROTATOR = """
import sys
from hexr.vault import RotatingError, VaultClient, generators

def step(*_):
    print("step", flush=True)

vault = VaultClient(timeout=60)
while True:
    step()
    try:
        made = generators.key()
        vault.rotate("K", lambda: (step(), made())[1], step, on_rotate=step, lease=1, grace="1h")
    except RotatingError:
        pass
"""


def test_rotators_and_nodes_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """At random points: a reader never fails and never goes back, and the end is one version."""
    seed = random.randrange(1 << 32)
    logging.getLogger(__name__).warning("seed %d", seed)  # shown where it fails
    chance = random.Random(seed)
    errors: list[BaseException] = []
    seen: list[int] = [0]
    done = threading.Event()

    def read() -> None:
        try:
            with VaultClient() as vault:
                while not done.is_set():
                    secret = vault.get_secret("K")
                    assert secret.version >= seen[-1] and secret.reveal()
                    if secret.version > seen[-1]:
                        seen.append(secret.version)
        except BaseException as err:
            errors.append(err)

    with DevCluster(nodes=3) as shaky, shaky.identity("acme/rotated") as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        with VaultClient(timeout=60) as vault:
            vault.put("K", "first")
            reader = threading.Thread(target=read)
            reader.start()
            try:
                for number in range(8):
                    victim = shaky.kill("leader") if number % 4 == 1 else ""
                    rotate_and_die(chance.randrange(1, 9), chance.random() * 0.02)
                    if victim:
                        shaky.start_node(victim)
                final = finish(vault)
            finally:
                done.set()
                reader.join()
            assert errors == []
            assert len(seen) > 2
            assert vault.get_secret("K").version == final.version
            kept = [v for v in vault.versions("K") if not v.destroyed]
            assert [v.version for v in kept if v.current] == [final.version]
            assert not any(v.pending for v in kept)
            assert [v.version for v in kept if v.expires_at is None] == [final.version]


def rotate_and_die(steps: int, late: float) -> None:
    """A process that rotates, and is killed a moment after so many steps."""
    with subprocess.Popen([sys.executable, "-c", ROTATOR], stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None
        try:
            for _ in range(steps):
                assert process.stdout.readline() == b"step\n"
            time.sleep(late)
        finally:
            process.kill()


def finish(vault: VaultClient) -> Rotated:
    end = time.monotonic() + 60
    while True:
        try:
            return vault.rotate("K", lambda: "last", grace="1h")
        except RotatingError:  # a lease of the dead
            assert time.monotonic() < end
