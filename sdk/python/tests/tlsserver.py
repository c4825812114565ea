"""A TLS server with any SVID of a cluster, which remembers what it was sent."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from hexr._tls import _in_memory
from hexr._workload import fetch
from hexr.testing import DevCluster

HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" + b'{"status":"ok"}'


@dataclass
class Server:
    port: int
    received: bytearray = field(default_factory=bytearray)
    handshakes: list[str] = field(default_factory=list)
    shaken: threading.Condition = field(default_factory=threading.Condition)
    seen: threading.Event = field(default_factory=threading.Event)


def context(cluster: DevCluster, identity: str, *, highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    with cluster.identity(identity) as env:
        raws = fetch(env["SPIFFE_ENDPOINT_SOCKET"], 30)
    assert isinstance(raws, list)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.maximum_version = highest
    with _in_memory(raws[0].chain) as cert, _in_memory(raws[0].key) as private:
        tls.load_cert_chain(cert, private)
    return tls


@contextmanager
def serve(tls: ssl.SSLContext, answer: bytes = b"", handshakes: int = 1) -> Iterator[Server]:
    """Answers every request that ends with a blank line with the same bytes, once it has had
    so many handshakes."""
    listener = socket.create_server(("127.0.0.1", 0))
    state = Server(listener.getsockname()[1])

    def talk(raw: socket.socket) -> None:
        with raw, suppress(OSError):
            raw.settimeout(30)
            try:
                exchange(raw)
            finally:
                state.seen.set()

    def exchange(raw: socket.socket) -> None:
        try:
            conn = tls.wrap_socket(raw, server_side=True)
        except OSError as err:
            state.handshakes.append(type(err).__name__)
            return
        with conn:
            with state.shaken:
                state.handshakes.append(str(conn.version()))
                state.shaken.notify_all()
            buffer = b""
            while data := conn.recv(65536):
                state.received += data
                buffer += data
                while answer and b"\r\n\r\n" in buffer:
                    buffer = buffer.partition(b"\r\n\r\n")[2]
                    with state.shaken:
                        if not state.shaken.wait_for(lambda: len(state.handshakes) >= handshakes, 30):
                            return
                    conn.sendall(answer)

    def accept() -> None:
        with suppress(OSError):
            while True:
                raw, _ = listener.accept()
                threading.Thread(target=talk, args=(raw,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
