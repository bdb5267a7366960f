"""The limit on how often a link by code may read one document: 2000 times an hour (spec/02 §10, trap 27)."""

from __future__ import annotations

from inglenook.identity.caller import Caller
from inglenook.kernel.errors import Unprocessed

MOST_READS = 2000
HOUR_SECONDS = 3600.0


async def count_read(caller: Caller, id: str) -> None:
    """Count one read of a document by a share-by-link token. Raises Unprocessed beyond the limit."""
    if (await caller.permit()).kind != "share":
        return
    key = f"{caller.instance.prefix}/shared-reads/{id}"
    ephemeral = caller.instance.ephemeral
    now = caller.instance.env.clock.now().timestamp()
    value = await ephemeral.get(key)
    count, end = value if isinstance(value, list) else (0, now + HOUR_SECONDS)
    if end <= now:
        count, end = 0, now + HOUR_SECONDS
    await ephemeral.put(key, [count + 1, end], end - now)
    if count == MOST_READS:
        raise Unprocessed("Rate limit reached")
    if count > MOST_READS:
        raise Unprocessed("Rate limit exceeded")
