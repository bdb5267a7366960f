"""What a received content tells of itself completes what its sender has told (spec/05 §18)."""

from __future__ import annotations

from dataclasses import replace

from inglenook.files.extraction import EXTRACTOR_VERSION, HEAD_BYTES, extract, extract_head, is_read
from inglenook.identity.instance import Instance
from inglenook.replication.exchange import Received
from inglenook.storage.contents import Received as Bytes


async def completed(instance: Instance, received: Received, content: Bytes) -> Received:
    """A file with the metadata that its content tells, which replace the sent ones, but for the target of a shortcut.
    Where the sender's server has looked already there is nothing to add: the bytes are the same."""
    mime, sent = received.text("mime"), received.body.get("metadata")
    told = sent if isinstance(sent, dict) else {}
    if not is_read(mime) or told.get("extractor_version") == EXTRACTOR_VERSION:
        return received
    created_at = received.text("created_at")
    if content.data is None:
        found = await extract_head(instance, content.content, mime, created_at)
    else:
        found = await extract(mime, content.data[:HEAD_BYTES], created_at, instance.url())
    added = {name: value for name, value in found.metadata.items() if name != "target" or name not in told}
    return replace(received, body={**received.body, "metadata": {**told, **added}}) if added else received
