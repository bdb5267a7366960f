"""A command without a running server: this process takes the lock of the data folder and does the work itself."""

from __future__ import annotations

import asyncio
import os
import pwd
import shlex
import time
from dataclasses import replace
from pathlib import Path

from inglenook.cli import control
from inglenook.cli.execute import execute, parse
from inglenook.cli.invocation import CommandFailed, Invocation
from inglenook.environment import Environment
from inglenook.web.backends import is_shared
from inglenook.web.lock import DataFolderTaken, DataLock

PATIENCE = 60.0
"""Seconds to wait for a server that is starting, or for another command, to give way."""


async def execute_alone(arguments: list[str], invocation: Invocation) -> int:
    """Execute a command; gives its exit code.

    When the data folder is taken by another command, wait for its end; when by a server that is starting, have it
    execute the command once it can."""
    try:
        parse(arguments)  # wrong usage needs no lock
        refuse_for_another_user(invocation.settings.config.data)
        if is_shared(invocation.settings.config):
            return await _with_own_server(arguments, invocation)
        lock = await _lock(invocation)
    except CommandFailed as failure:
        invocation.say(f"Error: {failure}")
        return failure.code
    except OSError as error:
        invocation.say(f"Error: {error.filename}: {error.strerror}")
        return 1
    if lock is None:
        request = control.Request.of_this_process(arguments)
        return await asyncio.to_thread(control.call, invocation.settings.config.data, request)
    try:
        return await _with_own_server(arguments, invocation)
    finally:
        lock.release()


def refuse_for_another_user(folder: Path) -> None:
    """Raise CommandFailed when root would leave files of its own in the data folder of somebody else, whose server
    could not use them any more."""
    try:
        owner = folder.stat().st_uid
    except OSError:
        return
    if os.geteuid() == 0 and owner != 0:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = f"#{owner}"
        raise CommandFailed(
            f"{folder} belongs to {name}; run this as that user: sudo -u {shlex.quote(name)} inglenook …"
        )


async def _lock(invocation: Invocation) -> DataLock | None:
    """The lock, or None when a server answers by now."""
    folder = invocation.settings.config.data
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return DataLock.acquire(folder, "command")
        except DataFolderTaken as taken:
            if control.answers(folder):
                return None
            if time.monotonic() > deadline:
                raise CommandFailed(f"{taken}. Try again when it has ended") from None
        await asyncio.sleep(0.05)


async def _with_own_server(arguments: list[str], invocation: Invocation) -> int:
    from inglenook.web import logs
    from inglenook.web.runtime import Runtime

    config = invocation.settings.config
    logs.configure(replace(config, log_level="error"))
    runtime = Runtime(Environment(config))
    try:
        await runtime.start(background=False)
        return await execute(arguments, replace(invocation, assembled=runtime))
    finally:
        await runtime.stop()
