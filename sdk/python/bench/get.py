"""What the SDK costs: one get against a bare mutual-TLS HTTP round trip of the same size, in one run.

    make bench-python

Bare is http.client, and httpcore, with a ready TLS context, one connection that is kept, and
json.loads. All ask (a) a node of a cluster for the same secret, and (b) a server that answers the same bytes at once,
where nothing but the client is left. Rounds alternate, so that the machine's moods meet both.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpcore

from hexr import VaultClient, _identity
from hexr._spiffe import Declared
from hexr.testing import DevCluster
from tests import tlsserver

ROUNDS, CALLS = 20, 50


def bare(port: int) -> Callable[[], object]:
    tls = _identity.source().svid(Declared()).tls
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=tls)

    def get() -> object:
        connection.request("GET", "/v1/secrets/K", headers={"Accept": "application/json"})
        return json.loads(connection.getresponse().read())["value"]

    return get


def bare_httpcore(port: int) -> Callable[[], object]:
    """What stands under the SDK (and under httpx), with nothing around it."""
    pool = httpcore.ConnectionPool(ssl_context=_identity.source().svid(Declared()).tls)

    def get() -> object:
        url = f"https://127.0.0.1:{port}/v1/secrets/K"
        return json.loads(pool.request("GET", url, headers={"Accept": "application/json"}).content)["value"]

    return get


def sdk(port: int) -> Callable[[], object]:
    client = VaultClient(f"https://127.0.0.1:{port}")
    return lambda: client.get("K")


def compare(what: str, port: int) -> None:
    subjects = {"http.client": bare(port), "httpcore": bare_httpcore(port), "sdk": sdk(port)}
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for round_ in range(ROUNDS + 2):
        for name, get in subjects.items():
            for _ in range(CALLS):
                began = time.perf_counter()
                get()
                if round_ >= 2:  # the first warm up
                    times[name].append(time.perf_counter() - began)
    for name, seconds in times.items():
        quantiles = statistics.quantiles(seconds, n=100)
        print(f"{what:16} {name:11} median {quantiles[49] * 1e6:6.0f} us   p99 {quantiles[98] * 1e6:6.0f} us")
    for name in ("http.client", "httpcore"):
        ratio = statistics.median(times["sdk"]) / statistics.median(times[name])
        print(f"{what:16} sdk / {name} {ratio:.2f}")


def imports() -> None:
    for module in ("hexr", "hexr.vault"):
        spent = []
        for _ in range(7):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
            spent.append(time.perf_counter() - began)
        empty = min(_empty() for _ in range(7))
        print(f"import {module:10} {min(spent) - empty:.3f} s beside {empty:.3f} s of an empty Python")


def _empty() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", ""], check=True)
    return time.perf_counter() - began


def main() -> None:
    imports()
    with DevCluster(nodes=3) as cluster, cluster.identity("acme/bench") as environment:
        os.environ.update(environment)
        with VaultClient() as vault:
            vault.put("K", "v" * 1024)
        compare("a node, 1 KiB", int(cluster.nodes()[0]["address"].rpartition(":")[2]))
        body = json.dumps(
            {
                "path": "K",
                "value": "v" * 1024,
                "version": 1,
                "scope": "spiffe://hexr.cloud/agent/acme/bench/*",
                "metadata": {},
                "created_at": "2026-01-02T03:04:05.678Z",
            }
        ).encode()
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        with tlsserver.serve(tlsserver.context(cluster, "/hexr/node/bench"), answer) as server:
            compare("at once, 1 KiB", server.port)


if __name__ == "__main__":
    main()
