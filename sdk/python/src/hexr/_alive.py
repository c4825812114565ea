"""Telling a node that hangs from one that takes its time."""

from __future__ import annotations

import time

from ._config import Address

# Seconds that a node may say nothing, while a call waits, before it is greeted anew, and
# again that it has to return that. What waits for a quorum waits for longer, but such a
# node shakes hands.
SIGN_OF_LIFE = 1.0


class Signs:
    """What the calls of a client know of its nodes: one greets for all. Safe over threads."""

    def __init__(self) -> None:
        self._greeted: dict[Address, float] = {}
        self._returned: dict[Address, float] = {}

    def is_mine(self, node: Address) -> bool:
        """Whether it is the caller who greets: nobody did just now."""
        now = time.monotonic()
        mine = now - self._greeted.get(node, -SIGN_OF_LIFE) >= SIGN_OF_LIFE
        if mine:
            self._greeted[node] = now
        return mine

    def returned(self, node: Address) -> None:
        self._returned[node] = time.monotonic()

    def is_alive(self, node: Address) -> bool:
        """For who waited for another's greeting: whether the node returned one."""
        return time.monotonic() - self._returned.get(node, -2 * SIGN_OF_LIFE) < 2 * SIGN_OF_LIFE
