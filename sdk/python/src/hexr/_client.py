"""The blocking client."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

from . import _api, _config, _context, _events, _rotate, _rotation
from ._api import Duration, Request, Version
from ._cache import Cache
from ._fresh import Freshener, watching
from ._rotate import Generate, Verify
from ._rotation import Plan, Rotated
from ._secret import Secret
from ._spiffe import Declared
from ._transport import Transport
from ._watch import Watch
from .errors import HexrError, InvalidRequestError, NotFoundError

T = TypeVar("T")

Paths = list[str]  # the clients have a method of that name


def declare(tenant: str | None, verify_ssl: bool) -> Declared:
    """Who a client says that it is: the running agent, narrowed by what else is said."""
    if not verify_ssl:
        raise InvalidRequestError("verify_ssl can't be turned off: nodes are verified by their SPIFFE IDs")
    agent = _context.current()
    if agent is None:
        return Declared.of(tenant)
    return Declared.of(tenant or agent.tenant, agent.name, agent.role)


class VaultClient:
    """Reads and writes secrets as this process's SVID.

    ``base_url`` is https://host:port of a node, or host:port of several separated by commas;
    without it HEXR_ADDR, then HEXR_VAULT_URL say. ``tenant`` is checked against the SVID.
    ``timeout`` bounds each call, over all its tries. ``cache_ttl`` lets reads be answered
    from memory for that many seconds, while a watch tells what changes; such reads are in no
    audit.

    Connections are made when needed and kept. Safe over threads, fork and spawn.
    """

    def __init__(
        self,
        base_url: str | None = None,
        tenant: str | None = None,
        timeout: float = 30.0,
        *,
        cache_ttl: float = 0.0,
        verify_ssl: bool = True,
    ) -> None:
        self._declared = declare(tenant, verify_ssl)
        self._transport = Transport(_config.addresses(base_url), self._declared, timeout)
        self._cache = Cache(cache_ttl, threading.Lock)
        shared = self._transport
        self._fresh = Freshener(self._cache, watching(shared.addresses, self._declared, shared.timeout))
        self._watches: weakref.WeakSet[Watch] = weakref.WeakSet()
        weakref.finalize(self, self._transport.close)

    def get(self, path: str, scope: str | None = None) -> str:
        """The newest value, as text. It is looked for in the process's scope, the agent's and
        the tenant's, in this order, unless ``scope`` names one."""
        return self.get_secret(path, scope=scope).reveal()

    def get_bytes(self, path: str, scope: str | None = None) -> bytes:
        """The newest value, as bytes."""
        return self.get_secret(path, scope=scope).reveal_bytes()

    def get_json(self, path: str, scope: str | None = None) -> Any:
        """The newest value, read as JSON."""
        return result_or_raise(_api.from_json(self.get_secret(path, scope=scope)))

    def get_secret(self, path: str, version: int | None = None, scope: str | None = None) -> Secret:
        """The newest version, or one that is kept, with its metadata."""
        request = _api.get(path, scope, version)
        if self._cache.ttl <= 0:
            return self._transport.call(request)
        self._fresh.begin()
        key = (path, scope, version)
        secret = self._cache.get(key)
        if secret is None:
            with self._cache.flight(key):
                secret = self._cache.get(key)
                if secret is None:
                    generation = self._cache.generation()
                    secret = self._transport.call(request)
                    self._cache.put(key, secret, generation)
        return secret

    def get_or_default(self, path: str, default: str, scope: str | None = None) -> str:
        """The value, or ``default`` where there is none. Every other error is raised: a vault
        that can't be reached is not a vault without that secret."""
        try:
            return self.get(path, scope)
        except NotFoundError:
            return default

    def get_secrets(self, paths: Iterable[str], scope: str | None = None) -> dict[str, Secret]:
        """Many secrets, in one round trip for each hundred; all of them, or a BatchError that
        names those which can't be had."""
        return result_or_raise(_api.all_or_error(self.find_secrets(paths, scope)))

    def find_secrets(self, paths: Iterable[str], scope: str | None = None) -> dict[str, Secret | HexrError]:
        """Many secrets, for each the secret or why it can't be had."""
        results: dict[str, Secret | HexrError] = {}
        for part in _api.batches(list(paths)):
            answer = self._transport.call(_api.batch(part, scope))
            results.update(answer)
        return results

    def get_many(self, paths: Iterable[str], scope: str | None = None) -> dict[str, str]:
        """As get_secrets, the values as text."""
        return {path: secret.reveal() for path, secret in self.get_secrets(paths, scope).items()}

    def put(
        self,
        path: str,
        value: str | bytes,
        scope: str | None = None,
        metadata: Mapping[str, str] | None = None,
        expected_version: int | None = None,
        rotation: Duration | None = None,
    ) -> int:
        """Writes the next version and returns its number. ``scope`` is a process's name or a
        full scope; without it every process of the agent may read the secret.
        ``expected_version`` makes it a compare-and-set; 0 means that there is none yet.
        ``metadata`` are labels, not secret. ``rotation``, as "90d", is how often it is to be
        rotated."""
        request = _api.put(path, value, scope, metadata, expected_version, rotation)
        del value  # no traceback through here shows it
        return self.change(path, request)

    def put_json(
        self,
        path: str,
        value: object,
        scope: str | None = None,
        metadata: Mapping[str, str] | None = None,
        expected_version: int | None = None,
        rotation: Duration | None = None,
    ) -> int:
        """As put, with what json can write."""
        request = _api.put_json(path, value, scope, metadata, expected_version, rotation)
        del value
        return self.change(path, request)

    def delete(self, path: str, scope: str | None = None) -> None:
        """Hides a secret. For a day (the cluster's setting) it can be undeleted."""
        self.change(path, _api.delete(path, scope))

    def undelete(self, path: str, scope: str | None = None) -> int:
        """Takes a delete back, and returns the version that is the newest again."""
        return self.change(path, _api.undelete(path, scope))

    def list(self, prefix: str = "", scope: str | None = None, *, overdue: bool = False) -> Paths:
        """The paths that this process may read, sorted; with ``overdue`` those whose rotation
        is. Never values."""
        found: set[str] = set()
        token = ""
        while True:
            paths, token = self._transport.call(_api.page(prefix, scope, token, overdue))
            found.update(paths)
            if not token:
                return sorted(found)

    def exists(self, path: str, scope: str | None = None) -> bool:
        """Whether a get would be answered. The value is not fetched."""
        try:
            return self._transport.call(_api.describe(path, scope))
        except NotFoundError:
            return False

    def versions(self, path: str, scope: str | None = None) -> Sequence[Version]:
        """The versions that are kept, ascending."""
        return self._transport.call(_api.versions(path, scope))

    def rotate(
        self,
        path: str,
        generate: Generate,
        verify: Verify | None = None,
        grace: Duration | None = None,
        *,
        scope: str | None = None,
        metadata: Mapping[str, str] | None = None,
        on_rotate: Callable[[Rotated], object] | None = None,
        lease: float = 30.0,
    ) -> Rotated:
        """Makes a new version, tests it, and makes it current; until then everybody reads the
        old one, which stays readable by its number for ``grace`` (24 h).

        ``generate`` makes the value, once no other rotator can be at work, and not at all where
        one that went away had made one that passes. ``verify`` gets the new Secret before anybody
        else, and raises or returns False where it is no good: VerifyError, and the old one stays.
        ``on_rotate`` is called when the new one is current; what it raises takes nothing back.

        It may be called by any number of processes: one works, the others get RotatingError, for
        at most ``lease`` seconds after a rotator died. VersionConflictError: somebody put in
        between; that stays."""
        return self.run(Plan(path, scope, grace, metadata, lease), generate, verify, on_rotate)

    def set_rotation(self, path: str, every: Duration, scope: str | None = None) -> datetime | None:
        """Sets how often a secret is to be rotated, as "90d"; "0s": not at all. Returns when it
        is due. A client rotates (Rotator); hexrd says what is overdue."""
        return self._transport.call(_rotation.schedule(path, every, scope))

    def watch(
        self,
        prefix: str = "",
        *,
        path: str | None = None,
        scope: str | None = None,
        after: str | None = None,
        bookmarks: bool = False,
    ) -> Watch:
        """Iterates over what changes in the scopes that this process may read, from now on or
        behind the cursor ``after``: of paths with that prefix, or of exactly that path.
        ``bookmarks`` shows those, too: every 2 s, that nothing up to their cursor is to come."""
        query = _events.query(prefix, path, scope)
        shared = self._transport
        watch = Watch(shared.addresses, self._declared, shared.timeout, query, after, bookmarks)
        self._watches.add(watch)
        return watch

    def health(self) -> dict[str, str]:
        """What a node says of itself: ``{"status": "ok"}``, or why not."""
        return self._transport.call(_api.health())

    def close(self) -> None:
        """Closes the connections and the watches. A later call makes new connections."""
        for watch in list(self._watches):
            watch.close()
        self._fresh.close()
        self._transport.close()

    def change(self, path: str, request: Request[T] | HexrError) -> T:
        """Sends a mutation; an error in place of it is raised. For this package alone."""
        try:
            return self._transport.call(request)
        finally:
            self._cache.forget(path)

    def run(
        self,
        plan: Plan,
        generate: Generate,
        verify: Verify | None,
        on_rotate: Callable[[Rotated], object] | None,
        overdue: bool = False,
    ) -> Rotated:
        """A rotation, with overdue of what is that alone. For this package alone."""
        try:
            rotated = _rotate.rotate(self._transport, plan, generate, verify, overdue)
        finally:
            self._cache.forget(plan.path)
        if on_rotate is not None:
            on_rotate(rotated)
        return rotated

    def __enter__(self) -> VaultClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()


def result_or_raise(result: T | HexrError) -> T:
    if isinstance(result, HexrError):
        raise result
    return result
