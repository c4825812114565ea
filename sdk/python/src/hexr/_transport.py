"""Blocking calls: connections to nodes, over which a request is tried until one answers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, TypeVar

import httpcore

from . import _fork, _identity
from ._api import Request
from ._config import Address
from ._identity import Svid
from ._spiffe import Declared
from ._tlsstream import TlsStream
from ._wire import MAX_ANSWER, NO_CONTEXT, NotANode, Shared, check_node, ends, failure, limits, remaining, untrusted
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
        tries = self.tries(timeout)
        while True:
            result = self._try(request, tries.node, tries.deadline)
            if not isinstance(result, HexrError):
                return result
            time.sleep(tries.pause(result))

    def _try(self, request: Request[T], node: int, deadline: float) -> T | HexrError:
        source = _identity.source()
        self.svid = source.svid(self.declared)
        end, timeouts = limits(deadline)
        token = ends.set(end)
        try:
            method, url, headers, body, extensions = self.request(request, node, timeouts)
            with self._pool.stream(method, url, headers=headers, content=body, extensions=extensions) as response:
                answer = _bounded(response.iter_stream())
                result = request.answer(response.status, answer)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as err:
            result = failure(err, request.path)
        finally:
            ends.reset(token)
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
        token = ends.set(end)
        try:
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
        finally:
            ends.reset(token)
        return self.judge(source, result)

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

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        stream = super().connect_tcp(host, port, remaining(timeout), local_address, socket_options)
        assert self._shared.svid is not None
        return _Stream(stream, self._shared, self._shared.svid)


class _Stream(httpcore.NetworkStream):
    """A connection of one SVID, which counts as closed when that is replaced."""

    def __init__(self, inner: httpcore.NetworkStream, shared: Shared, svid: Svid) -> None:
        self._inner, self._shared, self._svid = inner, shared, svid
        shared.track(inner.get_extra_info("socket"))

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, remaining(timeout))

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
        if info == "is_readable" and self._svid is not self._shared.svid:
            return True
        return self._inner.get_extra_info(info)
