"""hexr_llm: a model's answer with the key from the vault, or a client whose calls are spans."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload
from urllib.parse import urlsplit

from ._genai import Facts
from ._llm_proxy import LLMProxy
from .errors import HexrError, InvalidRequestError, ProviderError

if TYPE_CHECKING:
    from ._client import VaultClient


@dataclass(frozen=True)
class Answer:
    """What a model said. ``raw`` is the client library's own response."""

    text: str
    model: str
    id: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    raw: Any = field(repr=False, compare=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class _Provider:
    name: str
    secret: str
    base_url: str
    ask: Callable[..., Any]


def _openai(options: dict[str, Any], system: str | None, messages: list[Any], request: dict[str, Any]) -> Any:
    import openai

    if system is not None:
        messages = [{"role": "system", "content": system}, *messages]
    http = openai.DefaultHttpxClient(follow_redirects=False, trust_env=options.pop("trust_env"))
    with LLMProxy(openai.OpenAI(http_client=http, **options), None, _capture(request)) as client:
        return client.chat.completions.create(messages=messages, **request)


def _anthropic(options: dict[str, Any], system: str | None, messages: list[Any], request: dict[str, Any]) -> Any:
    import anthropic

    if system is not None:
        request["system"] = system
    request.setdefault("max_tokens", 1024)
    http = anthropic.DefaultHttpxClient(follow_redirects=False, trust_env=options.pop("trust_env"))
    # Its own spans would stand beside ours, and capture what it was told to.
    library = anthropic.Anthropic(http_client=http, open_telemetry=False, **options)
    with LLMProxy(library, None, _capture(request)) as client:
        return client.messages.create(messages=messages, **request)


def _capture(request: dict[str, Any]) -> bool:
    return bool(request.pop("capture_content", False))


# Base URLs as they were when hexr was imported: who can change the environment of a running
# program later, or a prompt that makes it do so, gets no keys sent elsewhere.
_PROVIDERS = {
    "openai": _Provider(
        "openai", "OPENAI_API_KEY", os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1", _openai
    ),
    "anthropic": _Provider(
        "anthropic", "ANTHROPIC_API_KEY", os.environ.get("ANTHROPIC_BASE_URL") or "https://api.anthropic.com", _anthropic
    ),
}


@overload
def hexr_llm(client: Any, *, provider: str | None = None, capture_content: bool = False) -> Any: ...
@overload
def hexr_llm(
    *,
    provider: str,
    model: str,
    prompt: str | None = None,
    messages: Sequence[Mapping[str, Any]] | None = None,
    system: str | None = None,
    secret: str | None = None,
    base_url: str | None = None,
    timeout: float = 120.0,
    capture_content: bool = False,
    vault: VaultClient | None = None,
    **options: Any,
) -> Answer: ...
def hexr_llm(
    client: Any = None,
    *,
    provider: str | None = None,
    model: str | None = None,
    prompt: str | None = None,
    messages: Sequence[Mapping[str, Any]] | None = None,
    system: str | None = None,
    secret: str | None = None,
    base_url: str | None = None,
    timeout: float = 120.0,
    capture_content: bool = False,
    vault: VaultClient | None = None,
    **options: Any,
) -> Any:
    """Asks a model: ``provider`` is openai or anthropic, whose client library (an extra of this
    package) sends the request with the key that the vault has under the provider's usual name,
    or under ``secret``; never one from the environment. ``options`` are the library's own.
    The base URL is ``base_url``, else the provider's usual variable as it was when hexr was
    imported; https except on loopback, and redirects are not followed. ProviderError.

    Or wraps a client: ``client = hexr_llm(openai.OpenAI(api_key=...))``.

    Each call is a span by OpenTelemetry's GenAI conventions. Prompts and answers are in it
    with ``capture_content`` alone.
    """
    if client is not None:
        if isinstance(client, LLMProxy):
            return client
        return LLMProxy(client, provider, capture_content)
    if provider not in _PROVIDERS:
        raise InvalidRequestError(f"provider is one of {', '.join(_PROVIDERS)}; others: hexr_llm(client)")
    if model is None or (prompt is None) == (messages is None):
        raise InvalidRequestError("hexr_llm needs a model, and either a prompt or messages")
    said = [{"role": "user", "content": prompt}] if messages is None else [dict(m) for m in messages]
    chosen = _PROVIDERS[provider]
    request = {"model": model, "capture_content": capture_content, **options}
    result = _ask(chosen, base_url or chosen.base_url, secret or chosen.secret, timeout, vault, (system, said, request))
    if isinstance(result, HexrError):
        raise result
    return _answer(result)


def _ask(
    provider: _Provider,
    base_url: str,
    secret: str,
    timeout: float,
    vault: VaultClient | None,
    what: tuple[str | None, list[Any], dict[str, Any]],
) -> Any | HexrError:
    """The error is returned: the frames of what the client library raises hold the key."""
    from ._default import client

    try:
        trusted = _check_url(base_url)
        key = (vault or client()).get(secret)
        return provider.ask({"api_key": key, "base_url": base_url, "timeout": timeout, "trust_env": not trusted}, *what)
    except HexrError as err:
        return err.with_traceback(None)
    except ImportError:
        return InvalidRequestError(f"the client library is missing: pip install 'hexrd[{provider.name}]'")
    except TypeError:
        return InvalidRequestError("the client library does not take these arguments")
    except Exception as err:
        return _failed(provider.name, err)


def _failed(provider: str, err: Exception) -> ProviderError:
    """What the provider says stays out: it may quote the key or the prompt."""
    kind, status = type(err).__qualname__, getattr(err, "status_code", 0)
    request_id = str(getattr(err, "request_id", "") or "")
    said = f"answered {status}" if status else "did not answer"
    return ProviderError(
        f"{provider} {said} ({kind})",
        status=status,
        kind=kind,
        request_id=request_id if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", request_id) else "",
    )


def _check_url(url: str) -> bool:
    """Refuses what would send a key in clear; whether it is this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not host or parts.username or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise InvalidRequestError("the provider's base URL must be https, or http on this machine")
    return local


def _answer(raw: Any) -> Answer:
    facts = Facts()
    facts.observe(raw)
    get = facts.attributes.get
    return Answer(
        text="".join(facts.text),
        model=str(get("gen_ai.response.model", "")),
        id=str(get("gen_ai.response.id", "")),
        finish_reason=facts.finish_reasons[-1] if facts.finish_reasons else "",
        input_tokens=int(get("gen_ai.usage.input_tokens", 0)),
        output_tokens=int(get("gen_ai.usage.output_tokens", 0)),
        raw=raw,
    )
