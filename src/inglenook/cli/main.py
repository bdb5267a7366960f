"""The command `inglenook` (spec/10 §3): decides who executes a command line, the running server or this process.

Little is imported before that is known, so that a command to a running server costs a few milliseconds.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from inglenook.cli import control
from inglenook.cli.catalog import WITHOUT_SERVER, is_for_help
from inglenook.cli.settings import KEYS, Settings, SettingsError, load

if TYPE_CHECKING:
    from inglenook.cli.invocation import Invocation

EVERYWHERE = frozenset({"config", "data"})
"""Keys of the configuration that are flags of every command; those of `WITHOUT_SERVER` take all keys."""

OF_ANOTHER_LISTENER = frozenset({"admin_host", "admin_port"})
"""Flags of the reference's command that say where its listener for commands is; there is none here."""

OF_THE_PROCESS = frozenset({"peers"})
"""Commands about what a running server knows and has not written down."""

SHORT = {"-c": "config", "-p": "port"}

COLLECT_AFTER = 20_000
"""New objects after which Python looks for garbage cycles; its usual 700 costs a tenth of the time of an import."""


def main() -> NoReturn:
    """The entry point of the command."""
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Execute a command line; gives the exit code."""
    local = not arguments or arguments[0] in WITHOUT_SERVER
    if local:
        flags, words = take_flags(arguments, frozenset({*KEYS, "config"}), OF_ANOTHER_LISTENER)
    else:
        flags, words = take_flags(arguments, EVERYWHERE, OF_ANOTHER_LISTENER | {"host", "port"})
    try:
        file = flags.pop("config", None)
        settings = load(flags, os.environ, file=file, may_lack=words[:1] == ["init"])
    except SettingsError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    if not words and not sys.stdin.isatty():
        words = ["--help"]
    if not words:
        from inglenook.cli.greeting import greet

        return greet(settings)
    if local or is_for_help(words):
        return _execute_without_server(words, settings)
    if settings.config.database_url.startswith("postgresql:") and words[0] not in OF_THE_PROCESS:
        return _execute_here(words, settings)  # beside the servers, whichever they are
    with suppress(control.NoServer):
        return control.call(settings.config.data, control.Request.of_this_process(words))
    return _execute_here(words, settings)


def take_flags(
    arguments: list[str], names: frozenset[str], ignored: frozenset[str] = frozenset()
) -> tuple[dict[str, str], list[str]]:
    """Take the flags that are keys of the configuration out of a command line, wherever they stand; those that are
    ignored are taken out as well, with their values."""
    flags: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
            break
        name, equals, text = word.partition("=")
        key = name[2:].replace("-", "_") if name.startswith("--") else SHORT.get(name, "")
        if key in ignored:
            if not equals:
                next(words, "")
        elif key not in names:
            rest.append(word)
        elif equals:
            flags[key] = text
        elif key == "dev":
            flags[key] = "on"
        else:
            flags[key] = next(words, "")
    return flags, rest


def _execute_without_server(words: list[str], settings: Settings) -> int:
    from inglenook.cli.execute import execute

    if words[0] == "serve":
        import uvloop

        return uvloop.run(execute(words, _invocation(settings)))
    import asyncio

    return asyncio.run(execute(words, _invocation(settings)))


def _invocation(settings: Settings) -> Invocation:
    from inglenook.cli.invocation import Invocation
    from inglenook.cli.terminal import LocalTerminal

    return Invocation(LocalTerminal(), settings, Path.cwd(), os.environ)


def _execute_here(words: list[str], settings: Settings) -> int:
    """Execute a command in this process, which owns the data folder meanwhile."""
    import asyncio

    from inglenook.cli.standalone import execute_alone

    return asyncio.run(execute_alone(words, _invocation(settings)))
