"""The decorators of Hexr's public vault interface, beside secrets_batch."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from ._batch import inject
from ._client import VaultClient
from ._default import async_client, client
from ._secret import Secret
from .errors import NotFoundError

P = ParamSpec("P")
R = TypeVar("R")


def inject_secrets(**paths: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """As secrets_batch, with names of one's own: ``@inject_secrets(key="api-keys/openai")``."""
    return inject(paths)


def secret(
    path: str, required: bool = True, default: Any = None, as_json: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Turns a function into a getter of the secret; its body is not run. Where there is none
    and it is not ``required``, it gives ``default``."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def getter(*args: Any, **kwargs: Any) -> Any:
            try:
                return client().get_json(path) if as_json else client().get(path)
            except NotFoundError:
                if required:
                    raise
                return default

        @functools.wraps(function)
        async def async_getter(*args: Any, **kwargs: Any) -> Any:
            try:
                return await (async_client().get_json(path) if as_json else async_client().get(path))
            except NotFoundError:
                if required:
                    raise
                return default

        return async_getter if inspect.iscoroutinefunction(function) else getter

    return decorate


class SecretProperty:
    """A class attribute that is read from the vault when an object is asked for it. It can't
    be set. With ``cache`` each object keeps what it got first."""

    def __init__(self, path: str, required: bool = True, default: str | None = None, cache: bool = True) -> None:
        self.path, self.required, self.default, self.cache = path, required, default, cache
        self._slot = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._slot = f"_hexr_{name}"

    @overload
    def __get__(self, obj: None, owner: type) -> SecretProperty: ...
    @overload
    def __get__(self, obj: object, owner: type | None = None) -> str: ...
    def __get__(self, obj: object | None, owner: type | None = None) -> Any:
        if obj is None:
            return self
        kept = vars(obj).get(self._slot)
        if isinstance(kept, Secret):
            return kept.reveal()
        try:
            found = client().get_secret(self.path)
        except NotFoundError:
            if self.required:
                raise
            return self.default
        if self.cache:
            vars(obj)[self._slot] = found  # not as text: objects are printed
        return found.reveal()

    def __set__(self, obj: object, value: object) -> None:
        raise AttributeError("a SecretProperty can't be set: put the secret into the vault")

    def invalidate_cache(self, obj: object) -> None:
        """Has the object ask again."""
        vars(obj).pop(self._slot, None)


def with_vault(function: Callable[Concatenate[VaultClient, P], R]) -> Callable[P, R]:
    """Gives a function the process's VaultClient as its first argument."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(client(), *args, **kwargs)

    wrapper.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined]
    return wrapper
