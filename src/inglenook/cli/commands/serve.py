"""`inglenook serve`: the server itself (spec/10 §3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from inglenook.cli import control
from inglenook.cli.execute import execute
from inglenook.cli.invocation import Called, CommandFailed, Invocation

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from inglenook.cli.terminal import Terminal
    from inglenook.web.runtime import Runtime


async def serve(*, call: Called) -> None:
    """Run the server until SIGINT or SIGTERM.

    Every key of the configuration is a flag as well: --host, --port, --workers, --data, --dev …
    """
    from inglenook.environment import Environment
    from inglenook.web import logs
    from inglenook.web.lock import DataFolderTaken
    from inglenook.web.serve import serve as run

    config = call.settings.config
    refuse_what_is_missing(call)
    logs.configure(config)

    def alongside(runtime: Runtime) -> AbstractAsyncContextManager[None]:
        return control.listening(config.data, lambda request, terminal: _inside(runtime, call, request, terminal))

    try:
        await run(Environment(config), alongside)
    except DataFolderTaken as taken:
        raise CommandFailed(f"{taken}. Stop it first, or choose another folder with --data") from None


def refuse_what_is_missing(call: Called) -> None:
    """Raise CommandFailed for a configuration that asks for what is not installed, or cannot work."""
    from inglenook.web.backends import is_shared, missing

    config = call.settings.config
    if packages := missing(config):
        raise CommandFailed(f"Not installed: {', '.join(packages)}. Try: pip install 'inglenook[distributed]'")
    if config.role != "all" and not is_shared(config):
        raise CommandFailed(f"role: a process that is only {config.role} needs a database_url on PostgreSQL")
    if config.workers > 1:
        call.say("Warning: workers: each process serves alone; start several over one database_url")


async def _inside(runtime: Runtime, call: Called, request: control.Request, terminal: Terminal) -> int:
    """Execute a command that arrived on the control socket."""
    folder: Path = call.folder.__class__(request.folder)
    invocation = Invocation(terminal, call.settings, folder, request.environ)
    return await execute(request.arguments, replace(invocation, assembled=runtime))
