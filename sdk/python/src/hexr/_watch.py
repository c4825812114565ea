"""Watching what changes, blocking."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any, cast

import httpcore

from . import _fork
from ._config import Address
from ._events import SILENCE, Change, Course, Query
from ._spiffe import Declared
from ._transport import Transport
from ._wire import failure, until
from .errors import HexrError


class Watch:
    """An iterator over changes, each once and in order, that goes on at another node when one
    goes away. It ends when it is closed, and raises when this process may not watch any more.

    Entering it (``with``) waits until it has begun: what is read from then on, and changes, is
    seen as a change. Safe over threads; a forked child goes on with a connection of its own.
    """

    def __init__(
        self,
        addresses: tuple[Address, ...],
        declared: Declared,
        timeout: float,
        query: Query,
        after: str | None,
        bookmarks: bool,
    ) -> None:
        self._transport = Transport(addresses, declared, timeout)
        self._course = Course(query, self._transport, after, bookmarks)
        self._closed = threading.Event()
        self._ahead: Change | None = None  # came while it was entered
        self._forget()
        _fork.register(self)
        weakref.finalize(self, self._transport.close)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._response: httpcore.Response | None = None
        self._chunks: Iterator[bytes] | None = None
        self._socket: socket.socket | None = None

    @property
    def cursor(self) -> str:
        """Of what was seen last: another watch goes on ``after`` it, on any node."""
        return self._course.cursor

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Change:
        with self._lock:
            ahead, self._ahead = self._ahead, None
            change = ahead or self._next(begin=False)
            if change is None:
                raise StopIteration
            return change

    def __enter__(self) -> Watch:
        with self._lock:
            if not self._course.begun:
                self._ahead = self._next(begin=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends it, also for a thread that waits for a change."""
        self._closed.set()
        if self._lock.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._lock.release()
        else:
            self._wake()

    def forked(self) -> None:
        closed, self._closed = self._closed.is_set(), threading.Event()
        if closed:
            self._closed.set()
        self._forget()
        self._course.restart()

    def _next(self, begin: bool) -> Change | None:
        """The next change; with begin none where the watch begins with a bookmark."""
        try:
            while not self._closed.is_set():
                event = self._course.take()
                if isinstance(event, Change) or (begin and self._course.begun):
                    return event if isinstance(event, Change) else None
                err = event or self._read()
                if err is not None:
                    self._drop()
                    if not self._closed.is_set():
                        self._closed.wait(self._course.pause(err))
        except HexrError:
            self._closed.set()
            self._drop()
            raise
        except BaseException:  # an interrupt: the stream is of no use any more
            self._drop()
            raise
        self._drop()
        return None

    def _read(self) -> HexrError | None:
        """Waits for what a node sends."""
        if self._chunks is None:
            opened = self._transport.open(*self._course.request(), SILENCE)
            if isinstance(opened, HexrError):
                return opened
            self._response, self._chunks = opened, iter(opened.iter_stream())
            self._socket = cast(Any, opened).extensions["network_stream"].get_extra_info("socket")
            if self._closed.is_set():
                return None
        try:
            with until(time.monotonic() + SILENCE):
                chunk = next(self._chunks, b"")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as err:
            return failure(err, "")
        return self._course.feed(chunk)

    def _drop(self) -> None:
        response, self._response, self._chunks, self._socket = self._response, None, None, None
        if response is not None:
            response.close()

    def _wake(self) -> None:
        """Has a thread that reads see the end."""
        sock = self._socket
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
