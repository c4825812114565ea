"""What a forked child must not share with its parent."""

from __future__ import annotations

import os
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


def _in_child() -> None:
    for obj in list(_objects):
        obj.forked()


os.register_at_fork(after_in_child=_in_child)
