"""What `inglenook` alone says to a person on a terminal (spec/10 §1)."""

from __future__ import annotations

import sys

import inglenook
from inglenook.cli import control
from inglenook.cli.settings import Settings


def greet(settings: Settings) -> int:
    """Say whether a server is configured and running here, and what to type next; gives the exit code."""
    folder = settings.config.data
    lines = [f"Inglenook {inglenook.__version__}, a personal cloud server that shares.", ""]
    if control.answers(folder):
        lines += [f"A server is running here (data in {folder}).", ""]
        lines += [
            "  inglenook instances ls           who lives on it",
            "  inglenook instances add DOMAIN   add somebody",
        ]
    elif (folder / "lock").exists():
        lines += [f"A server is configured here (data in {folder}), and not running.", ""]
        lines += ["  inglenook serve     run it", "  inglenook doctor    see whether all is well"]
    else:
        lines += ["No server is configured here yet.", ""]
        lines += ["  inglenook init      configure one", "  inglenook demo      see two servers share a folder"]
    lines += ["  inglenook --help    everything else"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0
