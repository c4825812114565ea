"""Secrets that a client may give again without asking. Off unless a program turns it on."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from . import _fork
from ._events import SILENCE
from ._secret import Secret

L = TypeVar("L")

Key = tuple[str, str | None, int | None]  # path, scope, version

_JITTER = 0.1  # entries made together don't end together
_SIZE = 1000


class Cache(Generic[L]):
    """Secrets by path, scope and version, for about ttl seconds, while a watch is heard of.
    lock makes the lock that lets one fetch a secret while the others wait for it. Safe over
    threads; a forked child starts with nothing."""

    def __init__(self, ttl: float, lock: Callable[[], L]) -> None:
        self.ttl = ttl
        self._new_lock = lock
        self._clear()
        _fork.register(self)

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[Key, tuple[float, Secret]] = {}
        self._flights: dict[Key, L] = {}
        self._generation = 0
        self._heard = float("-inf")

    def flight(self, key: Key) -> L:
        """The lock to hold while fetching that secret."""
        with self._lock:
            if len(self._flights) > _SIZE:
                self._flights.clear()  # at worst one is fetched twice
            return self._flights.setdefault(key, self._new_lock())

    def get(self, key: Key) -> Secret | None:
        now, entry = time.monotonic(), self._entries.get(key)
        return entry[1] if entry is not None and now < entry[0] and self._trusted(now) else None

    def _trusted(self, now: float) -> bool:
        return now - self._heard < SILENCE

    def generation(self) -> int:
        """To be taken before a fetch, and given to put."""
        return self._generation

    def put(self, key: Key, secret: Secret, generation: int) -> None:
        """Keeps what was fetched, unless something was forgotten meanwhile."""
        with self._lock:
            if generation != self._generation or not self._trusted(time.monotonic()):
                return
            if len(self._entries) >= _SIZE:
                self._entries.clear()
            until = time.monotonic() + self.ttl * random.uniform(1 - _JITTER, 1)
            self._entries[key] = (until, secret)

    def forget(self, path: str) -> None:
        """Drops a path in all scopes and versions: it changed."""
        with self._lock:
            self._generation += 1
            for key in [key for key in self._entries if key[0] == path]:
                del self._entries[key]

    def heard(self) -> None:
        """The watch is alive: what is kept is current. After a silence nothing is."""
        with self._lock:
            now = time.monotonic()
            if not self._trusted(now):
                self._drop()
            self._heard = now

    def silent(self) -> None:
        """The watch can't be relied upon: nothing is kept."""
        with self._lock:
            self._heard = float("-inf")
            self._drop()

    def forget_all(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        self._generation += 1
        self._entries.clear()

    def forked(self) -> None:
        self._clear()
