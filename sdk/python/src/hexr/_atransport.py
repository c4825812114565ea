"""Asynchronous calls: as the blocking ones, on asyncio or trio."""

from __future__ import annotations

import asyncio
import contextlib
import time
import weakref
from collections.abc import AsyncIterable, Iterable
from typing import Any, TypeVar, cast

import anyio
import anyio.to_thread
import httpcore

from . import _fork, _identity
from ._alive import SIGN_OF_LIFE
from ._api import Request
from ._config import Address
from ._identity import Source, Svid
from ._spiffe import Declared
from ._wire import (
    MAX_ANSWER,
    NO_CONTEXT,
    NotANode,
    Shared,
    asked,
    check_node,
    failure,
    limits,
    remaining,
    until,
    untrusted,
)
from .errors import HexrError

T = TypeVar("T")


class AsyncTransport(Shared):
    """For tasks of one event loop at a time; in another loop, and after a fork, it starts
    with new connections."""

    def __init__(self, addresses: tuple[Address, ...], declared: Declared, timeout: float) -> None:
        super().__init__(addresses, declared, timeout)
        self._pool: httpcore.AsyncConnectionPool | None = None
        self._loop: weakref.ref[Any] | None = None
        _fork.register(self)

    def _current_pool(self) -> httpcore.AsyncConnectionPool:
        loop = _running_loop()
        if self._pool is None or (self._loop is not None and self._loop() is not loop):
            if self._pool is not None:
                self.drop()  # of a loop that ended
            self._loop = weakref.ref(loop) if loop is not None else None
            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=NO_CONTEXT,
                max_connections=100,
                max_keepalive_connections=20,
                keepalive_expiry=60,
                network_backend=_Backend(self),
            )
        return self._pool

    async def call(self, request: Request[T] | HexrError, timeout: float | None = None) -> T:
        """The answer of the first node that gives one, within the timeout, its own or the client's."""
        if isinstance(request, HexrError):
            raise request
        tries = self.tries(timeout, mutation=bool(request.request_id))
        while True:
            result = await self._try(request, tries.node, tries.deadline)
            if not isinstance(result, HexrError):
                return result
            await anyio.sleep(tries.pause(result))

    async def _try(self, request: Request[T], node: int, deadline: float) -> T | HexrError:
        source = _identity.source()
        self.svid = await _svid(source, self.declared)
        end, timeouts = limits(deadline)
        try:
            with until(end, self.addresses[node]):
                method, url, headers, body, extensions = self.request(request, node, timeouts)
                pool = self._current_pool()
                async with pool.stream(method, url, headers=headers, content=body, extensions=extensions) as response:
                    answer = await _bounded(response.aiter_stream())
                    result = request.answer(response.status, answer)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as err:
            result = failure(err, request.path)
        return self.judge(source, result)

    async def open(self, request: Request[Any], node: int, silence: float) -> httpcore.Response | HexrError:
        """The answer of a node that goes on, to be read and closed by the caller; each read
        waits at most silence, within ends."""
        source = _identity.source()
        try:
            self.svid = await _svid(source, self.declared)
        except HexrError as err:
            return err.with_traceback(None)
        end, timeouts = limits(time.monotonic() + silence)
        try:
            with until(end):
                method, url, headers, _, extensions = self.request(request, node, timeouts | {"read": silence})
                opening = httpcore.Request(method, url, headers=headers, extensions=extensions)
                response = await self._current_pool().handle_async_request(opening)
                if response.status == 200:
                    return response
                try:
                    result: HexrError = request.answer(response.status, await _bounded(response.aiter_stream()))
                finally:
                    await response.aclose()
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as err:
            result = failure(err, request.path)
        return self.judge(source, result)

    async def greet(self, node: Address) -> None:
        """Shakes hands with a node over a connection of its own; raises where it hangs."""
        with until(time.monotonic() + SIGN_OF_LIFE):
            stream = await _Backend(self).connect_tcp(*node)
            await (await stream.start_tls(NO_CONTEXT, node[0])).aclose()
        self.signs.returned(node)

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    def forked(self) -> None:
        self.drop()
        self._pool = None


def _running_loop() -> Any:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None  # trio


async def _svid(source: Source, declared: Declared) -> Svid:
    """Fetching blocks: it is left to a thread."""
    if source.ready():
        return source.svid(declared)
    return await anyio.to_thread.run_sync(source.svid, declared)


async def _bounded(chunks: AsyncIterable[bytes]) -> bytes:
    answer = bytearray()
    async for chunk in chunks:
        answer += chunk
        if len(answer) > MAX_ANSWER:
            raise httpcore.RemoteProtocolError
    return bytes(answer)


class _Backend(httpcore.AsyncNetworkBackend):
    """Makes connections for the SVID of the moment."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._inner: httpcore.AsyncNetworkBackend = cast(Any, httpcore.AnyIOBackend)()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._inner.connect_tcp(
            host, port, remaining(timeout, httpcore.ConnectTimeout), local_address, socket_options
        )
        assert self._transport.svid is not None
        return _Stream(stream, self._transport, self._transport.svid)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection of one SVID, which counts as closed when that is replaced."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, transport: AsyncTransport, svid: Svid) -> None:
        self._inner, self._transport, self._svid = inner, transport, svid
        transport.track(inner.get_extra_info("socket"))

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        node = asked.get()
        if node is not None:
            early = await self._hear(max_bytes, node)
            if early is not None:
                return early
        return await self._inner.read(max_bytes, remaining(timeout))

    async def _hear(self, max_bytes: int, node: Address) -> bytes | None:
        """What a node says at once; None where it lives and takes its time. Raises where it hangs."""
        with contextlib.suppress(httpcore.ReadTimeout):
            return await self._inner.read(max_bytes, remaining(SIGN_OF_LIFE))
        if self._transport.signs.is_mine(node):
            await self._transport.greet(node)
            return None
        try:
            return await self._inner.read(max_bytes, remaining(SIGN_OF_LIFE))
        except httpcore.ReadTimeout:
            if self._transport.signs.is_alive(node):
                return None
            raise

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, remaining(timeout))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            stream = await self._inner.start_tls(self._svid.tls, server_hostname, remaining(timeout))
        except BaseException as err:
            await self.aclose()  # by itself it does where it has begun; the try may be over
            if untrusted(err):
                raise NotANode from None
            raise
        try:
            check_node(stream.get_extra_info("ssl_object"), self._svid)
        except NotANode:
            await stream.aclose()
            raise
        return _Stream(stream, self._transport, self._svid)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._svid is not self._transport.svid:
            return True
        return self._inner.get_extra_info(info)
