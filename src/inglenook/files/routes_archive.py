"""Archives of files and directories: asked for with a token, downloaded with a secret (spec/02 §15.7, §15.8)."""

from __future__ import annotations

from urllib.parse import quote

from litestar import get, post

from inglenook import wire
from inglenook.files import access
from inglenook.files.antivirus import require_clean
from inglenook.files.archive import EMPTY, SLASH, ArchiveRequest, Entry, find_entries, stream_archive
from inglenook.files.receiving import HttpRequest
from inglenook.files.tree import Lineage
from inglenook.files.upload_request import SECRET_SECONDS
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import BadRequest
from inglenook.kernel.names import download_disposition
from inglenook.storage.documents.contract import Reader
from inglenook.wire import Answer

ZIP = "application/zip"


async def make_archive(caller: Caller, request: HttpRequest, *, prefix: str = "/files") -> Answer:
    """POST /files/archive: the link of an archive, or the archive itself when only that is accepted."""
    instance, permit = caller.instance, await caller.permit()
    asked = ArchiveRequest.read(jsonapi.parse_document(await wire.read_body(request)).attributes)
    if not (asked.ids or asked.files or asked.pages):
        return wire.plain_json(EMPTY, 400)
    if "/" in asked.name:
        return wire.plain_json(SLASH, 400)

    def read(view: Reader) -> list[Entry]:
        entries, lineage = find_entries(view, asked), Lineage(view)
        for entry in entries:
            access.require(permit, "GET", entry.item, lineage)
            require_clean(instance, entry.item, "download")
        return entries

    entries = await instance.store.read(read)
    if request.headers.get("accept") == ZIP:
        return _sent(instance, asked.name, entries)
    secret = instance.env.random.bytes(8).hex()
    await instance.ephemeral.put(archive_key(instance, secret), asked.to_json(), SECRET_SECONDS)
    links = {"related": f"{prefix}/archive/{secret}/{quote(asked.name, safe='')}.zip"}
    itself = {"self": f"{prefix}/archive/{secret}"}
    data = jsonapi.resource("io.cozy.files.archives", secret, asked.to_json(), links=itself)
    return wire.jsonapi(jsonapi.document(data, links=links))


async def send_archive(instance: Instance, secret: str) -> Answer:
    """The archive behind a secret. Raises BadRequest for a wrong one, NotFound when an entry is gone."""
    kept = await instance.ephemeral.get(archive_key(instance, secret))
    if not isinstance(kept, dict):
        raise BadRequest("Wrong download token")
    asked = ArchiveRequest.read(kept)
    entries = await instance.store.read(lambda view: find_entries(view, asked))
    for entry in entries:
        require_clean(instance, entry.item, "download")
    return _sent(instance, asked.name, entries)


def archive_key(instance: Instance, secret: str) -> str:
    """Where it is kept what an archive has."""
    return f"{instance.prefix}/archive/{secret}"


def _sent(instance: Instance, name: str, entries: list[Entry]) -> Answer:
    headers = {"content-disposition": download_disposition(f"{name}.zip", attachment=True)}
    return wire.streamed(stream_archive(instance, name, entries), media_type=ZIP, headers=headers)


@post("/files/archive", status_code=200, opt={"guard": wire.TOKEN})
async def archive(caller: Caller, request: HttpRequest) -> Answer:
    """Make an archive."""
    return await make_archive(caller, request)


@get("/files/archive/{secret:str}/{name:str}", opt={"guard": wire.SECRET})
async def download_archive(instance: Instance, secret: str, name: str) -> Answer:
    """Download an archive by its secret; the name is for people."""
    return await send_archive(instance, secret)


ROUTES = [archive, download_archive]
