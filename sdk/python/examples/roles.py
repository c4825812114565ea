"""Roles that read only their own secrets: each is a process, with an SVID of its own.

    hexrd dev exec acme/crew -- python roles.py setup
    python roles.py run --with "hexrd dev exec acme/crew/{role} --" --framework autogen

`run` is the supervisor. It starts each role by exec, hands it a task and reads its answer; it
holds no role's secret. In production the launcher is what gives a process its own identity: a
container or a user for each role, registered with SPIRE under that user or image.

When this is a boundary: where the roles run as different users or in different containers and
their registrations tell them apart. When not: roles of one process share its memory and its
SVID, whatever a framework calls them, and processes of one user can read each other's memory
and sockets (`hexrd dev` is of that kind). Then scopes keep order, not out.
"""

import argparse
import asyncio
import json
import shlex
import subprocess
import sys
from dataclasses import dataclass

from hexr import AccessDeniedError, hexr_agent
from hexr.vault import VaultClient, secrets_batch

ROLES = {"researcher": "RESEARCH_DB_KEY", "writer": "CMS_TOKEN"}


@secrets_batch(["RESEARCH_DB_KEY"])
def search(query: str, RESEARCH_DB_KEY: str) -> str:
    """Searches the research database."""
    return f"results for {query!r}, read with a key of {len(RESEARCH_DB_KEY)} characters"


@secrets_batch(["CMS_TOKEN"])
def publish(text: str, CMS_TOKEN: str) -> str:
    """Publishes a text."""
    return f"published {text!r} with a token of {len(CMS_TOKEN)} characters"


TOOLS = {"researcher": search, "writer": publish}


@dataclass
class Work:
    """A task of a role, and its answer."""

    text: str


def with_autogen(role, task):
    """The role as an AutoGen agent. A model would see the tool's schema, which has no secret."""
    from autogen_core import AgentId, MessageContext, RoutedAgent, SingleThreadedAgentRuntime, message_handler
    from autogen_core.tools import FunctionTool

    class Role(RoutedAgent):
        def __init__(self):
            super().__init__(role)
            self.tool = FunctionTool(TOOLS[role], description=TOOLS[role].__doc__)

        @message_handler
        async def work(self, message: Work, ctx: MessageContext) -> Work:
            parameter = next(iter(self.tool.schema["parameters"]["properties"]))
            return Work(await self.tool.run_json({parameter: message.text}, ctx.cancellation_token))

    async def main():
        runtime = SingleThreadedAgentRuntime()
        await Role.register(runtime, role, Role)
        runtime.start()
        answer = await runtime.send_message(Work(task), AgentId(role, "default"))
        await runtime.stop_when_idle()
        return answer.text

    return asyncio.run(main())


def with_crewai(role, task):
    """The role's tool as CrewAI calls it; `tools=[...]` of an Agent takes it as it is."""
    from crewai.tools import tool

    made = tool(role)(TOOLS[role])
    parameter = next(iter(made.args_schema.model_json_schema()["properties"]))
    return made.run(**{parameter: task})


def plain(role, task):
    return TOOLS[role](task)


FRAMEWORKS = {"autogen": with_autogen, "crewai": with_crewai, "plain": plain}


def play(role, framework):
    """In the role's process: the task comes on standard input, the answer goes to output."""

    @hexr_agent(name="crew", tenant="acme", role=role)
    def main(task):
        return FRAMEWORKS[framework](role, task)

    others = [path for other, path in ROLES.items() if other != role]
    answer = main(json.load(sys.stdin)["task"])
    print(json.dumps({"answer": answer, "denied": [path for path in others if denied(path)]}))


def denied(path):
    try:
        VaultClient().get(path)
    except AccessDeniedError:
        return True
    return False


def run(launcher, framework):
    """The supervisor."""
    task = "the state of the art"
    for role in ROLES:
        command = [*shlex.split(launcher.format(role=role)), sys.executable, __file__, "play", role, "--framework", framework]
        done = subprocess.run(command, input=json.dumps({"task": task}), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{role} failed: {done.stderr}")
        told = json.loads(done.stdout.splitlines()[-1])
        print(f"{role}: {told['answer']}; denied: {', '.join(told['denied'])}")
        task = told["answer"]


def setup():
    """As the crew's main process, which may write for its roles and can't read it back."""
    vault = VaultClient()
    for role, path in ROLES.items():
        vault.put(path, f"key-of-{role}", scope=role)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["setup", "run", "play"])
    parser.add_argument("role", nargs="?", choices=list(ROLES))
    parser.add_argument("--with", dest="launcher", default="")
    parser.add_argument("--framework", choices=list(FRAMEWORKS), default="plain")
    given = parser.parse_args()
    if given.what == "setup":
        setup()
    elif given.what == "run":
        run(given.launcher, given.framework)
    else:
        play(given.role, given.framework)
