"""Opening a shortcut (spec/07 §9)."""

from __future__ import annotations

from litestar import get

from inglenook.files import access, tree
from inglenook.files.documents import FILES, Item
from inglenook.files.tree import Lineage
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import BadRequest
from inglenook.kernel.permissions import Permit
from inglenook.sharing import shortcuts
from inglenook.sharing.client_routes import Http
from inglenook.storage.documents.contract import Content, Reader
from inglenook.wire import JSON, JSONAPI, TOKEN, Answer, redirect
from inglenook.wire import jsonapi as jsonapi_answer

TYPE = "io.cozy.files.shortcuts"
LONGEST = 64 * 1024  # bytes


@get("/shortcuts/{file_id:str}", opt={"guard": TOKEN})
async def open_shortcut(file_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Where a shortcut leads: a script gets an object, a browser is sent there. Looking at it marks it seen."""
    permit = await caller.permit()
    item, content = await instance.store.read(lambda view: _find(view, permit, file_id))
    url = shortcuts.url_of(await _bytes(instance, content))
    if not url:
        raise BadRequest("No URL found")
    now = instance.env.clock.timestamp()
    sharing = item.metadata.get("sharing")
    if isinstance(sharing, dict) and sharing.get("status") != shortcuts.SEEN:
        item = await instance.store.write(lambda tx: shortcuts.mark_seen(tx, file_id, now))
    accept = request.headers.get("accept", "")
    if JSON not in accept and JSONAPI not in accept:
        return redirect(shortcuts.check_url(url))
    attributes = {"name": item.name, "dir_id": item.dir_id, "url": url, "metadata": item.metadata}
    return jsonapi_answer(jsonapi.document(jsonapi.resource(TYPE, item.id, attributes, rev=item.rev)))


def _find(view: Reader, permit: Permit, file_id: str) -> tuple[Item, Content]:
    item = tree.find_file(view, file_id)
    access.require(permit, "GET", item, Lineage(view))
    content = view.content(FILES, file_id)
    if content is None or content.size > LONGEST:
        raise BadRequest("The file is not in the expected format")
    return item, content


async def _bytes(instance: Instance, content: Content) -> bytes:
    return b"".join([chunk async for chunk in instance.contents.read(content, 0, content.size)])


ROUTES = [open_shortcut]
