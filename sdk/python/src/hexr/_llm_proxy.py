"""hexr_llm(client): a model's client whose calls are spans."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from . import _genai, _telemetry
from ._call import Call
from ._secret import REDACTED

# The calls that are spans, by where they stand in a client, and their operation.
_OPERATIONS: dict[tuple[str, ...], str] = {
    ("chat", "completions", "create"): "chat",
    ("responses", "create"): "chat",
    ("messages", "create"): "chat",
    ("completions", "create"): "text_completion",
    ("embeddings", "create"): "embeddings",
}
_PREFIXES = {path[:i] for path in _OPERATIONS for i in range(1, len(path))}
_COPIES = ("with_options", "copy")


class LLMProxy:
    """A client that behaves as the one it wraps."""

    def __init__(self, target: Any, provider: str | None, capture_content: bool, path: tuple[str, ...] = ()) -> None:
        self._target, self._path = target, path
        self.provider = provider or _provider(target)
        self.capture = capture_content

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        path = (*self._path, name)
        if path in _OPERATIONS:
            return self._spanned(value, _OPERATIONS[path])
        if path in _PREFIXES:
            return LLMProxy(value, self.provider, self.capture, path)
        if not self._path and name in _COPIES:
            return self._copied(value)
        return value

    def __repr__(self) -> str:
        return f"<hexr_llm {self.provider}>"

    def _copied(self, make: Callable[..., Any]) -> Callable[..., LLMProxy]:
        def copy(*args: Any, **kwargs: Any) -> LLMProxy:
            return LLMProxy(make(*args, **kwargs), self.provider, self.capture)

        return copy

    def __enter__(self) -> LLMProxy:
        self._target.__enter__()
        return self

    def __exit__(self, *exc: Any) -> Any:
        return self._target.__exit__(*exc)

    async def __aenter__(self) -> LLMProxy:
        await self._target.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> Any:
        return await self._target.__aexit__(*exc)

    def _spanned(self, method: Callable[..., Any], operation: str) -> Callable[..., Any]:
        def create(*args: Any, **kwargs: Any) -> Any:
            observed = _Observed(self, operation, kwargs)
            call = Call(method, args, kwargs)
            del args, kwargs
            with observed:
                result = call()
            if inspect.isawaitable(result):
                return observed.awaited(result)
            return observed.answered(result)

        return create

    def address(self) -> dict[str, str | int]:
        client = getattr(self._target, "_client", self._target)
        url = urlsplit(str(getattr(client, "base_url", "")))
        if not url.hostname:
            return {}
        return {"server.address": url.hostname, "server.port": url.port or (443 if url.scheme == "https" else 80)}

    def hide(self, text: str) -> str:
        """The text without the client's key, which people do paste into prompts."""
        client = getattr(self._target, "_client", self._target)
        key = getattr(client, "api_key", None)
        return text.replace(key, REDACTED) if isinstance(key, str) and key else text


def _provider(client: Any) -> str:
    name = type(client).__name__.removeprefix("Async")
    if name.startswith("Azure"):
        return "azure.ai.openai"
    return type(client).__module__.partition(".")[0]


class _Observed:
    """One call and its span, which ends with the answer or with the last piece of a stream."""

    def __init__(self, proxy: LLMProxy, operation: str, kwargs: dict[str, Any]) -> None:
        request = _genai.request_attributes(kwargs)
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": proxy.provider,
            **request,
            **proxy.address(),
        }
        self._proxy, self._facts, self._capture = proxy, _genai.Facts(), proxy.capture
        if self._capture:
            attributes["gen_ai.input.messages"] = proxy.hide(_genai.input_messages(kwargs))
        model = request.get("gen_ai.request.model", "")
        self._span = _telemetry.start(f"{operation} {model}".strip(), attributes, client=True)
        self._current = _telemetry.active(self._span)

    def __enter__(self) -> None:
        self._current = _telemetry.active(self._span)
        self._current.__enter__()

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        self._current.__exit__(None, None, None)
        if kind is not None:
            self.end(kind)

    async def awaited(self, result: Any) -> Any:
        with self:
            answer = await result
        return self.answered(answer)

    def answered(self, result: Any) -> Any:
        if hasattr(result, "__anext__"):
            return _AsyncStream(result, self)
        if hasattr(result, "__next__"):
            return _Stream(result, self)
        self._facts.observe(result)
        self.end()
        return result

    def piece(self, piece: Any) -> Any:
        self._facts.observe(piece)
        return piece

    def end(self, error: type[BaseException] | None = None) -> None:
        span, self._span = self._span, None
        if span is None:
            return
        span.set_attributes(self._facts.attributes)
        if self._facts.finish_reasons:
            span.set_attribute("gen_ai.response.finish_reasons", self._facts.finish_reasons)
        if self._capture:
            span.set_attribute("gen_ai.output.messages", self._proxy.hide(_genai.output_messages(self._facts)))
        if error is not None:
            _telemetry.fail(span, error.__qualname__)
        span.end()


class _Stream:
    """A stream of the client library, observed."""

    def __init__(self, inner: Any, observed: _Observed) -> None:
        self._inner, self._observed = inner, observed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._observed.piece(next(self._inner))
        except StopIteration:
            self._observed.end()
            raise
        except BaseException as err:
            self._observed.end(type(err))
            raise

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        self.close(kind)

    def close(self, kind: type[BaseException] | None = None) -> None:
        self._observed.end(kind)
        self._inner.close()


class _AsyncStream:
    """As _Stream."""

    def __init__(self, inner: Any, observed: _Observed) -> None:
        self._inner, self._observed = inner, observed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return self._observed.piece(await self._inner.__anext__())
        except StopAsyncIteration:
            self._observed.end()
            raise
        except BaseException as err:
            self._observed.end(type(err))
            raise

    async def __aenter__(self) -> _AsyncStream:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        await self.close(kind)

    async def close(self, kind: type[BaseException] | None = None) -> None:
        self._observed.end(kind)
        await self._inner.close()
