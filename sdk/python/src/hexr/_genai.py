"""OpenTelemetry's GenAI conventions: what a span says about a request and its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

_REQUEST = {
    "model": "gen_ai.request.model",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
}


def request_attributes(kwargs: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Of a call's arguments those that the conventions name, and no others."""
    return {
        name: kwargs[argument]
        for argument, name in _REQUEST.items()
        if isinstance(kwargs.get(argument), (str, int, float)) and not isinstance(kwargs[argument], bool)
    }


@dataclass
class Facts:
    """What an answer, or the pieces of a stream, say about themselves."""

    attributes: dict[str, str | int] = field(default_factory=dict[str, "str | int"])
    finish_reasons: list[str] = field(default_factory=list[str])
    text: list[str] = field(default_factory=list[str])

    def observe(self, piece: Any) -> None:
        """Takes a response, a chunk or an event of the client libraries of OpenAI and Anthropic."""
        for attribute, names in (("model", ("model",)), ("id", ("id",))):
            value = _first(piece, names)
            if isinstance(value, str) and value:
                self.attributes[f"gen_ai.response.{attribute}"] = value
        self._usage(getattr(piece, "usage", None))
        self._finish(getattr(piece, "stop_reason", None))
        for choice in getattr(piece, "choices", None) or ():
            self._finish(getattr(choice, "finish_reason", None))
            for part in (getattr(choice, "message", None), getattr(choice, "delta", None)):
                self._say(getattr(part, "content", None))
        for block in _blocks(piece):
            self._say(getattr(block, "text", None))
        for inner in ("message", "response"):  # events of streams
            nested = getattr(piece, inner, None)
            if nested is not None and not callable(nested):
                self.observe(nested)
        delta = getattr(piece, "delta", None)
        if isinstance(delta, str):
            self._say(delta)
        elif delta is not None:
            self._finish(getattr(delta, "stop_reason", None))
            self._say(getattr(delta, "text", None))

    def _usage(self, usage: Any) -> None:
        for side, names in (
            ("input", ("input_tokens", "prompt_tokens")),
            ("output", ("output_tokens", "completion_tokens")),
        ):
            count = _first(usage, names)
            if isinstance(count, int):
                self.attributes[f"gen_ai.usage.{side}_tokens"] = count

    def _finish(self, reason: Any) -> None:
        if isinstance(reason, str) and reason:
            self.finish_reasons.append(reason)

    def _say(self, text: Any) -> None:
        if isinstance(text, str):
            self.text.append(text)


def _blocks(piece: Any) -> list[Any]:
    """The content of Anthropic's messages, and of OpenAI's responses."""
    blocks = list(getattr(piece, "content", None) or ()) if not isinstance(getattr(piece, "content", None), str) else []
    for item in getattr(piece, "output", None) or ():
        blocks += getattr(item, "content", None) or ()
    return blocks


def _first(obj: Any, names: tuple[str, ...]) -> Any:
    return next((v for v in (getattr(obj, name, None) for name in names) if v is not None), None)


def input_messages(kwargs: Mapping[str, Any]) -> str:
    """The messages of a request as the conventions write them; of their content the text."""
    given: Any = kwargs.get("messages", kwargs.get("input", ""))
    messages: list[Any] = [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
    if kwargs.get("system"):
        messages.insert(0, {"role": "system", "content": kwargs["system"]})
    return json.dumps([_message(_field(m, "role") or "user", _plain(_field(m, "content"))) for m in messages])


def output_messages(facts: Facts) -> str:
    """The answer as the conventions write it."""
    message = _message("assistant", "".join(facts.text))
    return json.dumps([message | {"finish_reason": facts.finish_reasons[-1] if facts.finish_reasons else ""}])


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def _field(obj: Any, name: str) -> Any:
    """Client libraries take dicts, and objects of their own."""
    return cast(Mapping[str, Any], obj).get(name) if isinstance(obj, Mapping) else getattr(obj, name, None)


def _plain(content: Any) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    return "".join(str(_field(part, "text") or "") for part in content)
