"""A Workload API that serves the SVIDs of several identities of a cluster at once, or nothing."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

from hexr._workload import fetch
from hexr.testing import DevCluster


def message(*fields: bytes) -> bytes:
    """A protobuf message of strings, bytes and messages, numbered from 1."""
    out = b""
    for number, content in enumerate(fields, 1):
        size, varint = len(content), b""
        while size > 0x7F:
            varint += bytes([size & 0x7F | 0x80])
            size >>= 7
        out += bytes([number << 3 | 2]) + varint + bytes([size]) + content
    return out


def _svid(cluster: DevCluster, identity: str) -> bytes:
    """As X509SVIDResponse has it: one of its entries, ready to be joined."""
    with cluster.identity(identity) as env:
        raws = fetch(env["SPIFFE_ENDPOINT_SOCKET"], 30)
    assert isinstance(raws, list)
    raw = raws[0]
    chain = b"".join(c.public_bytes(Encoding.DER) for c in load_pem_x509_certificates(raw.chain))
    key = load_pem_private_key(raw.key, None).private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return message(message(raw.spiffe_id.encode(), chain, key, raw.authorities))


@contextmanager
def serve(cluster: DevCluster, identities: Sequence[str], *, silent: bool = False) -> Iterator[str]:
    """The address of the socket. Without identities it says that there is none; silent
    ones never answer."""
    response = b"".join(_svid(cluster, identity) for identity in identities)

    def fetch_x509_svid(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        if ("workload.spiffe.io", "true") not in context.invocation_metadata():
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "security header missing")
        if silent:
            done.wait()
            return
        if not identities:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
        yield response
        done.wait()  # the stream stays open, as the real one's does

    done = threading.Event()
    directory = tempfile.mkdtemp(prefix="hexr-")
    address = f"unix://{directory}/api.sock"
    server = grpc.server(ThreadPoolExecutor(4))
    method = grpc.unary_stream_rpc_method_handler(fetch_x509_svid)
    handler = grpc.method_handlers_generic_handler("SpiffeWorkloadAPI", {"FetchX509SVID": method})
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{directory}/api.sock")
    server.start()
    try:
        yield address
    finally:
        done.set()
        server.stop(None).wait()
        shutil.rmtree(directory)
