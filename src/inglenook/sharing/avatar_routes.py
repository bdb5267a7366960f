"""The picture of a member, for those who look at a sharing (spec/04 §15)."""

from __future__ import annotations

from litestar import get

from inglenook.identity.instance import SETTINGS, Instance
from inglenook.identity.public_routes import AVATAR, initials_picture
from inglenook.kernel.errors import InvalidParameter, NotFound, UpstreamFailed
from inglenook.sharing import documents
from inglenook.sharing.client_routes import Http
from inglenook.sharing.documents import NO_MEMBER, Member
from inglenook.storage.documents.contract import Content, Reader
from inglenook.wire import PUBLIC, Answer, streamed

LARGEST = 4_000_000  # bytes
TIME_OUT = 5.0
SHOWN_SAFELY = {"content-security-policy": "default-src 'none';sandbox;", "cache-control": "max-age=300"}


@get("/sharings/{sharing_id:str}/recipients/{index:str}/avatar", opt={"guard": PUBLIC})
async def avatar(sharing_id: str, index: str, request: Http, instance: Instance) -> Answer:
    """The picture of a member: from his server, else his initials."""
    sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
    if not (index.isascii() and index.isdigit() and len(index) < 6):
        raise InvalidParameter("Invalid index", parameter="index")
    if int(index) >= len(sharing.members):
        raise NotFound(NO_MEMBER)
    member = sharing.members[int(index)]
    if documents.same_instance(member.instance, instance.origin):
        return await _own(instance, member)
    if not member.instance:
        return _initials(member)
    try:
        found = await _from_server(instance, member)
    except UpstreamFailed:
        return _initials(member)
    if found is None and request.query_params.get("fallback") == "404":
        raise NotFound("There is no picture")
    return found or _initials(member)


async def _own(instance: Instance, member: Member) -> Answer:
    def read(view: Reader) -> tuple[Content, str] | None:
        document, content = view.get(SETTINGS, AVATAR), view.content(SETTINGS, AVATAR)
        return None if document is None or content is None else (content, str(document.body.get("mime", "image/png")))

    held = await instance.store.read(read)
    if held is None:
        return _initials(member)
    content, mime = held
    headers = {"content-length": str(content.size), **SHOWN_SAFELY}
    return streamed(instance.contents.read(content, 0, content.size), media_type=mime, headers=headers)


async def _from_server(instance: Instance, member: Member) -> Answer | None:
    """The picture that his server has; None when it has none. Raises UpstreamFailed."""
    url = f"{documents.origin_of(member.instance)}/public/avatar?fallback=404"
    response = await instance.peers.request("GET", url, timeout=TIME_OUT, max_body=LARGEST)
    mime = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not response.ok or not mime.startswith("image/"):
        return None
    return Answer(response.body, media_type=mime, headers=SHOWN_SAFELY)


def _initials(member: Member) -> Answer:
    name = member.public_name or member.email.partition("@")[0].upper()
    waiting = member.status in ("mail-not-sent", "pending")
    return Answer(initials_picture(name, muted=waiting).encode(), media_type="image/svg+xml", headers=SHOWN_SAFELY)


ROUTES = [avatar]
