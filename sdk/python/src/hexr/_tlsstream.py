"""TLS over a blocking connection."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import httpcore

T = TypeVar("T")

_RECORD = 16 << 10  # bytes; the most that TLS puts into one


class TlsStream(httpcore.NetworkStream):
    """Waits for the network outside of OpenSSL, where ssl.SSLSocket waits inside: a fork
    meanwhile would leave OpenSSL's locks to the child as they are (_fork.whole)."""

    def __init__(self, inner: httpcore.NetworkStream, context: ssl.SSLContext, timeout: float | None) -> None:
        self._inner = inner
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes)
        try:
            self._exchange(self._tls.do_handshake, timeout)
        except ssl.SSLError as err:
            raise httpcore.ConnectError(str(err)) from err

    def _exchange(self, step: Callable[[], T], timeout: float | None) -> T:
        """Takes a step once the network has brought what that needs; timeout is for each wait."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._send(timeout)
                data = self._inner.read(_RECORD, timeout)
                if data:
                    self._came.write(data)
                else:
                    self._came.write_eof()
            else:
                self._send(timeout)
                return result

    def _send(self, timeout: float | None) -> None:
        if self._goes.pending:
            self._inner.write(self._goes.read(), timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._exchange(partial(self._tls.read, max_bytes), timeout)
        except ssl.SSLEOFError:  # as SSLSocket has it; HTTP says where an answer ends
            return b""
        except ssl.SSLError as err:
            raise httpcore.ReadError(str(err)) from err

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            while buffer:
                buffer = buffer[self._exchange(partial(self._tls.write, buffer), timeout) :]
        except ssl.SSLError as err:
            raise httpcore.WriteError(str(err)) from err

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._tls if info == "ssl_object" else self._inner.get_extra_info(info)
