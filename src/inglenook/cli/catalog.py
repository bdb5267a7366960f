"""The names of all commands, known without importing any of them (spec/10 §3)."""

from __future__ import annotations

import difflib

GROUPS = {
    "instances": "Create, list and change instances, and make tokens for them.",
    "apps": "Install, list, update and remove web apps.",
    "files": "Put files into an instance, and get them out of it.",
    "documents": "Show, write and search the documents of an instance.",
    "sharings": "Share, end sharings, and see who has what and what waits.",
    "check": "Look for inconsistencies in an instance.",
    "fix": "Mend what a change from outside has left behind.",
    "peers": "What the server knows of other servers.",
    "jobs": "What works in the background: start it, see what waits, try it again.",
    "features": "The feature flags of an instance.",
    "tools": "What helps in looking for the cause of something.",
    "config": "The effective configuration.",
}
"""The groups of commands; each is the `app` of a module of `cli.commands`."""

SINGLE = {
    "serve": "serve:serve",
    "settings": "instances:settings",
    "mails": "mails:mails",
    "doctor": "doctor:doctor",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "init": "init:init",
    "demo": "demo:demo",
    "completion": "completion:completion",
    "openapi": "openapi:openapi",
    "version": "version:version",
}
"""The commands outside of groups: module and function below `cli.commands`."""

SUMMARIES = {
    "serve": "Run the server until SIGINT or SIGTERM.",
    "settings": "Show and set the settings of an instance.",
    "mails": "Show the mails that were kept because no mail server is configured.",
    "doctor": "Check configuration, storage, names, mail, TLS, clock and free space, and say what to do.",
    "backup": "Copy everything into a folder, while the server runs.",
    "restore": "Put back the instances of a backup.",
    "init": "Write a configuration and create the first instance.",
    "demo": "Show two servers that share a folder.",
    "completion": "Show the completion script of a shell.",
    "openapi": "Print the OpenAPI document of the HTTP API.",
    "version": "Show the version.",
}
"""What these do, for `inglenook --help`."""

WITHOUT_SERVER = frozenset({"serve", "config", "init", "demo", "completion", "openapi", "version"})
"""What is always executed by the process that the person started."""


def unknown(arguments: list[str]) -> str:
    """What is wrong with the first word of a command line, empty when it is a command."""
    word = arguments[0] if arguments else ""
    known = (*GROUPS, *SINGLE)
    if word in known or word.startswith("-"):
        return ""
    near = difflib.get_close_matches(word, known, 1)
    return f"There is no command {word}" + (f", did you mean {near[0]}?" if near else ". Try: inglenook --help")


def is_for_help(arguments: list[str]) -> bool:
    """Whether a command line only asks what it could have been."""
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return not arguments or "--help" in before or "-h" in before or (len(arguments) == 1 and arguments[0] in GROUPS)
