"""The example of roles in multi-agent frameworks."""

from __future__ import annotations

import importlib.util
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hexr.testing import DevCluster

ROLES = str(Path(__file__).resolve().parent.parent / "examples" / "roles.py")


@pytest.mark.parametrize("framework", ["plain", "autogen", "crewai"])
def test_each_role_reads_its_own(cluster: DevCluster, framework: str) -> None:
    module = {"autogen": "autogen_core", "crewai": "crewai"}.get(framework)
    if module and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    done = cluster.run("acme/crew", sys.executable, ROLES, "setup")
    assert done.returncode == 0, done.stderr
    launcher = shlex.join(cluster.command("acme/crew/{role}"))
    told = subprocess.run(
        [sys.executable, ROLES, "run", "--with", launcher, "--framework", framework],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == [
        "researcher: results for 'the state of the art', read with a key of 17 characters; denied: CMS_TOKEN",
        "writer: published \"results for 'the state of the art', read with a key of 17 characters\" "
        "with a token of 13 characters; denied: RESEARCH_DB_KEY",
    ]
