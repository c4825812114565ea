"""What a forked child must not share with its parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Holds connections, keys or locks of this process."""

    def before_fork(self) -> None:
        """In the parent: comes to rest, within seconds."""

    def after_fork(self, *, child: bool) -> None:
        """In the parent goes on; in the child drops all that was inherited, at once."""


_objects: weakref.WeakSet[Forkable] = weakref.WeakSet()


def register(obj: Forkable) -> None:
    """From now on obj is told about forks, for as long as it lives."""
    _objects.add(obj)


def _before() -> None:
    for obj in list(_objects):
        obj.before_fork()


def _after(child: bool) -> None:
    for obj in list(_objects):
        obj.after_fork(child=child)


os.register_at_fork(
    before=_before, after_in_parent=lambda: _after(child=False), after_in_child=lambda: _after(child=True)
)
