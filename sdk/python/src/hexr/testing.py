"""A real hexrd cluster for tests: `hexrd dev` in a directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

_TELL = (
    "import json, os, sys; print(json.dumps({k: os.environ.get(k, '') for k in sys.argv[1:]}), flush=True); sys.stdin.read()"
)
_VARIABLES = ("SPIFFE_ENDPOINT_SOCKET", "HEXR_ADDR", "HEXR_VAULT_URL", "HEXR_CA_FILE")


def find_hexrd() -> str:
    """The hexrd program: HEXRD_BIN, or the one on the PATH."""
    program = os.environ.get("HEXRD_BIN") or shutil.which("hexrd")
    if not program or not Path(program).exists():
        raise FileNotFoundError("no hexrd program: put it on the PATH, or set HEXRD_BIN to it")
    return program


class DevCluster:
    """Node processes on this machine, with a CA and identities. It isolates nothing: for
    tests alone. Use it as a context manager."""

    def __init__(self, nodes: int = 1, *, flags: Sequence[str] = (), program: str | None = None) -> None:
        self.program = program or find_hexrd()
        self._flags = [f"--nodes={nodes}", *flags]
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = tempfile.mkdtemp(prefix="hexrd-")
        self.log = Path(self._directory) / "dev.log"

    def start(self) -> DevCluster:
        """Returns when every node is healthy."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(*self._flags), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        try:
            self.nodes()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends the nodes and removes their data."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def nodes(self) -> list[dict[str, Any]]:
        """What `hexrd dev nodes` tells of each: id, address, pid, role, state."""
        return [json.loads(line) for line in self._verb("nodes", "--output=json").splitlines() if line]

    def kill(self, node: str = "leader", signal: str = "KILL") -> str:
        """Sends a signal to a node; its id."""
        return str(json.loads(self._verb("kill", "--output=json", f"--signal={signal}", node))["id"])

    def start_node(self, node: str) -> None:
        """Starts a node that was killed, and waits until it is healthy."""
        self._verb("start", "--output=json", node)

    def command(self, identity: str, *command: str, svid_ttl: str = "") -> list[str]:
        """The command line that runs a program with an identity: TENANT/AGENT[/PROCESS], or the
        path of a SPIFFE ID such as /hexr/provisioner/acme/ci."""
        ttl = [f"--svid-ttl={svid_ttl}"] if svid_ttl else []
        return self._command("exec", *ttl, identity, "--", *command)

    def run(
        self, identity: str, *command: str, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program with an identity, to its end."""
        environment = {**os.environ, **(env or {})}
        return subprocess.run(
            self.command(identity, *command), env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    @contextmanager
    def identity(self, identity: str, *, svid_ttl: str = "") -> Generator[dict[str, str]]:
        """The environment that gives a program the identity, for as long as the body runs."""
        with subprocess.Popen(
            self.command(identity, sys.executable, "-c", _TELL, *_VARIABLES, svid_ttl=svid_ttl),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None and process.stdin is not None
            told = process.stdout.readline()
            try:
                if not told:
                    raise RuntimeError(f"no identity {identity}: see {self.log}")
                yield json.loads(told)
            finally:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()

    def _command(self, *args: str) -> list[str]:
        return [self.program, "dev", "--dir", self._directory + "/cluster", *args]

    def _verb(self, *args: str) -> str:
        done = subprocess.run(self._command(*args), capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            log = self.log.read_text() if self.log.exists() else ""
            raise RuntimeError(f"hexrd dev {args[0]}: {done.stderr}{log}")
        return done.stdout

    def __enter__(self) -> DevCluster:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()
