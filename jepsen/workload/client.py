"""An agent on the Python SDK, for the register workload: it gets, puts, and compares and sets
through all nodes, and writes each call as a line of the history until its input ends."""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time

from hexr import VaultClient, errors
from opentelemetry import trace

KEYS, AGE = 3, 8.0
OUTCOMES = (
    (errors.NotFoundError, "not_found"),
    (errors.AccessDeniedError, "denied"),
    (errors.VersionConflictError, "conflict"),
)
CERTAIN = ("NOT_REACHED", "NO_LEADER", "OVERLOADED", "STOPPING", "STALE", "RATE_LIMITED", "TOO_MANY_IN_FLIGHT", "DISK_LOW")


class Worker:
    def __init__(self, number: int, seed: int, zero: int) -> None:
        self.random = random.Random(seed * 1000 + number)
        self.number = number
        self.zero = zero
        self.latest = [0] * KEYS
        self.values = 0

    def now(self) -> int:
        return time.monotonic_ns() - self.zero

    def step(self, vault: VaultClient) -> dict[str, object]:
        key = self.random.randrange(KEYS)
        path = f"python/{int(self.now() / 1e9 / AGE)}/{key}"
        op: dict[str, object] = {"workload": "register", "worker": 500 + self.number, "path": path, "caller": CALLER}
        op["trace"] = f"{self.random.getrandbits(128) | 1 << 127:032x}"
        if self.random.random() < 0.5:
            op["kind"] = "get"
        else:
            self.values += 1
            op.update(kind="put", value=f"p{self.number}-{self.values}")
            if self.random.random() < 0.4:
                op["expected"] = self.latest[key]
        context = trace.SpanContext(int(str(op["trace"]), 16), self.random.getrandbits(64) | 1, is_remote=False)
        op["start"] = self.now()
        try:
            with trace.use_span(trace.NonRecordingSpan(context)):
                self.call(vault, path, op)
            op["outcome"] = "ok"
            self.latest[key] = int(str(op["version"]))
        except errors.HexrError as e:
            op["outcome"] = next((o for kind, o in OUTCOMES if isinstance(e, kind)), "refused" if e.reason in CERTAIN else "unknown")
            op["reason"] = e.reason or type(e).__name__
        op["end"] = self.now()
        return op

    def call(self, vault: VaultClient, path: str, op: dict[str, object]) -> None:
        if op["kind"] == "put":
            expected = op.get("expected")
            op["version"] = vault.put(path, str(op["value"]), expected_version=expected if isinstance(expected, int) else None)
            return
        secret = vault.get_secret(path)
        op.update(got=secret.reveal(), version=secret.version, got_scope=secret.scope)

    def run(self, vault: VaultClient, ended: threading.Event, out: threading.Lock) -> None:
        while not ended.is_set():
            line = json.dumps(self.step(vault))
            with out:
                print(line, flush=True)
            ended.wait(0.05 * (0.5 + self.random.random()))


CALLER = os.environ["JEPSEN_CALLER"]


def main() -> None:
    ended, out = threading.Event(), threading.Lock()
    seed, zero = int(os.environ["JEPSEN_SEED"]), int(os.environ["JEPSEN_ZERO"])
    with VaultClient(timeout=10) as vault:
        workers = [threading.Thread(target=Worker(n, seed, zero).run, args=(vault, ended, out)) for n in range(2)]
        for w in workers:
            w.start()
        sys.stdin.read()
        ended.set()
        for w in workers:
            w.join()


main()
