"""A rotation and its requests (docs/api.md), without any I/O."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from . import _api
from ._api import Duration, Request, duration
from ._secret import Secret
from .errors import HexrError, InvalidRequestError, VerifyError

CLEAN = 5.0  # seconds to give a lease back; else it ends by itself


@dataclass(frozen=True)
class Rotated:
    """What a rotation has done."""

    path: str = field(repr=False)
    scope: str = field(repr=False)
    version: int  # current now
    previous: int  # 0: there is none to read any more
    previous_until: datetime | None
    resumed: bool = False  # the version of a rotator that went away


@dataclass(frozen=True)
class Begun:
    """The lease of a rotation."""

    scope: str
    generation: int
    pending: int
    resumed: bool


class NotDue(Exception):
    """Another rotator was first."""


class Plan:
    """What one rotation asks for. It knows its lease once that is held."""

    def __init__(
        self, path: str, scope: str | None, grace: Duration | None, metadata: Mapping[str, str] | None, lease: float
    ) -> None:
        self.path, self._scope, self.lease = path, scope, lease
        self._grace = None if grace is None else duration(grace)
        self._metadata = dict(metadata or {})
        self.generation = self.pending = 0
        self.resumed = False

    def begin(self) -> Request[Begun]:
        return self._step("rotateBegin", _begun, ttl=duration(self.lease))

    def holds(self, lease: Begun) -> None:
        self._scope = lease.scope  # from here on the same for reads and writes
        self.generation, self.pending, self.resumed = lease.generation, lease.pending, lease.resumed

    def keep(self) -> Request[Begun]:
        """Holds the lease for longer."""
        return self._step("rotateBegin", _begun, ttl=duration(self.lease), generation=self.generation)

    def overdue(self) -> Request[bool]:
        target = _api.target(self.path, ":describe", scope=self._scope)
        return Request("GET", target, lambda data: bool(data["overdue"]), path=self.path)

    def left(self) -> Request[Secret]:
        """What the rotator before left pending."""
        return _api.get(self.path, self._scope, self.pending)

    def stage(self, secret: Secret) -> Request[int] | HexrError:
        more: dict[str, Any] = {"metadata": self._metadata} if self._metadata else {}
        try:
            data = base64.b64encode(secret.reveal_bytes()).decode()
            return self._step("rotateStage", _pending, generation=self.generation, data=data, **more)
        except (TypeError, ValueError):
            return InvalidRequestError("metadata is a dict of strings", path=self.path)

    def staged(self, secret: Secret, pending: int) -> Secret:
        """The secret that is to be tested."""
        self.pending, self.resumed = pending, False
        secret.version, secret.scope, secret.metadata = pending, self._scope or "", dict(self._metadata)
        return secret

    def commit(self) -> Request[Rotated]:
        more = {} if self._grace is None else {"grace": self._grace}
        return self._step("rotateCommit", self._rotated, generation=self.generation, version=self.pending, **more)

    def abort(self) -> Request[None]:
        return self._step("rotateAbort", _aborted, generation=self.generation)

    def _step(self, verb: str, parse: Any, **body: object) -> Request[Any]:
        if self._scope:
            body["scope"] = self._scope
        target = _api.target(self.path, ":" + verb)
        return Request("POST", target, parse, json.dumps(body).encode(), _api.new_id(), self.path)

    def _rotated(self, data: Mapping[str, Any]) -> Rotated:
        until = _api.time(data.get("previous_until"))
        return Rotated(data["path"], data["scope"], int(data["version"]), int(data["previous"]), until, self.resumed)


def generated(path: str, value: object) -> Secret | HexrError:
    """What a generator made, in a wrapper that no traceback shows. An error is returned: the
    frames of what is raised here would hold the value."""
    try:
        raw = _api.encode(value)
    except HexrError as err:
        return err.with_traceback(None)
    try:
        return Secret(path, raw.decode())
    except UnicodeDecodeError:
        pass
    return Secret(path, raw)


def rejected(err: Exception, path: str) -> VerifyError:
    """Says that the test failed, and not what it said, which may quote the value."""
    return VerifyError("the new version did not pass its test: it was discarded", path=path, kind=type(err).__name__)


def unless_false(verdict: object, path: str) -> VerifyError | None:
    return rejected(AssertionError(), path) if verdict is False else None


def schedule(path: str, every: Duration, scope: str | None) -> Request[datetime | None]:
    body: dict[str, object] = {"rotation": duration(every)}
    if scope:
        body["scope"] = scope
    target = _api.target(path, ":rotation")
    return Request("POST", target, _due, json.dumps(body).encode(), _api.new_id(), path)


def _begun(data: Mapping[str, Any]) -> Begun:
    return Begun(data["scope"], int(data["generation"]), int(data["pending"]), bool(data["resumed"]))


def _pending(data: Mapping[str, Any]) -> int:
    return int(data["pending"])


def _aborted(data: Mapping[str, Any]) -> None:
    data["current"]


def _due(data: Mapping[str, Any]) -> datetime | None:
    return _api.time(data.get("rotation_due_at"))
