"""The server-to-server routes of replication (spec/05 §12). Only a member's server reaches them."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, delete, get, post, put
from litestar.response import Response

from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, NotFound, TooLarge, Unreadable, UnsupportedMediaType
from inglenook.peers import extensions
from inglenook.replication import frames, receive_batch, receive_chunks, service
from inglenook.replication.initial import end_initial_sync
from inglenook.replication.shapes import wrong_member
from inglenook.sharing.peer_access import require_peer
from inglenook.wire import PEER, body_chunks, no_content, plain_json, read_body, streamed
from inglenook.wire import Answer as Bytes

MAX_BULK = 64 * 1024 * 1024
MAX_QUESTION = 16 * 1024 * 1024
MAX_METADATA = 8_000_000

Body = dict[str, Any]
Http = Request[Any, Any, Any]
Answer = Response[Any]


@post("/sharings/{sharing_id:str}/_revs_diff", opt={"guard": PEER})
async def revs_diff(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Which of the announced revisions are missing here."""
    sharing, _ = await require_peer(caller, sharing_id, "POST")
    asked = await _object(request, MAX_QUESTION)
    return plain_json(await service.revs_diff(instance, sharing, asked))


@post("/sharings/{sharing_id:str}/_bulk_docs", opt={"guard": PEER})
async def bulk_docs(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Take documents, folders and removals."""
    sharing, index = await require_peer(caller, sharing_id, "POST")
    lists = await _object(request, MAX_BULK)
    await service.bulk_docs(instance, sharing, index, lists)
    return plain_json([])


@get("/sharings/{sharing_id:str}/io.cozy.files/{file_id:str}", opt={"guard": PEER})
async def folder(sharing_id: str, file_id: str, instance: Instance, caller: Caller) -> Answer:
    """Tell of a folder, by the caller's id."""
    sharing, index = await require_peer(caller, sharing_id, "GET")
    return plain_json(await service.folder(instance, sharing, index, file_id))


@put("/sharings/{sharing_id:str}/io.cozy.files/{file_id:str}/metadata", opt={"guard": PEER})
async def file_metadata(sharing_id: str, file_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Take the metadata of a file; the answer says whether its content is wanted."""
    sharing, index = await require_peer(caller, sharing_id, "POST")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("Unsupported Media Type")
    document = await _object(request, MAX_METADATA)
    if name := wrong_member(document):
        raise Unreadable(f"the member {name} has the wrong type")
    key = await service.file_metadata(instance, sharing, index, file_id, document)
    return no_content() if key is None else plain_json({"key": key})


@put("/sharings/{sharing_id:str}/io.cozy.files/{file_id:str}", opt={"guard": PEER})
async def file_content(sharing_id: str, file_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Take the content of a file; where the other routes have the id of a file, this one has the upload key."""
    sharing, index = await require_peer(caller, sharing_id, "POST")
    await service.file_content(instance, sharing, index, file_id, body_chunks(request))
    return no_content()


@post("/sharings/{sharing_id:str}/reupload", opt={"guard": PEER})
async def reupload(sharing_id: str, instance: Instance, caller: Caller) -> Answer:
    """There is room again at the member's: send what it refused."""
    sharing, index = await require_peer(caller, sharing_id, "GET")
    await service.try_refused_again(instance, sharing.id, index)
    return no_content()


@delete("/sharings/{sharing_id:str}/initial", status_code=204, opt={"guard": PEER})
async def end_initial(sharing_id: str, instance: Instance, caller: Caller) -> None:
    """The owner has sent everything there was at the beginning."""
    await require_peer(caller, sharing_id, "POST")
    await instance.store.write(lambda tx: end_initial_sync(tx, instance, sharing_id))


@post("/sharings/{sharing_id:str}/_batch/offer", opt={"guard": PEER})
async def offer(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Which of the offered documents are wanted, and whether with their contents (spec/11 §2)."""
    sharing, index = await require_peer(caller, sharing_id, "POST")
    _require(instance, "batch")
    raw = await read_body(request, frames.MAX_BATCH_BYTES)
    try:
        offered = msgspec.json.Decoder(frames.Offered).decode_lines(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("The offer cannot be read") from error
    if len(offered) > frames.MAX_BATCH_ITEMS:
        raise TooLarge(f"A batch has at most {frames.MAX_BATCH_ITEMS} documents")
    answers = await receive_batch.answer_offer(instance, service.exchange(instance, sharing, index), offered)
    return Bytes(frames.lines(answers), media_type=frames.OFFER)


@post("/sharings/{sharing_id:str}/_batch/push", opt={"guard": PEER})
async def push(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Take documents with their contents; a line of the answer for each as soon as it is stored (spec/11 §2)."""
    sharing, index = await require_peer(caller, sharing_id, "POST")
    _require(instance, "batch")
    ex = service.exchange(instance, sharing, index)
    return streamed(receive_batch.take_push(instance, ex, body_chunks(request)), media_type=frames.OFFER)


@post("/sharings/{sharing_id:str}/_batch/chunks", opt={"guard": PEER})
async def chunks(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Which pieces of a large content are not here (spec/11 §3)."""
    sharing, index = await require_peer(caller, sharing_id, "POST")
    _require(instance, "chunks")
    try:
        listed = msgspec.json.decode(await read_body(request, frames.MAX_HEAD), type=frames.ChunkList)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("The list cannot be read") from error
    lacking = await receive_chunks.lacking(instance, service.exchange(instance, sharing, index), listed)
    return plain_json(msgspec.json.encode(lacking))


@post("/sharings/{sharing_id:str}/_batch/assemble", opt={"guard": PEER})
async def assemble(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Take the pieces of a large content that were not here, and its file (spec/11 §3)."""
    sharing, index = await require_peer(caller, sharing_id, "POST")
    _require(instance, "chunks")
    body = receive_chunks.Body(body_chunks(request))
    result = await receive_chunks.assemble(instance, service.exchange(instance, sharing, index), body)
    return Bytes(frames.lines([result]), media_type=frames.OFFER)


def _require(instance: Instance, extension: str) -> None:
    """Check that an extension is switched on. Raises NotFound."""
    if extension not in extensions.spoken(instance.env.config):
        raise NotFound("Not Found")


async def _object(request: Http, limit: int) -> Body:
    """A JSON object. Raises BadRequest for what cannot be read, Unreadable for another value (spec/05 §12.0)."""
    raw = await read_body(request, limit)
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(str(error)) from error
    if not isinstance(body, dict):
        raise Unreadable("Bad Request")
    return body


ROUTES = [
    revs_diff,
    bulk_docs,
    folder,
    file_metadata,
    file_content,
    reupload,
    end_initial,
    offer,
    push,
    chunks,
    assemble,
]
