"""@hexr_agent: which agent a function or class is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from . import _context, _telemetry
from ._call import Call, of_kind
from ._context import Agent

F = TypeVar("F", bound=Callable[..., Any])


def hexr_agent(name: str, tenant: str, role: str | None = None, **metadata: Any) -> Callable[[F], F]:
    """Declares that a function, a coroutine function or a class is an agent.

    When it is called, the process's SVID must be that agent's (and, with ``role``, that of
    this process of it): IdentityError otherwise. ``VaultClient()`` in it uses that
    SVID, and the call is a span ``invoke_agent NAME``. What else is given (resources, regions,
    description, ...) is kept in ``__hexr_agent__.metadata``.
    """
    agent = Agent(name, tenant, role or "", metadata)

    def decorate(target: F) -> F:
        wrapped: Any = _class(agent, target) if inspect.isclass(target) else _wrap(agent, target)
        wrapped.__hexr_agent__ = agent
        return cast(F, wrapped)

    return decorate


def _check(agent: Agent) -> None:
    from . import _identity
    from ._client import declare

    with _context.entered(agent):
        _identity.source().svid(declare(None, True))


def _wrap(agent: Agent, function: Callable[..., Any], *, check: bool = True) -> Callable[..., Any]:
    """The function as the agent, of the kind that it is."""

    def sync(*args: Any, **kwargs: Any) -> Any:
        call = Call(function, args, kwargs)
        del args, kwargs  # they may hold what a caller must not see in a traceback
        if check:
            _check(agent)
        with _as(agent):
            return call()

    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        call = Call(function, args, kwargs)
        del args, kwargs
        if check:
            await _check_async(agent)
        with _as(agent):
            return await call()

    def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call = Call(function, args, kwargs)
        del args, kwargs
        if check:
            _check(agent)
        with _as(agent):
            body: Generator[Any, Any, Any] = call()
            return (yield from body)

    async def async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
        call = Call(function, args, kwargs)
        del args, kwargs
        if check:
            await _check_async(agent)
        with _as(agent):
            async for item in call():
                yield item

    return functools.wraps(function)(of_kind(function, sync, coroutine, generator, async_generator))


async def _check_async(agent: Agent) -> None:
    import anyio.to_thread

    await anyio.to_thread.run_sync(_check, agent)


def _class(agent: Agent, cls: type[Any]) -> type[Any]:
    """The identity is checked when an object is made; its public methods run as the agent."""
    members = cast(dict[str, object], dict(vars(cls)))
    for name, member in members.items():
        if inspect.isfunction(member) and (not name.startswith("_") or name == "__call__"):
            setattr(cls, name, _wrap(agent, member, check=False))
    cls.__init__ = _wrap(agent, cls.__init__)
    return cls


@contextmanager
def _as(agent: Agent) -> Generator[None]:
    """Runs the body as the agent, in a span; within itself an agent is entered once."""
    if _context.is_here(agent):
        yield
        return
    with _context.entered(agent):
        span = _telemetry.start(
            f"invoke_agent {agent.name}",
            {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": agent.name},
        )
        try:
            with _telemetry.active(span):
                yield
        except BaseException as err:
            _telemetry.fail(span, type(err).__qualname__)
            raise
        finally:
            if span is not None:
                span.end()
