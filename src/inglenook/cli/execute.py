"""From the words of a command line to the function of the command, and from its end to an exit code (spec/10 §3)."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from cyclopts import App, CycloptsError

from inglenook.cli.catalog import GROUPS, SINGLE, SUMMARIES, unknown
from inglenook.cli.invocation import CommandFailed, Invocation
from inglenook.kernel.errors import DomainError


@cache
def commands(*, listed: bool = False) -> App:
    """The tree of commands. Their modules are imported when they are needed; for a list of all of them, what they do is
    told without that."""
    app = App(
        name="inglenook",
        help="A personal cloud server that shares.",
        version_flags=(),
        result_action="return_value",
    )
    for name, text in GROUPS.items():
        app.command(f"inglenook.cli.commands.{name}:app", name=name, help=text)
    for name, where in SINGLE.items():
        app.command(f"inglenook.cli.commands.{where}", name=name, help=SUMMARIES[name] if listed else None)
    return app


def parse(arguments: list[str]) -> tuple[Any, inspect.BoundArguments, dict[str, Any]]:
    """The function that a command line means, with its arguments. Raises CommandFailed with code 2."""
    if wrong := unknown(arguments):
        raise CommandFailed(wrong, 2)
    try:
        listed = not arguments or arguments[0].startswith("-")
        return commands(listed=listed).parse_args(arguments, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        text = " ".join(str(error).split())
        raise CommandFailed(f"{text} Try: inglenook {_place(arguments)}--help", 2) from None


async def execute(arguments: list[str], invocation: Invocation) -> int:
    """Execute a command; gives its exit code: 0 done, 1 refused or failed, 2 wrong usage."""
    try:
        command, bound, injected = parse(arguments)
        for name in injected:
            bound.arguments[name] = invocation
        result = command(*bound.args, **bound.kwargs)
        if inspect.isawaitable(result):
            result = await result
        return result if isinstance(result, int) else 0
    except CommandFailed as failure:
        invocation.say(f"Error: {failure}")
        return failure.code
    except DomainError as error:
        invocation.say(f"Error: {error.detail or type(error).__name__}")
        return 1
    except OSError as error:
        text = error.strerror or str(error)
        invocation.say(f"Error: {error.filename}: {text}" if error.filename else f"Error: {text}")
        return 1
    finally:
        await invocation.terminal.flush()


def _place(arguments: list[str]) -> str:
    if arguments and arguments[0] in GROUPS:
        words = arguments[:2] if len(arguments) > 1 and not arguments[1].startswith("-") else arguments[:1]
    else:
        words = arguments[:1] if arguments and arguments[0] in SINGLE else []
    return "".join(word + " " for word in words)
