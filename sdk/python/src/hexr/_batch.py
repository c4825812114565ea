"""@secrets_batch: secrets as parameters that nobody sees."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from typing import Any, TypeVar, cast

from ._call import Call, of_kind
from ._secret import Secret

R = TypeVar("R")


def secrets_batch(*paths: str | Iterable[str]) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Gives a function the secrets of these paths as parameters: ``db/host`` as ``db_host``.

    They are fetched in one round trip before the body, at each call; BatchError with all
    that are missing or denied otherwise. A parameter annotated ``Secret`` gets the wrapped
    type, ``bytes`` bytes, any other a ``str``. The signature that others see has none of them.
    Takes functions, coroutine functions, generator functions and asynchronous ones.
    """
    flat = [path for given in paths for path in ([given] if isinstance(given, str) else given)]
    return inject({re.sub(r"[/.-]", "_", path): path for path in flat}, len(flat))


def inject(paths: Mapping[str, str], count: int | None = None) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """The decorator, by the names of the parameters."""
    if count is not None and count != len(paths):
        raise TypeError("two of the paths give the same parameter: use inject_secrets(name=path)")

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        return _Injection(function, paths).wrapper()

    return decorate


class _Injection:
    """What it takes to call a function with secrets."""

    def __init__(self, function: Callable[..., Any], paths: Mapping[str, str]) -> None:
        self.function, self.paths = function, dict(paths)
        whole = inspect.signature(function)
        rest = any(p.kind is p.VAR_KEYWORD for p in whole.parameters.values())
        positional = any(p.kind is p.VAR_POSITIONAL for p in whole.parameters.values())
        for name in paths:
            parameter = whole.parameters.get(name)
            if parameter is None and not rest:
                raise TypeError(f"the function has no parameter {name} for its secret")
            if parameter is not None and (
                parameter.kind is parameter.POSITIONAL_ONLY or (positional and parameter.kind is not parameter.KEYWORD_ONLY)
            ):
                raise TypeError(f"make the parameter {name} keyword-only: put it behind `*`")
        self.visible = whole.replace(parameters=[p for p in whole.parameters.values() if p.name not in paths])
        self.by_position = positional
        self.kinds = {name: _kind(function, name) for name in paths}

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], secrets: Mapping[str, Secret]) -> Call:
        """The call with everything. TypeError where it does not fit the visible signature."""
        bound = self.visible.bind(*args, **kwargs)
        if not self.by_position:  # secrets may stand between: what has a name goes by name
            args, kwargs = (), {}
            for name, value in bound.arguments.items():
                kind = self.visible.parameters[name].kind
                if kind is inspect.Parameter.POSITIONAL_ONLY:
                    args += (value,)
                elif kind is inspect.Parameter.VAR_KEYWORD:
                    kwargs |= value
                else:
                    kwargs[name] = value
        values = {name: self.kinds[name](secrets[path]) for name, path in self.paths.items()}
        return Call(self.function, args, kwargs | values)

    def wrapper(self) -> Callable[..., Any]:
        from ._default import async_client, client

        paths = list(self.paths.values())

        def sync(*args: Any, **kwargs: Any) -> Any:
            return self.call(args, kwargs, client().get_secrets(paths))()

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            return await self.call(args, kwargs, await async_client().get_secrets(paths))()

        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            body: Generator[Any, Any, Any] = self.call(args, kwargs, client().get_secrets(paths))()
            return (yield from body)

        async def async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
            call = self.call(args, kwargs, await async_client().get_secrets(paths))
            async for item in call():
                yield item

        return self._disguise(of_kind(self.function, sync, coroutine, generator, async_generator))

    def _disguise(self, wrapper: Any) -> Callable[..., Any]:
        """Makes it look like the function without its secrets. There is no __wrapped__: what
        makes schemas of tools would follow it."""
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(wrapper, name, getattr(self.function, name, None))
        wrapper.__dict__.update({k: v for k, v in vars(self.function).items() if k != "__wrapped__"})
        wrapper.__signature__ = self.visible
        wrapper.__annotations__ = {
            name: kind for name, kind in getattr(self.function, "__annotations__", {}).items() if name not in self.paths
        }
        return cast(Callable[..., Any], wrapper)


def _kind(function: Callable[..., Any], name: str) -> Callable[[Secret], Any]:
    """What a secret becomes for that parameter."""
    try:
        annotation = typing.get_type_hints(inspect.unwrap(function)).get(name)
    except Exception:  # a name that only a type checker knows: the text has to do
        annotation = getattr(function, "__annotations__", {}).get(name)
    wanted = {a if isinstance(a, str) else getattr(a, "__name__", "") for a in (*typing.get_args(annotation), annotation)}
    if any(w.rpartition(".")[2] == "Secret" for w in wanted):
        return _whole
    return Secret.reveal_bytes if "bytes" in wanted else Secret.reveal


def _whole(secret: Secret) -> Secret:
    return secret
