"""The programs of the documentation, as they stand, against three nodes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from hexr.testing import DevCluster

from .fakes import provider

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
DOCS = Path(__file__).resolve().parents[3] / "docs" / "python.md"

RUN = "import runpy, sys; runpy.run_path(sys.argv[1])['main']()"
FRAGMENT = "import sys; from hexr.vault import VaultClient; exec(open(sys.argv[1]).read(), {'vault': VaultClient()})"
GET = "import sys; from hexr.vault import VaultClient; print(VaultClient().get(sys.argv[1]))"


def python(cluster: DevCluster, identity: str, code: str, *args: str, **env: str) -> str:
    done = cluster.run(identity, sys.executable, "-W", "error", "-c", code, *args, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_store_and_get(cluster: DevCluster) -> None:
    python(cluster, "acme-corp/my-agent", RUN, str(EXAMPLES / "store_and_get.py"))
    assert python(cluster, "acme-corp/my-agent", GET, "OPENAI_API_KEY") == "sk-...\n"


def test_batch(cluster: DevCluster) -> None:
    put = "from hexr import vault; vault.put('OPENAI_API_KEY', 'sk-12345678'); vault.put('ANTHROPIC_API_KEY', 'sk-ant')"
    python(cluster, "acme-corp/my-agent", put)
    told = python(cluster, "acme-corp/my-agent", RUN, str(EXAMPLES / "batch.py"))
    assert told == "OpenAI key starts with: sk-12345...\n"


def test_scopes(cluster: DevCluster) -> None:
    python(cluster, "acme/my-agent", FRAGMENT, str(EXAMPLES / "scopes.py"))
    assert python(cluster, "acme/my-agent/researcher", GET, "RESEARCH_DB_KEY") == "value\n"
    assert python(cluster, "acme/my-agent/writer", GET, "SHARED_KEY") == "value\n"
    denied = cluster.run("acme/my-agent/writer", sys.executable, "-c", GET, "RESEARCH_DB_KEY")
    assert denied.returncode == 1
    assert "AccessDeniedError" in denied.stderr
    scope = "import sys; from hexr.vault import get_secret; print(get_secret(sys.argv[1]).scope)"
    assert python(cluster, "acme/my-agent/writer", scope, "SHARED_KEY") == "spiffe://hexr.cloud/agent/acme/my-agent/*\n"
    own = python(cluster, "acme/my-agent/researcher", scope, "RESEARCH_DB_KEY")
    assert own == "spiffe://hexr.cloud/agent/acme/my-agent/researcher\n"


def test_smart_agent(cluster: DevCluster) -> None:
    with provider() as server:
        told = python(
            cluster, "acme-corp/smart-agent", RUN, str(EXAMPLES / "smart_agent.py"), OPENAI_BASE_URL=f"{server.url}/v1"
        )
    assert told == "Stored secrets: ['OPENAI_API_KEY', 'SLACK_WEBHOOK']\n"
    (request,) = server.requests
    assert request.headers["authorization"] == "Bearer sk-proj-..."
    assert request.body["messages"] == [{"role": "user", "content": "Generate a status report"}]


def test_another_identity_is_refused(cluster: DevCluster) -> None:
    done = cluster.run("acme-corp/other", sys.executable, "-c", RUN, str(EXAMPLES / "store_and_get.py"))
    assert done.returncode == 1
    assert "IdentityError: the SVID of this process is not the declared agent's" in done.stderr


@pytest.mark.parametrize("name", ["store_and_get", "batch", "scopes", "smart_agent"])
def test_docs_show_the_examples(name: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    assert (EXAMPLES / f"{name}.py").read_text() in blocks
