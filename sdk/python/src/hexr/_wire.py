"""What the blocking and the asynchronous transport share: connections that are made for
an SVID, and how an exchange fails."""

from __future__ import annotations

import contextlib
import ssl
import time
import weakref
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

import httpcore

from . import __version__, _telemetry
from ._alive import Signs
from ._api import NOT_A_NODE, NOT_REACHED, Request
from ._config import Address
from ._identity import Source, Svid
from ._retry import Budget, Nodes, Tries
from ._spiffe import Declared, is_node
from ._tls import peer_ids
from .errors import HexrError, IdentityError, UnavailableError

T = TypeVar("T")

MAX_ANSWER = 32 << 20
_CONNECT = 2.0  # seconds; a node that hangs is left early
_EXCHANGE = 5.0
_AGENT = f"hexrd-python/{__version__}".encode()

# httpcore wants one where it makes connections; ours are made with the SVID's.
NO_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

# When the current try ends: httpcore knows limits for each step alone.
ends: ContextVar[float] = ContextVar("hexr_ends")

# The node whose answer is waited for; None where its silence says nothing.
asked: ContextVar[Address | None] = ContextVar("hexr_asked", default=None)


class NotANode(httpcore.ConnectError):
    """The server's certificate is not one of a hexrd node of our trust domain."""


@contextlib.contextmanager
def until(end: float, node: Address | None = None) -> Iterator[None]:
    """A try that ends then, or with the one that it is a part of; where it asks a node, it leaves
    one that hangs earlier."""
    was_end, was_asked = ends.set(min(end, ends.get(end))), asked.set(node)
    try:
        yield
    finally:
        ends.reset(was_end)
        asked.reset(was_asked)


def remaining(timeout: float | None, late: type[httpcore.TimeoutException] = httpcore.ReadTimeout) -> float:
    """The step's timeout, cut at the end of the try. A try that is over raises."""
    left = ends.get() - time.monotonic()
    if left <= 0:
        raise late
    return left if timeout is None else min(timeout, left)


def check_node(tls: Any, svid: Svid) -> None:
    """To be called before the first byte of a request is sent."""
    ids = peer_ids(tls.getpeercert()) if tls is not None else []
    if len(ids) != 1 or not is_node(ids[0], svid.trust_domain):
        raise NotANode


def untrusted(err: BaseException) -> bool:
    return isinstance(err.__cause__, ssl.SSLCertVerificationError)


def limits(deadline: float) -> tuple[float, dict[str, float]]:
    """When the next try ends, and httpcore's limits for it."""
    left = max(deadline - time.monotonic(), 0.001)
    timeouts = {"connect": min(left, _CONNECT), "read": min(left, _EXCHANGE), "write": min(left, _EXCHANGE)}
    return time.monotonic() + min(left, _EXCHANGE), timeouts | {"pool": min(left, _EXCHANGE)}


class Shared:
    """What calls of a client have in common. A forked child starts with none of its
    parent's connections."""

    def __init__(self, addresses: tuple[Address, ...], declared: Declared, timeout: float) -> None:
        self.addresses, self.declared, self.timeout = addresses, declared, timeout
        self.nodes = Nodes(len(addresses))
        self.budget = Budget()
        self.signs = Signs()
        self.svid: Svid | None = None  # the newest: connections of others are not used again
        self.sockets: weakref.WeakSet[Any] = weakref.WeakSet()

    def tries(self, timeout: float | None = None, mutation: bool = False) -> Tries:
        return Tries(self.nodes, self.budget, self.timeout if timeout is None else timeout, mutation)

    def request(self, request: Request[Any], node: int, timeouts: Mapping[str, float]) -> tuple[Any, ...]:
        """Method, URL, headers, body and extensions for httpcore."""
        host, port = self.addresses[node]
        url = httpcore.URL(scheme=b"https", host=host.encode(), port=port, target=request.target.encode())
        return request.method, url, headers(request, host, port), request.body, {"timeout": timeouts}

    def judge(self, source: Source, result: T | HexrError) -> T | HexrError:
        """Has the SVID fetched again where it may be what is wrong."""
        if isinstance(result, HexrError) and result.reason in (NOT_A_NODE, "SVID_EXPIRED"):
            source.refused()
        return result

    def track(self, sock: Any) -> None:
        self.sockets.add(getattr(sock, "_sock", sock))  # asyncio and trio hand out wrappers

    def drop(self) -> None:
        """Closes the descriptors of a parent's connections, without a word to their peers."""
        for sock in list(self.sockets):
            with contextlib.suppress(Exception):
                sock.close()
        self.sockets = weakref.WeakSet()
        self.budget = Budget()


def headers(request: Request[Any], host: str, port: int) -> list[tuple[bytes, bytes]]:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    out = [(b"Host", authority.encode()), (b"Accept", b"application/json"), (b"User-Agent", _AGENT)]
    if request.method in ("PUT", "POST"):
        out += [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(request.body))]
    if request.request_id:
        out.append((b"Idempotency-Key", request.request_id.encode()))
    trace = _telemetry.traceparent()
    if trace:
        out.append((b"traceparent", trace.encode()))
    return out


def failure(err: Exception, path: str) -> HexrError:
    """An exchange that gave no answer, in our words: httpcore's may quote what was sent."""
    if isinstance(err, NotANode):
        return IdentityError(
            "the server is not a hexrd node of this process's trust domain: are the addresses right, and is the trust "
            "bundle of the Workload API the cluster's?",
            reason=NOT_A_NODE,
            path=path,
        )
    what = "did not answer in time" if isinstance(err, httpcore.TimeoutException) else "can't be reached"
    unsent = isinstance(err, (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout))
    return UnavailableError(
        f"a node {what}: are the addresses in HEXR_ADDR right, and do the nodes run?",
        code="UNAVAILABLE",
        reason=NOT_REACHED if unsent else "",
        path=path,
    )
