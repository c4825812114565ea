"""A Workload API that serves the SVIDs of several identities of a cluster at once, or nothing."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe._proto import workload_pb2, workload_pb2_grpc

from hexr._workload import fetch
from hexr.testing import DevCluster


def _svid(cluster: DevCluster, identity: str) -> Any:
    with cluster.identity(identity) as env:
        raws = fetch(env["SPIFFE_ENDPOINT_SOCKET"], 30)
    assert isinstance(raws, list)
    svid, bundle = raws[0].svid, raws[0].bundle
    return workload_pb2.X509SVID(
        spiffe_id=str(svid.spiffe_id),
        x509_svid=b"".join(c.public_bytes(Encoding.DER) for c in svid.cert_chain),
        x509_svid_key=svid.private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        bundle=b"".join(c.public_bytes(Encoding.DER) for c in bundle.x509_authorities),
    )


@contextmanager
def serve(cluster: DevCluster, identities: Sequence[str], *, silent: bool = False) -> Iterator[str]:
    """The address of the socket. Without identities it says that there is none; silent
    ones never answer."""
    response = workload_pb2.X509SVIDResponse(svids=[_svid(cluster, identity) for identity in identities])

    class Api(workload_pb2_grpc.SpiffeWorkloadAPIServicer):
        def FetchX509SVID(self, request: Any, context: Any) -> Iterator[Any]:
            if silent:
                done.wait()
                return
            if not identities:
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
            yield response

    done = threading.Event()
    directory = tempfile.mkdtemp(prefix="hexr-")
    address = f"unix://{directory}/api.sock"
    server = grpc.server(ThreadPoolExecutor(4))
    workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server(Api(), server)
    server.add_insecure_port(f"unix:{directory}/api.sock")
    server.start()
    try:
        yield address
    finally:
        done.set()
        server.stop(None).wait()
        shutil.rmtree(directory)
