"""Declining an invitation, on the owner's server (spec/11 §5, spec/08 §10.5).

Who knows the state or the preview code of an invitation may decline it: the server of an invited person, the preview
page of an app, or a browser on the page of the discovery.
"""

from __future__ import annotations

import msgspec
from litestar import post

from inglenook.identity import forms, pages
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, NotFound
from inglenook.kernel.jsonapi import MALFORMED
from inglenook.kernel.members import State
from inglenook.sharing import bodies, documents, moved_away, preview, revocation
from inglenook.sharing.client_routes import BODY_LIMIT, Http
from inglenook.sharing.documents import NO_MEMBER
from inglenook.storage.documents.contract import Writer
from inglenook.wire import SECRET, Answer, no_content, read_body, wants_html


class Refusal(msgspec.Struct):
    """What proves that somebody was invited: the state of the invitation, or its preview code."""

    state: str = ""
    sharecode: str = ""


@post("/sharings/{sharing_id:str}/refusal", opt={"guard": SECRET}, status_code=200)
async def refuse(sharing_id: str, request: Http, instance: Instance, caller: Caller) -> Answer:
    """Decline an invitation. A browser gets a page."""
    await moved_away.require_here(instance)
    from_form = not forms.content_type(request).endswith("json")
    if from_form:
        fields = await forms.read_fields(request)
        refusal = Refusal(fields.get("state", ""), fields.get("sharecode", ""))
    else:
        refusal = bodies.decode(await read_body(request, BODY_LIMIT), Refusal)
    if not refusal.state and not refusal.sharecode:
        raise BadRequest(MALFORMED)
    owner = await instance.store.write(lambda tx: take(tx, instance, sharing_id, refusal))
    if from_form and wants_html(request):
        return pages.page(caller, "sharing_declined.html", owner=owner, address="")
    return no_content()


def take(tx: Writer, instance: Instance, sharing_id: str, refusal: Refusal) -> str:
    """Note that an invited person has declined; gives the name of the owner.

    Raises DocumentNotFound, BadRequest (not the owner), NotFound (an unknown state or code), Conflict (accepted)."""
    sharing = documents.load(tx, sharing_id)
    sharing.require_owner()
    if refusal.state:
        index = sharing.member_of_state(refusal.state)
    else:
        index = preview.member_of_code(tx, instance, sharing, refusal.sharecode)
    if index is None or sharing.members[index].status == State.REVOKED:
        raise NotFound(NO_MEMBER)
    if sharing.members[index].status == State.READY:
        raise documents.already_accepted()
    revocation.take_refusal_of(tx, instance, sharing, index)
    return sharing.members[0].public_name or sharing.members[0].display_name


ROUTES = [refuse]
