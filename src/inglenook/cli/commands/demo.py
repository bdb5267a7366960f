"""`inglenook demo`: two servers that share a folder (spec/10 §1)."""

from __future__ import annotations

from pathlib import Path

from inglenook.cli.invocation import Called, CommandFailed, Flag


async def demo(*, check: Flag = False, picture: Path | None = None, call: Called) -> int:
    """Show two servers that share a folder: two processes, two data folders, real files.

    Everything lives in a temporary folder, and stays up until Ctrl-C. With --port the first server gets that port and
    the second one the next.

    Parameters
    ----------
    check
        Compare both sides, end, and succeed only if they are equal.
    picture
        Write what is shown into this file, as SVG.
    """
    from inglenook.demo.demonstration import demonstrate
    from inglenook.demo.processes import ServerFailed

    given = call.settings.values.get("port")
    first_port = int(given.value) if given and given.origin == "flag" else 0
    picture = call.path(str(picture)) if picture else None
    try:
        return await demonstrate(check=check, port=first_port, picture=picture)
    except ServerFailed as failure:
        raise CommandFailed(str(failure)) from None
