"""hexr_llm with the real client libraries, against a server that speaks their wire format."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hexr import InvalidRequestError, NotFoundError, ProviderError, hexr_llm
from hexr import vault as functions

from .fakes import Provider, provider

KEY = "sk-sentinel-93b1"


@pytest.fixture(scope="session")
def exporter() -> InMemorySpanExporter:
    made = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(made))
    trace.set_tracer_provider(tracers)
    return made


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Callable[[], list[ReadableSpan]]:
    exporter.clear()
    return lambda: list(exporter.get_finished_spans())


@pytest.fixture
def server() -> Iterator[Provider]:
    with provider() as running:
        yield running


@pytest.fixture
def keys(become: Callable[..., str], agent: str) -> None:
    become(agent)
    functions.put("OPENAI_API_KEY", KEY)
    functions.put("ANTHROPIC_API_KEY", KEY)


Spans = Callable[[], list[ReadableSpan]]

ANSWERED = {
    "gen_ai.usage.input_tokens": 11,
    "gen_ai.usage.output_tokens": 4,
}


def test_openai(keys: None, server: Provider, spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of the environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")  # after the import: not heard
    answer = hexr_llm(
        provider="openai", model="gpt-4o", prompt="Hi", system="Be brief.", base_url=f"{server.url}/v1", temperature=0.5
    )
    assert (str(answer), answer.finish_reason, answer.input_tokens, answer.output_tokens) == ("All is well.", "stop", 11, 4)
    assert isinstance(answer.raw, openai.types.chat.ChatCompletion)
    (request,) = server.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "gpt-4o",
        "temperature": 0.5,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    }
    (span,) = spans()
    assert span.name == "chat gpt-4o"
    assert span.kind == trace.SpanKind.CLIENT
    assert dict(span.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.model": "gpt-4o-2024-08-06",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "server.address": "127.0.0.1",
        "server.port": int(server.url.rpartition(":")[2]),
        **ANSWERED,
    }


def test_anthropic(keys: None, server: Provider, spans: Spans) -> None:
    answer = hexr_llm(provider="anthropic", model="claude-test", prompt="Hi", system="Be brief.", base_url=server.url)
    assert (answer.text, answer.finish_reason, answer.model) == ("All is well.", "end_turn", "claude-test")
    (request,) = server.requests
    assert KEY in (request.headers.get("x-api-key"), request.headers.get("authorization", "").removeprefix("Bearer "))
    assert (request.body["system"], request.body["max_tokens"]) == ("Be brief.", 1024)
    (span,) = spans()
    attributes = dict(span.attributes or {})
    assert (span.name, attributes["gen_ai.provider.name"]) == ("chat claude-test", "anthropic")
    assert attributes.items() >= ANSWERED.items()


def test_another_secret_and_messages(keys: None, server: Provider) -> None:
    functions.put("team/key", "sk-team")
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    hexr_llm(provider="openai", model="m", messages=messages, secret="team/key", base_url=server.url)
    assert server.requests[0].headers["authorization"] == "Bearer sk-team"
    assert server.requests[0].body["messages"] == messages
    with pytest.raises(NotFoundError):
        hexr_llm(provider="openai", model="m", prompt="p", secret="none", base_url=server.url)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_errors_quote_nothing(keys: None, server: Provider, spans: Spans, name: str) -> None:
    server.status = 401
    with pytest.raises(ProviderError) as refused:
        hexr_llm(provider=name, model="m", prompt="p", base_url=server.url)
    assert (refused.value.status, refused.value.kind) == (401, "AuthenticationError")
    assert KEY not in str(refused.value)
    assert refused.value.__cause__ is refused.value.__context__ is None
    (span,) = spans()
    assert dict(span.attributes or {})["error.type"] == "AuthenticationError"
    assert (span.events, span.status.description) == ((), None)
    assert KEY not in span.to_json()


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_redirects_are_not_followed(keys: None, server: Provider, name: str) -> None:
    with provider() as elsewhere:
        server.location = f"{elsewhere.url}/v1/messages"
        with pytest.raises(ProviderError):
            hexr_llm(provider=name, model="m", prompt="p", base_url=server.url)
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    "url", ["http://example.com/v1", "http://10.0.0.1", "ftp://127.0.0.1", "https://u:p@example.com", "x"]
)
def test_keys_are_not_sent_in_clear(keys: None, url: str) -> None:
    with pytest.raises(InvalidRequestError, match="https"):
        hexr_llm(provider="openai", model="m", prompt="p", base_url=url)


def test_wrong_arguments(keys: None, server: Provider) -> None:
    for wrong in ({"provider": "other"}, {"model": None}, {"prompt": None}, {"messages": [{}]}):
        with pytest.raises(InvalidRequestError):
            hexr_llm(**{"provider": "openai", "model": "m", "prompt": "p", **wrong})
    with pytest.raises(InvalidRequestError, match="arguments"):
        hexr_llm(provider="openai", model="m", prompt="p", base_url=server.url, nonsense=1)


def test_wrapped_openai(server: Provider, spans: Spans) -> None:
    client = hexr_llm(openai.OpenAI(api_key=KEY, base_url=server.url))
    assert hexr_llm(client) is client
    message = [{"role": "user", "content": "Hi"}]
    client.chat.completions.create(model="gpt-4o", messages=message)
    client.responses.create(model="gpt-4o", input="Hi")
    client.embeddings.create(model="text-embedding-3-small", input="Hi")
    client.with_options(max_retries=0).chat.completions.create(model="gpt-4o", messages=message)
    pieces = list(client.chat.completions.create(model="gpt-4o", messages=message, stream=True))
    assert "".join(p.choices[0].delta.content for p in pieces) == "All is well."
    with client.chat.completions.create(model="gpt-4o", messages=message, stream=True) as stream:
        next(stream)  # left early
    names = [s.name for s in spans()]
    assert names == ["chat gpt-4o"] * 2 + ["embeddings text-embedding-3-small"] + ["chat gpt-4o"] * 3
    assert dict(spans()[1].attributes or {})["gen_ai.response.id"] == "resp_1"
    assert dict(spans()[4].attributes or {})["gen_ai.response.finish_reasons"] == ("stop",)
    assert "Hi" not in "".join(s.to_json() for s in spans())
    assert client.api_key == KEY
    assert KEY not in repr(client)


def test_wrapped_asynchronous_clients(server: Provider, spans: Spans) -> None:
    async def main() -> None:
        message: Any = [{"role": "user", "content": "Hi"}]
        async with hexr_llm(openai.AsyncOpenAI(api_key=KEY, base_url=server.url)) as client:
            answer = await client.chat.completions.create(model="gpt-4o", messages=message)
            assert answer.choices[0].message.content == "All is well."
        async with hexr_llm(anthropic.AsyncAnthropic(api_key=KEY, base_url=server.url)) as client:
            stream = await client.messages.create(model="c", max_tokens=9, messages=message, stream=True)
            assert [event.type async for event in stream][-1] == "message_stop"
            server.status = 400
            with pytest.raises(anthropic.BadRequestError):
                await client.messages.create(model="c", max_tokens=9, messages=message)

    asyncio.run(main())
    first, second, third = (s for s in spans() if s.instrumentation_scope and s.instrumentation_scope.name == "hexr")
    assert dict(first.attributes or {}).items() >= ANSWERED.items()
    assert dict(second.attributes or {}).items() >= ANSWERED.items()
    assert dict(third.attributes or {})["error.type"] == "BadRequestError"


def test_content_is_captured_when_asked_for_and_never_the_key(keys: None, server: Provider, spans: Spans) -> None:
    hexr_llm(
        provider="openai",
        model="m",
        prompt=f"My key is {KEY}",
        system="Be brief.",
        base_url=server.url,
        capture_content=True,
    )
    (span,) = spans()
    attributes = dict(span.attributes or {})
    said = json.loads(str(attributes["gen_ai.input.messages"]))
    assert [m["parts"][0]["content"] for m in said] == ["Be brief.", "My key is [redacted]"]
    (answered,) = json.loads(str(attributes["gen_ai.output.messages"]))
    assert answered == {"role": "assistant", "parts": [{"type": "text", "content": "All is well."}], "finish_reason": "stop"}


def test_the_agents_span_is_the_parent(become: Callable[..., str], agent: str, server: Provider, spans: Spans) -> None:
    from hexr import hexr_agent

    become(agent)
    functions.put("OPENAI_API_KEY", KEY)
    tenant, _, name = agent.partition("/")

    @hexr_agent(name=name, tenant=tenant)
    def main(fail: bool) -> str:
        hexr_llm(provider="openai", model="m", prompt="p", base_url=server.url)
        if fail:
            raise ValueError(KEY)
        return functions.get_secret("OPENAI_API_KEY").path

    main(False)
    call, whole = spans()
    assert (whole.name, whole.kind) == (f"invoke_agent {name}", trace.SpanKind.INTERNAL)
    assert call.parent is not None and call.parent.span_id == whole.context.span_id
    with pytest.raises(ValueError, match=KEY):
        main(True)
    failed = spans()[-1]
    assert dict(failed.attributes or {})["error.type"] == "ValueError"
    assert KEY not in failed.to_json()
