"""When and where a call is tried again."""

from __future__ import annotations

import random
import threading
import time

from ._api import NOT_A_NODE, UNKNOWN, leaves_open, transient, unless_decided
from .errors import HexrError

_FIRST_PAUSE = 0.02
_MAX_PAUSE = 0.5
_BUDGET_RATE = 50.0  # retries a second and client; the rest wait for their turn
_BUDGET_BURST = 100.0


class Budget:
    """Bounds how many retries of all calls of a client there are: a cluster in trouble must
    not be met by a storm. Safe over threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = _BUDGET_BURST
        self._at = time.monotonic()

    def take(self) -> float:
        """Takes a retry; the seconds until its turn."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(_BUDGET_BURST, self._tokens + (now - self._at) * _BUDGET_RATE) - 1
            self._at = now
            return max(0.0, -self._tokens / _BUDGET_RATE)


class Nodes:
    """The node that answered last, shared by the calls of a client."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.at = random.randrange(count)

    def failed(self, at: int) -> None:
        """The next call goes elsewhere, unless another moved on already."""
        if self.at == at:
            self.at = (at + 1) % self.count


class Tries:
    """The tries of one call, within its deadline. What a mutation says of its outcome holds
    for all of them."""

    def __init__(self, nodes: Nodes, budget: Budget, timeout: float, mutation: bool = False) -> None:
        self._nodes, self._budget, self._mutation = nodes, budget, mutation
        self._open = False  # a try may have been applied, or may be yet
        self.deadline = time.monotonic() + timeout
        self._failed = 0
        self._stayed = False
        self.node = nodes.at

    def pause(self, err: HexrError) -> float:
        """The seconds to wait before the next try; raises err, or that it is not known, when there is none."""
        self._failed += 1
        self._open = self._open or (self._mutation and leaves_open(err))
        # A node that lost its leader meanwhile is there, and knows the next one; who comes
        # after it may be the node that was lost.
        self._stayed = err.reason == UNKNOWN and not self._stayed
        if not self._stayed:
            self._nodes.failed(self.node)
            self.node = self._nodes.at
        pause = self._budget.take()
        if self._failed >= self._nodes.count:  # the others first, at once
            step = min(_MAX_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failed - self._nodes.count, 10))
            pause += step * random.uniform(0.5, 1.5)
        everywhere = err.reason == NOT_A_NODE and self._failed > self._nodes.count
        if not transient(err) or everywhere or time.monotonic() + pause >= self.deadline:
            raise unless_decided(err) if self._open else err
        return pause
