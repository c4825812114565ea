"""The agent that the running code is."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from ._spiffe import Declared


@dataclass(frozen=True)
class Agent:
    """What @hexr_agent declares."""

    name: str
    tenant: str
    role: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any], compare=False)

    def declared(self) -> Declared:
        return Declared(self.tenant, self.name, self.role)


_current: ContextVar[Agent | None] = ContextVar("hexr_agent", default=None)
_running: list[Agent] = []  # in all threads; appending and removing are atomic


def current() -> Agent | None:
    """The agent of this context; in a thread of its own the process's, where that runs one
    agent alone."""
    agent = _current.get()
    if agent is None:
        distinct = set(_running)
        agent = distinct.pop() if len(distinct) == 1 else None
    return agent


def is_here(agent: Agent) -> bool:
    """Whether this very context runs as that agent already."""
    return _current.get() == agent


@contextmanager
def entered(agent: Agent) -> Generator[None]:
    """Runs the body as that agent. A generator may leave it in another context."""
    before = _current.get()
    _current.set(agent)
    _running.append(agent)
    try:
        yield
    finally:
        _running.remove(agent)
        _current.set(before)
