"""pytest fixtures: ``hexr_vault``, a real cluster, and ``hexr_canary``, which finds leaks.

Both need the hexrd program (on the PATH, or HEXRD_BIN).
"""

from __future__ import annotations

import base64
import itertools
import logging
import secrets
import sys
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from ._secret import REDACTED

if TYPE_CHECKING:
    from ._client import VaultClient
    from .testing import DevCluster

_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "hexr(identity): the identity of hexr_vault, e.g. acme/my-agent/researcher")


@pytest.fixture(scope="session")
def hexr_cluster() -> Generator[DevCluster]:
    """A cluster of one node, for the whole session."""
    from .testing import DevCluster

    with DevCluster(nodes=1) as cluster:
        yield cluster


@pytest.fixture
def hexr_vault(
    hexr_cluster: DevCluster, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Generator[VaultClient]:
    """A client of a real vault. The test is an agent of its own, or the one that
    ``@pytest.mark.hexr(identity="acme/my-agent")`` names; so is all that it calls."""
    from ._client import VaultClient

    marker = request.node.get_closest_marker("hexr")
    identity = marker.kwargs["identity"] if marker else f"test/agent-{next(_numbers)}"
    with hexr_cluster.identity(identity) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with VaultClient() as client:
            yield client


class Canary(logging.Handler):
    """A value that must not be seen. ``watch`` names objects whose reprs must not have it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.value = f"canary-{secrets.token_hex(16)}"
        self._forms = (
            self.value,
            self.value.encode().hex(),
            *(base64.b64encode(b"-" * i + self.value.encode()).decode()[4:-4] for i in range(3)),
        )
        self._seen: set[str] = set()
        self._watched: list[object] = []

    def watch(self, *objects: object) -> None:
        """Looks at their repr, str and format, too, when the test ends."""
        self._watched += objects

    def look(self, place: str, text: str) -> None:
        """Remembers the place where the text has the value."""
        if any(form in text for form in self._forms):
            self._seen.add(place)

    def leaks(self) -> list[str]:
        """Where the value was seen."""
        for obj in self._watched:
            for text in (repr(obj), str(obj), f"{obj}"):
                self.look(f"the text of a {type(obj).__qualname__}", text)
        return sorted(self._seen)

    def hide(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, REDACTED)
        return text

    def emit(self, record: logging.LogRecord) -> None:
        self.look(f"the log of {record.name}", self.format(record) + repr(vars(record)))

    # A span processor of OpenTelemetry's SDK, as far as that needs one.

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Nothing is known yet."""

    _on_ending = on_start

    def on_end(self, span: Any) -> None:
        self.look(f"the span {self.hide(span.name)}", span.to_json())

    def shutdown(self) -> None:
        """Nothing is held."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


_CANARY = pytest.StashKey[Canary]()


@pytest.fixture
def hexr_canary(request: pytest.FixtureRequest) -> Generator[Canary]:
    """A value to put into the vault: the test fails where it is then seen in logs, captured
    output, spans, the report of a failure, or the text of what it watches."""
    canary = Canary()
    request.node.stash[_CANARY] = canary
    root = logging.getLogger()
    level = root.level
    root.addHandler(canary)
    root.setLevel(logging.DEBUG)
    trace = sys.modules.get("opentelemetry.trace")
    provider: Any = trace.get_tracer_provider() if trace is not None else None
    if hasattr(provider, "add_span_processor"):
        provider.add_span_processor(canary)
    yield canary
    root.removeHandler(canary)
    root.setLevel(level)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    canary = item.stash.get(_CANARY, None)
    if canary is None or report.when != "call":
        return report
    for name, text in report.sections:
        canary.look(name.lower(), text)
    canary.look("the report of the failure", report.longreprtext)
    leaks = canary.leaks()
    if leaks:
        report.outcome = "failed"
        report.longrepr = f"hexr_canary: the secret is in {', '.join(leaks)}"
        report.sections = [(name, canary.hide(text)) for name, text in report.sections]
    return report
