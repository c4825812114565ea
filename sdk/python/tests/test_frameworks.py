"""The schemas that frameworks make of tools never show a secret.

LangChain's is tested in CI's environment, AutoGen's in one of its own: it asks for an older
protobuf. CrewAI brings a hundred packages and is not installed in CI.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from hexr import vault as functions
from hexr.vault import secrets_batch


@pytest.fixture(autouse=True)
def keys(become: Callable[..., str], agent: str) -> None:
    become(agent)
    functions.put("OPENAI_API_KEY", "sk-open")


def tool(query: str, OPENAI_API_KEY: str, limit: int = 3) -> str:
    """Searches."""
    return f"{query} {limit} {len(OPENAI_API_KEY)}"


def test_langchain() -> None:
    tools = pytest.importorskip("langchain_core.tools")
    made = tools.StructuredTool.from_function(secrets_batch(["OPENAI_API_KEY"])(tool))
    assert set(made.args) == {"query", "limit"}
    assert "OPENAI" not in str(made.get_input_jsonschema())
    assert made.invoke({"query": "q"}) == "q 3 7"


def test_autogen() -> None:
    core = pytest.importorskip("autogen_core")
    tools = pytest.importorskip("autogen_core.tools")
    made = tools.FunctionTool(secrets_batch(["OPENAI_API_KEY"])(tool), description="Searches.")
    assert set(made.schema["parameters"]["properties"]) == {"query", "limit"}
    assert "OPENAI" not in str(made.schema)
    assert asyncio.run(made.run_json({"query": "q", "limit": 1}, core.CancellationToken())) == "q 1 7"


def test_crewai() -> None:
    crewai = pytest.importorskip("crewai.tools")
    made = crewai.tool("search")(secrets_batch(["OPENAI_API_KEY"])(tool))
    assert set(made.args_schema.model_json_schema()["properties"]) == {"query", "limit"}
    assert made.run(query="q", limit=1) == "q 1 7"
