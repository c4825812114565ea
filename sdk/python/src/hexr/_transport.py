"""Blocking calls: connections to nodes, over which a request is tried until one answers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Any, TypeVar

import httpcore

from . import _fork, _identity
from ._alive import SIGN_OF_LIFE
from ._api import Request
from ._config import Address
from ._identity import Svid
from ._spiffe import Declared
from ._tlsstream import TlsStream
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


class Transport(Shared):
    """Safe over threads and fork."""

    def __init__(self, addresses: tuple[Address, ...], declared: Declared, timeout: float) -> None:
        super().__init__(addresses, declared, timeout)
        self._pool = self._new_pool()
        _fork.register(self)

    def _new_pool(self) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            ssl_context=NO_CONTEXT,
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=60,
            network_backend=_Backend(self),
        )

    def call(self, request: Request[T] | HexrError, timeout: float | None = None) -> T:
        """The answer of the first node that gives one, within the timeout, its own or the client's."""
        if isinstance(request, HexrError):
            raise request
        tries = self.tries(timeout, mutation=bool(request.request_id))
        while True:
            result = self._try(request, tries.node, tries.deadline)
            if not isinstance(result, HexrError):
                return result
            time.sleep(tries.pause(result))

    def _try(self, request: Request[T], node: int, deadline: float) -> T | HexrError:
        source = _identity.source()
        self.svid = source.svid(self.declared)
        end, timeouts = limits(deadline)
        try:
            with until(end, self.addresses[node]):
                method, url, headers, body, extensions = self.request(request, node, timeouts)
                with self._pool.stream(method, url, headers=headers, content=body, extensions=extensions) as response:
                    answer = _bounded(response.iter_stream())
                    result = request.answer(response.status, answer)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as err:
            result = failure(err, request.path)
        return self.judge(source, result)

    def open(self, request: Request[Any], node: int, silence: float) -> httpcore.Response | HexrError:
        """The answer of a node that goes on, to be read and closed by the caller; each read
        waits at most silence, within ends."""
        source = _identity.source()
        try:
            self.svid = source.svid(self.declared)
        except HexrError as err:
            return err.with_traceback(None)
        end, timeouts = limits(time.monotonic() + silence)
        try:
            with until(end):
                method, url, headers, _, extensions = self.request(request, node, timeouts | {"read": silence})
                response = self._pool.handle_request(httpcore.Request(method, url, headers=headers, extensions=extensions))
                if response.status == 200:
                    return response
                try:
                    result: HexrError = request.answer(response.status, _bounded(response.iter_stream()))
                finally:
                    response.close()
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as err:
            result = failure(err, request.path)
        return self.judge(source, result)

    def greet(self, node: Address) -> None:
        """Shakes hands with a node over a connection of its own; raises where it hangs."""
        with until(time.monotonic() + SIGN_OF_LIFE):
            _Backend(self).connect_tcp(*node).start_tls(NO_CONTEXT).close()
        self.signs.returned(node)

    def close(self) -> None:
        self._pool.close()

    def forked(self) -> None:
        self.drop()
        self._pool = self._new_pool()


def _bounded(chunks: Iterable[bytes]) -> bytes:
    answer = bytearray()
    for chunk in chunks:
        answer += chunk
        if len(answer) > MAX_ANSWER:
            raise httpcore.RemoteProtocolError
    return bytes(answer)


class _Backend(httpcore.SyncBackend):
    """Makes connections for the SVID of the moment."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        stream = super().connect_tcp(host, port, remaining(timeout, httpcore.ConnectTimeout), local_address, socket_options)
        assert self._transport.svid is not None
        return _Stream(stream, self._transport, self._transport.svid)


class _Stream(httpcore.NetworkStream):
    """A connection of one SVID, which counts as closed when that is replaced."""

    def __init__(self, inner: httpcore.NetworkStream, transport: Transport, svid: Svid) -> None:
        self._inner, self._transport, self._svid = inner, transport, svid
        transport.track(inner.get_extra_info("socket"))

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        node = asked.get()
        if node is not None:
            early = self._hear(max_bytes, node)
            if early is not None:
                return early
        return self._inner.read(max_bytes, remaining(timeout))

    def _hear(self, max_bytes: int, node: Address) -> bytes | None:
        """What a node says at once; None where it lives and takes its time. Raises where it hangs."""
        with contextlib.suppress(httpcore.ReadTimeout):
            return self._inner.read(max_bytes, remaining(SIGN_OF_LIFE))
        if self._transport.signs.is_mine(node):
            self._transport.greet(node)
            return None
        try:
            return self._inner.read(max_bytes, remaining(SIGN_OF_LIFE))
        except httpcore.ReadTimeout:
            if self._transport.signs.is_alive(node):
                return None
            raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, remaining(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            stream = TlsStream(self, self._svid.tls, timeout)
            check_node(stream.get_extra_info("ssl_object"), self._svid)
        except BaseException as err:
            self.close()
            if untrusted(err):
                raise NotANode from None
            raise
        return stream

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._svid is not self._transport.svid:
            return True
        return self._inner.get_extra_info(info)
