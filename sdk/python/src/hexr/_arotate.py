"""Rotating a secret, on asyncio or trio."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from ._api import transient
from ._atransport import AsyncTransport
from ._rotation import CLEAN, Plan, Rotated, generated, rejected, unless_false
from ._secret import Secret
from .errors import HexrError, VerifyError

AsyncGenerate = Callable[[], str | bytes | Awaitable[str | bytes]]
AsyncVerify = Callable[[Secret], object]  # coroutine functions, too


async def rotate(transport: AsyncTransport, plan: Plan, generate: AsyncGenerate, verify: AsyncVerify | None) -> Rotated:
    plan.holds(await transport.call(plan.begin()))
    work = _Work(transport, plan, generate, verify)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(work.keep, plan.lease / 3)
            await work.run()
            group.cancel_scope.cancel()
        if work.done is None:
            raise work.failed or HexrError("the rotation ended early")
        return work.done
    except BaseException:
        with anyio.CancelScope(shield=True), contextlib.suppress(HexrError):
            await transport.call(plan.abort(), CLEAN)
        raise


class _Work:
    """The steps, with their result or failure as attributes: a task group would wrap what is
    raised."""

    def __init__(self, transport: AsyncTransport, plan: Plan, generate: AsyncGenerate, verify: AsyncVerify | None) -> None:
        self._transport, self._plan, self._generate, self._verify = transport, plan, generate, verify
        self._scope = anyio.CancelScope()
        self.done: Rotated | None = None
        self.failed: Exception | None = None

    async def keep(self, pause: float) -> None:
        """Keeps the lease; ends the work when it is lost."""
        while True:
            await anyio.sleep(pause)
            try:
                await self._transport.call(self._plan.keep())
            except HexrError as err:
                if not transient(err):
                    self.failed = err.with_traceback(None)
                    self._scope.cancel()
                    return

    async def run(self) -> None:
        with self._scope:
            try:
                self.done = await self._finish()
            except Exception as err:
                self.failed = self.failed or err

    async def _finish(self) -> Rotated:
        call, plan = self._transport.call, self._plan
        if plan.resumed:
            with contextlib.suppress(HexrError):  # a new version is needed then; a provisioner reads none
                await self._test(await call(plan.left()))
                return await call(plan.commit())
        secret = generated(plan.path, await result(self._generate()))
        if isinstance(secret, HexrError):
            raise secret
        request = plan.stage(secret)
        await self._test(plan.staged(secret, await call(request)))
        return await call(plan.commit())

    async def _test(self, secret: Secret) -> None:
        failed: VerifyError | None = None
        if self._verify is not None:
            try:
                failed = unless_false(await result(self._verify(secret)), secret.path)
            except Exception as err:
                failed = rejected(err, secret.path)
        if failed is not None:
            raise failed


async def result(given: Any) -> Any:
    return await given if inspect.isawaitable(given) else given
