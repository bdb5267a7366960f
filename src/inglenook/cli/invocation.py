"""What a command is given: the assembled server, the terminal, and how it was called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from inglenook.cli.settings import Settings
from inglenook.cli.terminal import Terminal

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.web.runtime import Runtime


class CommandFailed(Exception):
    """A command cannot do what it was asked; the text is for the person."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Invocation:
    """One call of a command.

    `folder` is the current folder of the person, `environ` what counts of their environment. `assembled` is the
    server that the command works on, None for the commands that need none.
    """

    terminal: Terminal
    settings: Settings
    folder: Path
    environ: Mapping[str, str]
    assembled: Runtime | None = None

    @property
    def runtime(self) -> Runtime:
        """The server that the command works on."""
        assert self.assembled is not None, "this command is executed without a server"
        return self.assembled

    def put(self, text: str) -> None:
        """Write a line of results."""
        self.terminal.put(text)

    def say(self, text: str) -> None:
        """Write a line for people."""
        self.terminal.say(text)

    def put_json(self, value: Any) -> None:
        """Write a JSON value, indented by two spaces."""
        self.put(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())

    def put_json_line(self, value: Any) -> None:
        """Write a JSON value in one line."""
        self.put(msgspec.json.encode(value).decode())

    def put_table(self, rows: list[list[str]]) -> None:
        """Write rows as columns that are at least two spaces apart."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
        for row in rows:
            self.put("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def path(self, text: str) -> Path:
        """A path as the person means it."""
        return self.folder / Path(text).expanduser()

    async def instance(self, domain: str = "") -> Instance:
        """The instance of a domain, by default that of `COZY_DOMAIN`. Raises NotFound, CommandFailed."""
        domain = domain or self.environ.get("COZY_DOMAIN", "")
        if not domain:
            raise CommandFailed("Which instance? Give --domain or set COZY_DOMAIN", 2)
        return await self.runtime.instances.get(domain)

    async def confirm(self, question: str, *, force: bool, name: str = "") -> None:
        """Go on only when the person agrees, or has agreed already by `--force`. The `name` of what is lost is a yes as
        well: scripts of the reference type it. Raises CommandFailed."""
        if force:
            return
        answer = (await self.terminal.ask(f"{question} [yes/NO]: ")).strip().lower()
        if not answer or answer not in ("y", "yes", name):
            raise CommandFailed("Nothing was done (use --force to be asked no question)")


Called = Annotated[Invocation, Parameter(parse=False)]
"""The annotation of the parameter by which a command gets its invocation."""

Flag = Annotated[bool, Parameter(negative="")]
"""A flag that is off unless given: `--force`, `--force=true`."""

Switch = Annotated[bool | None, Parameter(negative="")]
"""A flag with three states: `--blocked`, `--blocked=false`, or absent."""
