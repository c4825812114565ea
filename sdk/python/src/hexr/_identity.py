"""The SVIDs of this process, from the SPIFFE Workload API.

Behind an idle Source there is no thread and no open connection: it fetches when
it is asked and what it has is old. So a fork finds nothing to inherit, a renewal
is seen before the SVID expires, and a changed bundle within a minute of use.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import _fork
from ._spiffe import Declared, trust_domain
from .errors import HexrError, IdentityError

if TYPE_CHECKING:
    import ssl

    from ._workload import Raw

TIMEOUT = 5.0  # for an SVID that can't be done without
_MAX_AGE = 60.0  # a bundle may change without the SVID
_RETRY = 0.1  # while nothing else can be done
_RETRY_RENEWAL = 1.0

_SAID = {
    "MISSING": "there is no SPIFFE Workload API at SPIFFE_ENDPOINT_SOCKET: is its agent (SPIRE) running, and is the socket "
    "mounted here? On a developer's machine run the program under `hexrd dev exec TENANT/AGENT -- ...`",
    "DENIED": "the SPIFFE Workload API has no SVID for this process: is it registered (selectors, user, container)?",
    "SILENT": "the SPIFFE Workload API did not answer within 5 s: is its agent (SPIRE) healthy?",
    "UNUSABLE": "the SPIFFE Workload API gave an SVID or a bundle that does not load",
    "EXPIRED": "the SPIFFE Workload API gives expired SVIDs only: are the clocks right?",
}


@dataclass(frozen=True)
class Svid:
    """One identity, ready for use."""

    spiffe_id: str
    trust_domain: str
    tls: ssl.SSLContext
    expires: float  # Unix time
    digest: bytes  # of what it was made of


@dataclass(frozen=True)
class _Fetched:
    svids: dict[str, Svid]
    expires: float  # of the first to expire
    due: float  # on the monotonic clock: fetched again in the background from then on


class Source:
    """The SVIDs that one Workload API gives to this process. Safe over threads and fork."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._fetched: _Fetched | None = None
        self._known: dict[str, Svid] = {}
        self._fetching = threading.Lock()
        _fork.register(self)

    def svid(self, declared: Declared) -> Svid:
        """The valid SVID that matches. Waits for one at most TIMEOUT; IdentityError then,
        and where the declared identity is another."""
        fetched = self._fetched
        if fetched is None or time.time() >= fetched.expires:
            fetched = self._fetch_now(fetched)
        elif time.monotonic() >= fetched.due and self._fetching.acquire(blocking=False):
            self._fetch_in_background(fetched)
        return fetched.svids[declared.choose(fetched.svids)]

    def ready(self) -> bool:
        """Whether svid() would not wait."""
        fetched = self._fetched
        return fetched is not None and time.time() < fetched.expires

    def refused(self) -> None:
        """A server refused what we have, or we refused it: the next svid() fetches."""
        self._fetched = None

    def forked(self) -> None:
        self._fetched, self._known = None, {}
        self._fetching = threading.Lock()

    def _keep(self, fetched: _Fetched) -> None:
        self._fetched, self._known = fetched, fetched.svids

    def _fetch(self, timeout: float) -> _Fetched | HexrError:
        return _fetch(self._socket, timeout, self._known)

    def _fetch_now(self, old: _Fetched | None) -> _Fetched:
        deadline = time.monotonic() + TIMEOUT
        with self._fetching:
            if self._fetched is not None and self._fetched is not old:
                return self._fetched  # another thread was first
            while True:
                result = self._fetch(max(deadline - time.monotonic(), _RETRY))
                if isinstance(result, _Fetched):
                    self._keep(result)
                    return result
                if time.monotonic() + _RETRY >= deadline:
                    raise result
                time.sleep(_RETRY)

    def _fetch_in_background(self, old: _Fetched) -> None:
        def run() -> None:
            try:
                result = self._fetch(TIMEOUT)
                if isinstance(result, _Fetched):
                    self._keep(result)
                elif self._fetched is old:  # a later call tries again
                    self._fetched = replace(old, due=time.monotonic() + _RETRY_RENEWAL)
            finally:
                self._fetching.release()

        try:
            threading.Thread(target=run, name="hexr-svid", daemon=True).start()
        except RuntimeError:  # the interpreter shuts down
            self._fetching.release()


_sources: dict[str, Source] = {}


def source() -> Source:
    """The process's Source for SPIFFE_ENDPOINT_SOCKET."""
    socket = os.environ.get("SPIFFE_ENDPOINT_SOCKET", "")
    if not socket:
        raise IdentityError(
            "no identity: set SPIFFE_ENDPOINT_SOCKET to the SPIFFE Workload API's address, e.g. "
            "unix:///run/spire/agent.sock, or run the program under `hexrd dev exec TENANT/AGENT -- ...`"
        )
    if socket not in _sources:
        _sources.setdefault(socket, Source(socket))
    return _sources[socket]


def _fetch(socket: str, timeout: float, known: Mapping[str, Svid]) -> _Fetched | HexrError:
    """What did not change keeps its Svid, and with it its connections. The error is
    returned, not raised: what was raised below has keys in its frames."""
    from ._workload import Failure, fetch

    raws = fetch(socket, timeout)
    if isinstance(raws, Failure):
        return IdentityError(_SAID[raws.name])
    try:
        return _usable([_svid(raw, known) for raw in raws])
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        return IdentityError(_SAID["UNUSABLE"])


def _usable(svids: list[Svid]) -> _Fetched | HexrError:
    now = time.time()
    usable: dict[str, Svid] = {}
    for svid in sorted(svids, key=lambda svid: svid.expires):  # of the same ID the one that lives longest
        if svid.expires > now:
            usable[svid.spiffe_id] = svid
    if not usable:
        return IdentityError(_SAID["EXPIRED"])
    expires = min(svid.expires for svid in usable.values())
    return _Fetched(usable, expires, time.monotonic() + min(_MAX_AGE, (expires - now) / 2))


def _svid(raw: Raw, known: Mapping[str, Svid]) -> Svid:
    from ._tls import client_context

    digest = hashlib.sha256(raw.chain + raw.authorities).digest()
    same = known.get(raw.spiffe_id)
    if same is not None and same.digest == digest:
        return same
    tls = client_context(raw.chain, raw.key, raw.authorities)
    return Svid(raw.spiffe_id, trust_domain(raw.spiffe_id), tls, raw.expires, digest)
