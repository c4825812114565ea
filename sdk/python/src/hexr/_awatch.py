"""Watching what changes, on asyncio or trio."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from types import TracebackType

import anyio
import httpcore

from . import _fork
from ._atransport import AsyncTransport
from ._config import Address
from ._events import SILENCE, Change, Course, Query
from ._spiffe import Declared
from ._wire import failure, until
from .errors import HexrError


class AsyncWatch:
    """Watch as an asynchronous iterator, for one task at a time. Close it, or use it as
    ``async with``; a cancelled wait loses nothing, and the next one goes on behind it."""

    def __init__(
        self,
        addresses: tuple[Address, ...],
        declared: Declared,
        timeout: float,
        query: Query,
        after: str | None,
        bookmarks: bool,
    ) -> None:
        self._transport = AsyncTransport(addresses, declared, timeout)
        self._course = Course(query, self._transport, after, bookmarks)
        self._closed = False
        self._ahead: Change | None = None  # came while it was entered
        self._forget()
        _fork.register(self)

    def _forget(self) -> None:
        self._waiting: anyio.CancelScope | None = None
        self._response: httpcore.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    @property
    def cursor(self) -> str:
        """Of what was seen last: another watch goes on ``after`` it, on any node."""
        return self._course.cursor

    def __aiter__(self) -> AsyncWatch:
        return self

    async def __anext__(self) -> Change:
        ahead, self._ahead = self._ahead, None
        change = ahead or await self._next(begin=False)
        if change is None:
            raise StopAsyncIteration
        return change

    async def __aenter__(self) -> AsyncWatch:
        if not self._course.begun:
            self._ahead = await self._next(begin=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends it, also for a task that waits for a change."""
        self._closed = True
        if self._waiting is not None:
            self._waiting.cancel()
        else:
            await self._drop()
            await self._transport.close()

    def forked(self) -> None:
        self._forget()
        self._course.restart()

    async def _next(self, begin: bool) -> Change | None:
        """The next change; with begin none where the watch begins with a bookmark."""
        if self._waiting is not None:
            raise RuntimeError("a watch serves one task at a time")
        try:
            with anyio.CancelScope() as self._waiting:
                while not self._closed:
                    event = self._course.take()
                    if isinstance(event, Change) or (begin and self._course.begun):
                        return event if isinstance(event, Change) else None
                    err = event or await self._read()
                    if err is not None:
                        await self._drop()
                        await anyio.sleep(self._course.pause(err))
        except HexrError:
            self._closed = True
            await self._drop()
            raise
        except BaseException:  # cancelled: the stream is of no use any more
            await self._drop()
            raise
        finally:
            self._waiting = None
        await self._drop()
        await self._transport.close()
        return None

    async def _read(self) -> HexrError | None:
        """Waits for what a node sends."""
        if self._chunks is None:
            opened = await self._transport.open(*self._course.request(), SILENCE)
            if isinstance(opened, HexrError):
                return opened
            self._response, self._chunks = opened, aiter(opened.aiter_stream())
        try:
            with until(time.monotonic() + SILENCE):
                chunk = await anext(self._chunks, b"")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as err:
            return failure(err, "")
        return self._course.feed(chunk)

    async def _drop(self) -> None:
        """Ends the stream by a read whose time is over: with that error all of httpcore's
        generators end, of which trio wants none left half way."""
        response, chunks = self._response, self._chunks
        self._response = self._chunks = None
        if response is None or chunks is None:
            return
        with until(0.0), anyio.CancelScope(shield=True):
            with contextlib.suppress(httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
                async for _ in chunks:
                    pass
            await response.aclose()
