"""`inglenook version`."""

from __future__ import annotations

import inglenook
from inglenook.cli.invocation import Called, Flag


async def version(*, json: Flag = False, call: Called) -> None:
    """Show the version."""
    if json:
        call.put_json({"version": inglenook.__version__})
    else:
        call.put(inglenook.__version__)
