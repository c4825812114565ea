"""What a watch shows, and how it goes on over all the nodes that it goes to, without any I/O."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from . import _api
from ._api import Request
from ._retry import Tries
from ._wire import Shared
from .errors import HexrError, IdentityError, InvalidRequestError, UnavailableError

SILENCE = 7.0  # a node gives a bookmark every 2 s: after that long its watch is dead
_FIRST_PAUSE = 0.02
_MAX_PAUSE = 2.0
_MAX_EVENT = 1 << 16

_KINDS = ("bookmark", "resync", "put", "delete", "undelete", "destroy", "rotate", "overdue")
# A stream that has ended may still count for a while.
_PASSING = ("SLOW_CONSUMER", "RATE_LIMITED", "TOO_MANY_IN_FLIGHT", "TOO_MANY_STREAMS")


@dataclass(frozen=True)
class Change:
    """What happened to a secret: never its value.

    ``kind`` is put, rotate, delete, undelete, destroy, overdue, or resync, which has no path:
    changes were lost, read again what matters. ``cursor`` is where a later watch goes on.
    """

    kind: str
    cursor: str
    index: int  # of the cluster's log
    time: datetime | None
    path: str = field(default="", repr=False)
    scope: str = field(default="", repr=False)
    version: int = 0


@dataclass(frozen=True)
class Query:
    """What is watched."""

    prefix: str = ""
    path: str | None = None
    scope: str | None = None

    def request(self, after: str) -> Request[None]:
        parts = {"prefix": self.prefix, "path": self.path, "scope": self.scope, "after": after}
        given = {name: value for name, value in parts.items() if value}
        return Request("GET", "/v1/watch" + (f"?{urlencode(given)}" if given else ""), _not_events, path=self.path or "")


def query(prefix: str, path: str | None, scope: str | None) -> Query:
    if path is not None:
        _api.check_path(path)
        if prefix:
            raise InvalidRequestError("a watch is of a prefix or of a path, not of both")
    return Query(prefix, path, scope)


class Course:
    """A watch's way: what it asks which node for, and what is to be shown. Each change is
    shown once, in order."""

    def __init__(self, query: Query, shared: Shared, after: str | None, bookmarks: bool) -> None:
        self.cursor = after or ""  # of what was shown last
        self.begun = False  # an event came, from any node
        self._query, self._shared, self._bookmarks = query, shared, bookmarks
        self._heard = False  # an event came from this node
        self._tries: Tries | None = None
        self._pause = _FIRST_PAUSE
        self._node = 0
        self.restart()

    def restart(self) -> None:
        """What came and was not shown yet is asked for again."""
        self._rest = b""
        self._came: deque[Change | HexrError] = deque()

    def request(self) -> tuple[Request[None], int]:
        """What to ask, and which node."""
        self.restart()
        self._heard = False
        if self._tries is None:
            self._tries = self._shared.tries()
        self._node = self._shared.nodes.at if self.begun else self._tries.node
        return self._query.request(self.cursor), self._node

    def feed(self, chunk: bytes) -> HexrError | None:
        """Takes what a node sent; none is the end of its stream."""
        if not chunk:
            return UnavailableError("a node ended the watch", code="UNAVAILABLE")
        *blocks, self._rest = (self._rest + chunk).split(b"\n\n")
        if len(self._rest) > _MAX_EVENT:
            return UnavailableError("a node sent no events", code="UNAVAILABLE")
        for block in blocks:
            self._came.append(_event(block))
        return None

    def take(self) -> Change | HexrError | None:
        """What is to be shown next; an error ends the node's stream."""
        while self._came:
            event = self._came.popleft()
            if isinstance(event, HexrError):
                return event
            moved = self.begun and not self._heard  # a bookmark that says so is no news
            self.begun = self._heard = True
            self.cursor = event.cursor
            if event.kind != "bookmark" or (self._bookmarks and not moved):
                return event
        return None

    def pause(self, err: HexrError) -> float:
        """The seconds until the next try; raises err where that would not go better."""
        if not self.begun and self._tries is not None:
            return self._tries.pause(err)
        if not _passes(err):
            raise err
        self._shared.nodes.failed(self._node)
        self._pause = _FIRST_PAUSE if self._heard else min(2 * self._pause, _MAX_PAUSE)
        return self._pause * random.uniform(0.5, 1.5)


def _passes(err: HexrError) -> bool:
    silent = isinstance(err, IdentityError) and not err.reason and not err.declared  # the Workload API: it may come back
    return _api.transient(err) or err.reason in _PASSING or silent


def _event(block: bytes) -> Change | HexrError:
    """An event's data has all that its other lines say."""
    try:
        lines = block.split(b"\n")
        data = json.loads(b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:")))
        if b"event: error" in lines:
            return _api.error(data["error"], "")
        return _change(data)
    except (ValueError, LookupError, TypeError):
        return HexrError("the event is not one that this SDK knows: do SDK and server fit together?")


def _change(data: Mapping[str, Any]) -> Change:
    if data["type"] not in _KINDS:
        raise ValueError
    return Change(
        data["type"],
        str(data["cursor"]),
        int(data["index"]),
        _api.time(data["time"]),
        data.get("path", ""),
        data.get("scope", ""),
        int(data.get("version", 0)),
    )


def _not_events(data: object) -> None:
    raise ValueError
