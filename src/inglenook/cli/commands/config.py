"""`inglenook config …`: the effective configuration (spec/10 §2)."""

from __future__ import annotations

from typing import Any

from cyclopts import App

from inglenook.cli.invocation import Called, CommandFailed, Flag
from inglenook.cli.probes import probes
from inglenook.cli.settings import KEYS, masked, masked_tree

app = App(name="config")


@app.command
async def show(*, json: Flag = False, call: Called) -> None:
    """Show the effective values and where each comes from; secrets are masked.

    Parameters
    ----------
    json
        One object.
    """
    settings = call.settings
    values = {name: (masked(name, settings.values[name].value), settings.values[name].origin) for name in KEYS}
    tables: dict[str, Any] = {"contexts": masked_tree(settings.config.contexts)}
    versioning = {
        "max_number_to_keep": settings.config.versions_to_keep,
        "min_delay_between_two_versions": f"{settings.config.seconds_between_versions:g}s",
    }
    if json:
        flat = {name: {"value": value, "origin": origin} for name, (value, origin) in values.items()}
        call.put_json({"file": str(settings.file or ""), **flat, **tables, "files": {"versioning": versioning}})
        return
    rows = [[name, value, origin] for name, (value, origin) in values.items()]
    rows += [[f"files.versioning.{name}", str(value), ""] for name, value in versioning.items()]
    call.put_table([["KEY", "VALUE", "FROM"], *rows])
    if settings.config.contexts:
        call.put_json(tables)


@app.command
async def check(*, json: Flag = False, call: Called) -> None:
    """Try everything that the configuration names: folder, database, object store, bus, mail server, certificate.

    Parameters
    ----------
    json
        One object per line.
    """
    failures = 0
    for name, probe in probes(call).items():
        try:
            verdict, text = "ok", await probe()
        except (OSError, CommandFailed, TimeoutError) as error:
            verdict, text, failures = "failed", str(error) or type(error).__name__, failures + 1
        if json:
            call.put_json_line({"check": name, "verdict": verdict, "text": text})
        else:
            call.put(f"{name}: {'FAILED: ' if verdict == 'failed' else ''}{text}")
    if failures:
        named = "1 of these" if failures == 1 else f"{failures} of these"
        raise CommandFailed(f"{named} cannot be used; what is said above tells why")
