"""A large content of which the member's server has an older version: only what it lacks travels (spec/11 §3)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from inglenook.peers.errors import PeerGarbage
from inglenook.peers.peers import TRANSFER
from inglenook.replication import chunking, frames
from inglenook.replication.chunking import Chunk
from inglenook.replication.frames import MAX_HEAD, Assembly, ChunkList, Lacking, PushResult
from inglenook.replication.line import JSON, Line
from inglenook.replication.outbox import FileToSend
from inglenook.storage.documents.contract import Content

EXTENSION = "chunks"

PER_CHUNK = 80
"""Bytes of a list for each piece, about."""


def is_possible(line: Line, file: FileToSend) -> bool:
    """Whether a file can be sent in pieces: the member's server takes them, and the list is not too long."""
    speaks = line.instance.peers.speaks(line.link.instance, EXTENSION)
    return speaks and file.content is not None and file.content.size // chunking.AVERAGE * PER_CHUNK < MAX_HEAD // 2


async def send_in_chunks(line: Line, file: FileToSend) -> bool:
    """Send the pieces that are lacking, and with them the file; False when that is not taken, and the content has to go
    as a whole. Raises UpstreamFailed; Refused as well when the member's server does not know of pieces."""
    content = file.content
    assert content is not None
    chunks = await chunking.chunks_of(line.instance.contents.read(content))
    listed = [(chunk.length, chunk.sha256) for chunk in chunks]
    told = msgspec.json.encode(ChunkList(file.document, content.sha256, listed))
    response = await line.send("POST", "/_batch/chunks", told, {"Content-Type": JSON}, timeout=TRANSFER)
    try:
        lacking = msgspec.json.decode(response.body, type=Lacking)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PeerGarbage("The other server answered a list of pieces with something else") from error
    wanted = [chunks[i] for i in lacking.lacking if 0 <= i < len(chunks)]
    head = msgspec.json.encode(Assembly(file.document, content.sha256, listed, lacking.base, lacking.lacking))
    response = await line.send(
        "POST",
        "/_batch/assemble",
        lambda: _body(line, content, head, wanted),
        {"Content-Type": frames.PUSH},
        timeout=TRANSFER,
    )
    try:
        [result] = msgspec.json.Decoder(PushResult).decode_lines(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise PeerGarbage("The other server answered pieces with something else") from error
    return result.result == "done"


async def _body(line: Line, content: Content, head: bytes, wanted: list[Chunk]) -> AsyncIterator[bytes]:
    yield len(head).to_bytes(4, "big") + head
    for chunk in wanted:
        async for piece in line.instance.contents.read(content, chunk.offset, chunk.offset + chunk.length):
            yield piece
