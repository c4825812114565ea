"""SPIFFE IDs of agents and nodes, and which of a process's SVIDs is meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import IdentityError

_AGENT = re.compile(r"spiffe://([a-z0-9._-]+)/agent/([^/]+)/([^/]+)/([^/]+)")
_NODE = re.compile(r"/hexr/node/[A-Za-z0-9._-]+")


def trust_domain(spiffe_id: str) -> str:
    return spiffe_id.removeprefix("spiffe://").partition("/")[0]


def is_node(spiffe_id: str, domain: str) -> bool:
    """Whether it is a hexrd node of exactly that trust domain."""
    prefix = f"spiffe://{domain}"
    return spiffe_id.startswith(prefix + "/") and _NODE.fullmatch(spiffe_id[len(prefix) :]) is not None


@dataclass(frozen=True)
class Declared:
    """What a program says that it is; empty parts are not declared."""

    tenant: str = ""
    agent: str = ""
    process: str = ""

    @classmethod
    def of(cls, tenant: str | None, agent: str | None = None, process: str | None = None) -> Declared:
        """Takes HEXR_TENANT and HEXR_AGENT_NAME where the program does not say. They only
        narrow: an SVID decides who the process is."""
        return cls(
            tenant or os.environ.get("HEXR_TENANT", ""), agent or os.environ.get("HEXR_AGENT_NAME", ""), process or ""
        )

    def __str__(self) -> str:
        return "/".join(part or "*" for part in (self.tenant, self.agent, self.process))

    def matches(self, spiffe_id: str) -> bool:
        if self == Declared():
            return True
        parts = _AGENT.fullmatch(spiffe_id)
        return parts is not None and all(
            want in ("", part)
            for want, part in zip((self.tenant, self.agent, self.process), parts.groups()[1:], strict=True)
        )

    def choose(self, spiffe_ids: Iterable[str]) -> str:
        """The one ID that matches. IdentityError for none, and for several."""
        found = sorted(set(spiffe_ids))
        matching = [i for i in found if self.matches(i)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise IdentityError(
                "this process has several SVIDs that could be meant: declare the agent with @hexr_agent(name=, tenant=, "
                "role=); the error's `found` has them",
                declared=str(self),
                found=matching,
            )
        raise IdentityError(
            "the SVID of this process is not the declared agent's: register the process for that agent, or correct "
            "name, tenant and role (@hexr_agent, VaultClient(tenant=), HEXR_TENANT, HEXR_AGENT_NAME); the error's "
            "`declared` and `found` have both",
            declared=str(self),
            found=found,
        )
