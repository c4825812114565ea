"""A cache that is kept current by a watch, in a thread."""

from __future__ import annotations

import random
import threading
import weakref
from collections.abc import Callable
from typing import Any

from . import _fork
from ._cache import Cache
from ._config import Address
from ._events import Change, Query
from ._spiffe import Declared
from ._watch import Watch
from .errors import HexrError

_BEGIN = 2.0  # seconds that a client's first read waits for the watch
_FIRST_PAUSE = 1.0
_MAX_PAUSE = 60.0


class Freshener:
    """Runs the watch of a cache from the first read on, until it is closed or the cache is
    gone. Safe over threads; in a forked child it starts anew."""

    def __init__(self, cache: Cache[Any], watch: Callable[[], Watch]) -> None:
        self._cache, self._new_watch = weakref.ref(cache), watch
        self._reset()
        _fork.register(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._run: _Run | None = None

    def ready(self) -> bool:
        """Whether begin() would not wait."""
        run = self._run
        return run is not None and run.tried.is_set()

    def begin(self) -> None:
        """Has the watch run. The first time it waits for it, for a short while; later reads go
        without a cache where there is none."""
        with self._lock:
            if self._run is None:
                try:
                    self._run = _Run(self._cache, self._new_watch)
                except RuntimeError:  # the interpreter shuts down
                    return
            run = self._run
        if not run.tried.is_set():
            run.tried.wait(_BEGIN)
            run.tried.set()

    def close(self) -> None:
        with self._lock:
            run, self._run = self._run, None
        if run is not None:
            run.close()

    def forked(self) -> None:
        self._reset()


class _Run:
    """One thread with its watch. It holds nothing that holds the client."""

    def __init__(self, cache: weakref.ref[Cache[Any]], watch: Callable[[], Watch]) -> None:
        self._cache, self._new_watch, self._watch = cache, watch, watch()
        self._stop = threading.Event()
        self.tried = threading.Event()
        self._thread = threading.Thread(target=self._main, name="hexr-cache", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._watch.close()
        self._thread.join()

    def _main(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            try:
                for change in self._watch:
                    if not self._tell(change):
                        self._watch.close()
                        return
                    pause = _FIRST_PAUSE
            except HexrError:  # this process may not watch: what it read may not be its any more
                pass
            cache = self._cache()
            if cache is not None:
                cache.silent()
            del cache
            self.tried.set()
            self._stop.wait(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, _MAX_PAUSE)
            self._watch = self._new_watch()

    def _tell(self, change: Change) -> bool:
        """Whether there is a cache still."""
        cache = self._cache()
        if cache is None:
            return False
        if change.kind == "resync":
            cache.forget_all()
        elif change.kind not in ("bookmark", "overdue"):
            cache.forget(change.path)
        cache.heard()
        self.tried.set()
        return True


def watching(addresses: tuple[Address, ...], declared: Declared, timeout: float) -> Callable[[], Watch]:
    """Makes watches of all that the process may read."""
    return lambda: Watch(addresses, declared, timeout, Query(), None, True)
