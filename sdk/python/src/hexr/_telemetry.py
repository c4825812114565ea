"""OpenTelemetry, where the program has it. Spans hold no value, path or message of an error."""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    Attributes = Mapping[str, str | int | float | bool | tuple[str, ...]]


def traceparent() -> str:
    """The W3C header of the current span: the audit row then names its trace."""
    trace: Any = sys.modules.get("opentelemetry.trace")  # not loaded: there is no span
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def start(name: str, attributes: Attributes, *, client: bool = False) -> Span | None:
    """A span that its user ends; None without OpenTelemetry."""
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    kind = trace.SpanKind.CLIENT if client else trace.SpanKind.INTERNAL
    return trace.get_tracer("hexr", __version__).start_span(name, kind=kind, attributes=dict(attributes))


def fail(span: Span | None, kind: str) -> None:
    """Marks the span as failed, by the kind of the error alone: messages and tracebacks
    may hold anything."""
    if span is not None:
        from opentelemetry.trace import StatusCode

        span.set_attribute("error.type", kind)
        span.set_status(StatusCode.ERROR)


@contextmanager
def active(span: Span | None) -> Generator[None]:
    """Makes the span the current one. It is ended by its user."""
    if span is None:
        yield
        return
    from opentelemetry import trace

    with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
        yield
