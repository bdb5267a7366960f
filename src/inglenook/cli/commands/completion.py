"""`inglenook completion SHELL`."""

from __future__ import annotations

from typing import Literal

from inglenook.cli.invocation import Called


async def completion(shell: Literal["bash", "zsh", "fish"], /, *, call: Called) -> None:
    """Show the completion script of a shell.

    For bash: inglenook completion bash > ~/.local/share/bash-completion/completions/inglenook
    """
    from inglenook.cli.execute import commands

    call.put(commands().generate_completion(shell=shell))
