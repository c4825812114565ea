"""Rotating a secret, blocking."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from ._api import transient
from ._rotation import CLEAN, NotDue, Plan, Rotated, generated, rejected, unless_false
from ._secret import Secret
from ._transport import Transport
from .errors import HexrError, VerifyError

Generate = Callable[[], str | bytes]
Verify = Callable[[Secret], object]


def rotate(transport: Transport, plan: Plan, generate: Generate, verify: Verify | None, overdue: bool = False) -> Rotated:
    """A whole rotation; with overdue NotDue where the secret is not that any more, once the
    lease is held."""
    plan.holds(transport.call(plan.begin()))
    try:
        if overdue and not transport.call(plan.overdue()):
            raise NotDue
        with _Kept(transport, plan) as kept:
            return _finish(transport, plan, generate, verify, kept)
    except BaseException:
        with contextlib.suppress(HexrError):  # so that nobody has to wait for the lease's end
            transport.call(plan.abort(), CLEAN)
        raise


class _Kept:
    """Keeps the lease while the body runs; check raises what took it."""

    def __init__(self, transport: Transport, plan: Plan) -> None:
        self._transport, self._plan, self._pause = transport, plan, plan.lease / 3
        self._done = threading.Event()
        self._lost: HexrError | None = None
        self._thread = threading.Thread(target=self._run, name="hexr-lease", daemon=True)

    def _run(self) -> None:
        while not self._done.wait(self._pause):
            try:
                self._transport.call(self._plan.keep())
            except HexrError as err:
                if not transient(err):
                    self._lost = err.with_traceback(None)
                    return

    def check(self) -> None:
        if self._lost is not None:
            raise self._lost from None

    def __enter__(self) -> _Kept:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._done.set()
        self._thread.join()


def _finish(transport: Transport, plan: Plan, generate: Generate, verify: Verify | None, kept: _Kept) -> Rotated:
    if plan.resumed:
        with contextlib.suppress(HexrError):  # a new version is needed then; a provisioner reads none
            _verify(verify, transport.call(plan.left()))
            kept.check()
            return transport.call(plan.commit())
    kept.check()
    secret = generated(plan.path, generate())
    if isinstance(secret, HexrError):
        raise secret
    kept.check()
    request = plan.stage(secret)
    _verify(verify, plan.staged(secret, transport.call(request)))
    kept.check()
    return transport.call(plan.commit())


def _verify(verify: Verify | None, secret: Secret) -> None:
    failed: VerifyError | None = None
    if verify is not None:
        try:
            failed = unless_false(verify(secret), secret.path)
        except Exception as err:
            failed = rejected(err, secret.path)
    if failed is not None:
        raise failed
