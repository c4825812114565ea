"""What a forked child must not share with its parent."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Holds connections, keys, values or locks of this process."""

    def forked(self) -> None:
        """In a child, before it runs anything else: drops all that was inherited."""


_objects: weakref.WeakSet[Forkable] = weakref.WeakSet()


def register(obj: Forkable) -> None:
    """From now on obj is told about forks, for as long as it lives."""
    _objects.add(obj)


_whole = threading.RLock()


def whole() -> threading.RLock:
    """A context that no fork falls into. What OpenSSL does belongs there: its locks are copied
    as they are, and a child would wait for ever for one that another thread held just then.
    Nothing in there may wait for anything."""
    return _whole


def _in_child() -> None:
    global _whole
    _whole = threading.RLock()
    for obj in list(_objects):
        obj.forked()


os.register_at_fork(before=lambda: whole().acquire(), after_in_parent=lambda: whole().release(), after_in_child=_in_child)
