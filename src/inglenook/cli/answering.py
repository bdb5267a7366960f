"""A running server executes the commands that arrive on its control socket (spec/10 §3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from inglenook.cli import control
from inglenook.cli.execute import execute
from inglenook.cli.invocation import Called, Invocation

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from inglenook.cli.terminal import Terminal
    from inglenook.web.runtime import Runtime


def answering_commands(runtime: Runtime, call: Called) -> AbstractAsyncContextManager[None]:
    """Execute the commands that arrive on the control socket, while the context is open."""
    folder = call.settings.config.data
    return control.listening(folder, lambda request, terminal: _inside(runtime, call, request, terminal))


async def _inside(runtime: Runtime, call: Called, request: control.Request, terminal: Terminal) -> int:
    folder: Path = call.folder.__class__(request.folder)
    invocation = Invocation(terminal, call.settings, folder, request.environ)
    return await execute(request.arguments, replace(invocation, assembled=runtime))
