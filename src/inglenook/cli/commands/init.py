"""`inglenook init`: the first configuration and the first instance (spec/10 §1)."""

from __future__ import annotations

import json
from pathlib import Path

from inglenook.cli.invocation import Called, CommandFailed, Flag
from inglenook.cli.settings import Settings
from inglenook.cli.standalone import execute_alone


async def init(
    *,
    domain: str | None = None,
    email: str | None = None,
    public_name: str | None = None,
    passphrase: str | None = None,
    force: Flag = False,
    call: Called,
) -> int:
    """Write a configuration and create the first instance. What is not given is asked.

    The keys of the configuration are flags here as well (--data, --host, --port, --dev …): what is given is written
    to the file, that of --config or the usual one.

    Parameters
    ----------
    domain
        Domain of the first instance, such as alice.example.org; empty for none.
    email
        Mail address of its owner.
    public_name
        Name that others see.
    passphrase
        Passphrase in clear; empty for a link by which the owner chooses one.
    force
        Replace a configuration that is there.
    """
    path = _path(call)
    if path.exists() and not force:
        raise CommandFailed(f"There is a configuration already: {path} (--force replaces it)")
    domain = await _answer(call, domain, "Domain of the first instance (empty for none): ")
    if domain:
        email = await _answer(call, email, "Mail address of its owner: ")
        public_name = await _answer(call, public_name, "Name that others see: ")
        passphrase = await _answer(
            call, passphrase, "Passphrase (empty: its owner chooses one by a link): ", secret=True
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_document(call.settings), encoding="utf-8")
    path.chmod(0o600)
    call.say(f"Written: {path}")
    if domain:
        words = ["instances", "add", domain, f"--email={email}", f"--public-name={public_name}"]
        if code := await execute_alone([*words, f"--passphrase={passphrase}"] if passphrase else words, call):
            return code
    call.say("Type next: inglenook serve")
    return 0


async def _answer(call: Called, given: str | None, question: str, *, secret: bool = False) -> str:
    return given if given is not None else await call.terminal.ask(question, secret=secret)


def _path(call: Called) -> Path:
    if call.settings.file is not None:
        return call.settings.file
    home = call.environ.get("XDG_CONFIG_HOME") or Path(call.environ.get("HOME", "/root")) / ".config"
    return Path(home) / "inglenook" / "config.toml"


def _document(settings: Settings) -> str:
    """The configuration file: what was given by flag or environment, and the data folder in any case."""
    lines = ["# Inglenook. Every key is explained by `inglenook config show` and in the documentation."]
    for name, value in settings.values.items():
        if value.origin == "default" and name != "data":
            continue
        match value.value:
            case bool(flag):
                text = "true" if flag else "false"
            case int(number):
                text = str(number)
            case tuple(items):
                text = "[" + ", ".join(_quoted(str(item)) for item in items) + "]"
            case other:
                text = _quoted(str(other))
        lines.append(f"{name} = {text}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
