"""Calling on without leaving values in our own frames, where a traceback would show them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ._secret import REDACTED


class Call:
    """A call that is made later. It prints as [redacted]."""

    __slots__ = ("args", "function", "kwargs")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs

    def __call__(self) -> Any:
        return self.function(*self.args, **self.kwargs)

    def __repr__(self) -> str:
        return REDACTED


def of_kind(
    function: Callable[..., Any],
    sync: Callable[..., Any],
    coroutine: Callable[..., Any],
    generator: Callable[..., Any],
    async_generator: Callable[..., Any],
) -> Callable[..., Any]:
    """The one of the wrappers that is of the function's kind."""
    if inspect.isasyncgenfunction(function):
        return async_generator
    if inspect.iscoroutinefunction(function):
        return coroutine
    if inspect.isgeneratorfunction(function):
        return generator
    return sync
