"""Rotating what is due, in the background of an agent."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

from . import _fork
from ._api import Duration
from ._client import VaultClient
from ._events import Change
from ._rotate import Generate, Verify
from ._rotation import NotDue, Plan, Rotated
from ._watch import Watch
from .errors import HexrError, InvalidRequestError, RotatingError

_log = logging.getLogger("hexr")

_TRIES = 8  # of a rotation, until the next time that it is looked for
_FIRST_PAUSE = 1.0
_MAX_PAUSE = 300.0
_LOOK = 3600.0  # seconds between looks for what is overdue, beside its events


@dataclass(frozen=True)
class _Job:
    generate: Generate
    verify: Verify | None
    grace: Duration | None
    scope: str | None
    metadata: Mapping[str, str] | None
    lease: float


@dataclass
class _Due:
    at: float  # on the monotonic clock
    failed: int = 0


class Rotator:
    """Rotates secrets when their schedule (``put(..., rotation="90d")``) says so.

    ``add`` says how a secret is rotated; ``start`` and ``close``, or ``with``, run it: one thread,
    which is told by a watch and looks once an hour. Any number of processes may run one for the
    same secrets: each is rotated once. A failed rotation is tried 8 times, with pauses from 1 s to
    5 min, and then at the next look. ``on_error`` gets what went wrong; the log has its kind alone.
    ``on_rotate`` gets what was done. A forked child has none that runs.
    """

    def __init__(
        self,
        client: VaultClient,
        *,
        on_rotate: Callable[[Rotated], object] | None = None,
        on_error: Callable[[Exception], object] | None = None,
    ) -> None:
        self._client, self._on_rotate, self._on_error = client, on_rotate, on_error
        self._jobs: dict[str, _Job] = {}
        self._reset()
        _fork.register(self)

    def _reset(self) -> None:
        self._due: dict[str, _Due] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._watch: Watch | None = None

    def add(
        self,
        path: str,
        generate: Generate,
        verify: Verify | None = None,
        grace: Duration | None = None,
        *,
        scope: str | None = None,
        metadata: Mapping[str, str] | None = None,
        lease: float = 30.0,
    ) -> Rotator:
        """Says how a secret is rotated, as VaultClient.rotate takes it; before the start."""
        if self._thread is not None:
            raise InvalidRequestError("add comes before the rotator's start", path=path)
        self._jobs[path] = _Job(generate, verify, grace, scope, metadata, lease)
        return self

    def start(self) -> Rotator:
        """Runs it until it is closed."""
        if self._thread is None:
            self._reset()
            self._thread = threading.Thread(target=self._run, name="hexr-rotator", daemon=True)
            self._thread.start()
        return self

    def close(self) -> None:
        """Ends it, after the rotation that is under way."""
        thread, self._thread = self._thread, None
        self._stop.set()
        watch = self._watch
        if watch is not None:
            watch.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def forked(self) -> None:
        self._reset()

    def __enter__(self) -> Rotator:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _run(self) -> None:
        failed = 0
        while not self._stop.is_set():
            try:
                self._watch = self._client.watch(bookmarks=True)
                if self._stop.is_set():
                    return
                with self._watch as watch:
                    failed = 0
                    self._follow(watch)
            except HexrError as err:
                self._failed(err)
            failed += 1
            self._stop.wait(_pause(failed))

    def _follow(self, watch: Watch) -> None:
        """Bookmarks come every 2 s: what is due then, and not before, is tried again."""
        look = 0.0
        for change in watch:
            now = time.monotonic()
            if change.kind == "resync" or now >= look:
                look = now + _LOOK
                self._look()
            self._note(change)
            for path in [path for path, due in self._due.items() if now >= due.at]:
                if self._stop.is_set():
                    return
                self._rotate(path)

    def _note(self, change: Change) -> None:
        if change.kind == "overdue" and change.path in self._jobs:
            self._due[change.path] = _Due(0.0)

    def _look(self) -> None:
        for path in self._client.list(overdue=True):
            if path in self._jobs:
                self._due[path] = _Due(0.0)

    def _rotate(self, path: str) -> None:
        job, due = self._jobs[path], self._due[path]
        plan = Plan(path, job.scope, job.grace, job.metadata, job.lease)
        try:
            rotated = self._client.run(plan, job.generate, job.verify, None, overdue=True)
        except NotDue:
            del self._due[path]
        except Exception as err:
            due.failed += 1
            due.at = time.monotonic() + _pause(due.failed)
            if due.failed >= _TRIES:
                del self._due[path]
            if not isinstance(err, RotatingError):  # that one may be better off
                self._failed(err)
        else:
            del self._due[path]
            if self._on_rotate is not None:
                try:
                    self._on_rotate(rotated)
                except Exception as err:
                    self._failed(err)

    def _failed(self, err: Exception) -> None:
        """Neither path nor value is in the line; an error's text might quote them."""
        reason = err.reason if isinstance(err, HexrError) else ""
        _log.warning("a rotation or its watch failed, and is tried again: %s", reason or type(err).__name__)
        if self._on_error is not None:
            with contextlib.suppress(Exception):
                self._on_error(err)


def _pause(failed: int) -> float:
    return min(_MAX_PAUSE, _FIRST_PAUSE * 2.0 ** (failed - 1)) * random.uniform(0.5, 1.5)
