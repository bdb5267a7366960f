"""`inglenook openapi`: the description of the HTTP API, for tools."""

from __future__ import annotations

from inglenook.cli.invocation import Called


async def openapi(*, call: Called) -> None:
    """Print the OpenAPI document of the HTTP API, as JSON."""
    from inglenook.web.openapi import document

    call.put_json(document())
