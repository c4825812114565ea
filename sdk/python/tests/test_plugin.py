"""The pytest plugin, in sessions of its own."""

from __future__ import annotations

import pytest

SESSION = ("-p", "no:cacheprovider", "-W", "error")


def test_a_real_vault(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from hexr import vault

        def test_one(hexr_vault):
            hexr_vault.put("K", "v")
            assert vault.get("K") == "v"  # what is called is the same agent

        def test_two(hexr_vault):
            assert hexr_vault.list() == []  # an agent of its own

        @pytest.mark.hexr(identity="acme/my-agent/researcher")
        def test_three(hexr_vault, hexr_cluster):
            hexr_vault.put("K", "v", scope="researcher")
            assert hexr_vault.get_secret("K").scope == "spiffe://hexr.cloud/agent/acme/my-agent/researcher"
            assert len(hexr_cluster.nodes()) == 1
        """
    )
    pytester.runpytest_subprocess(*SESSION, "--strict-markers").assert_outcomes(passed=3)


LEAKS = """
import base64, logging, pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

trace.set_tracer_provider(TracerProvider())

class Leaky:
    def __init__(self, value): self.value = value
    def __repr__(self): return f"<Leaky {self.value}>"

def test_none(hexr_vault, hexr_canary):
    hexr_vault.put("K", hexr_canary.value)
    hexr_canary.watch(hexr_vault, hexr_vault.get_secret("K"))
    logging.getLogger("x").debug("nothing")

def test_log(hexr_canary):
    logging.getLogger("x").debug("it is %s", hexr_canary.value)

def test_extra(hexr_canary):
    logging.getLogger("x").info("it", extra={"it": hexr_canary.value})

def test_print(hexr_canary):
    print(base64.b64encode(b"xx" + hexr_canary.value.encode()).decode())

def test_span(hexr_canary):
    with trace.get_tracer("x").start_as_current_span("s") as span:
        span.set_attribute("a", hexr_canary.value)

def test_repr(hexr_canary):
    hexr_canary.watch(Leaky(hexr_canary.value))

def test_report(hexr_canary):
    assert hexr_canary.value == "x"
"""


def test_the_canary(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LEAKS)
    result = pytester.runpytest_subprocess(*SESSION, "-vv", "--showlocals")
    result.assert_outcomes(passed=1, failed=6)
    for place in ("log of x", "captured stdout", "span s", "text of a Leaky", "report of the failure"):
        result.stdout.fnmatch_lines([f"*the secret is in*{place}*"])
    assert "canary-" not in result.stdout.str()
