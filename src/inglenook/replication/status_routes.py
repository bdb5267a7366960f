"""The routes by which people see how a sharing is, and have something tried at once (spec/11 §4)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, get, post

from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi
from inglenook.kernel.errors import Forbidden
from inglenook.kernel.members import WAITING, State
from inglenook.mail import outbox as mails
from inglenook.replication import status
from inglenook.replication.link_state import nudge
from inglenook.replication.service import try_refused_again
from inglenook.sharing import documents, invitation_mail, invitations, steps
from inglenook.sharing.client_access import CLIENTS, require_full_rights, require_reading
from inglenook.sharing.client_routes import member_index_or_owner
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Reader, Writer
from inglenook.wire import TOKEN, Answer, no_content
from inglenook.wire import jsonapi as jsonapi_answer

Http = Request[Any, Any, Any]


@get("/sharings/{sharing_id:str}/status", opt={"guard": TOKEN})
async def show(sharing_id: str, instance: Instance, caller: Caller) -> Answer:
    """Who has what, what waits, why, and what to do."""
    permit = await caller.permit()
    sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
    if permit.kind not in CLIENTS:
        raise Forbidden
    await require_reading(caller, sharing)

    def read(view: Reader) -> Answer:
        return jsonapi_answer(jsonapi.document(resource(view, instance, documents.load(view, sharing_id))))

    return await instance.store.scan(read)


@post("/sharings/{sharing_id:str}/recipients/{index:str}/retry", opt={"guard": TOKEN}, status_code=200)
async def retry(sharing_id: str, index: str, instance: Instance, caller: Caller) -> Answer:
    """Try at once what waits for a member."""
    await caller.permit()
    sharing = await instance.store.read(lambda view: documents.load(view, sharing_id))
    await require_full_rights(caller, sharing.rules)
    await try_now(instance, sharing, member_index_or_owner(sharing, index))
    return no_content()


def resource(view: Reader, instance: Instance, sharing: Sharing) -> dict[str, Any]:
    """The status of a sharing as a JSON:API object, which is also what realtime tells."""
    attributes = {
        "active": sharing.active,
        "members": [msgspec.to_builtins(member) for member in status.of_sharing(view, instance, sharing)],
    }
    return jsonapi.resource(status.TYPE, sharing.id, attributes, links={"self": f"/sharings/{sharing.id}/status"})


async def try_now(instance: Instance, sharing: Sharing, index: int) -> None:
    """Try at once what waits for a member: invitation, messages, documents."""
    if where := documents.origin_of(sharing.members[index].instance):
        instance.peers.retry(where)
    await try_refused_again(instance, sharing.id, index)

    def write(tx: Writer) -> list[str]:
        now = instance.env.clock.now().timestamp()
        current = documents.load(tx, sharing.id)
        nudge(tx, sharing.id, index)
        steps.hurry(tx, sharing.id, index, now)
        member = current.members[index]
        if current.owner and member.status == State.MAIL_NOT_SENT:
            return invitations.queue(tx, instance, current, [index])
        lost = current.owner and member.status in WAITING and member.email
        if lost and mails.forget_failures(tx, invitation_mail.TEMPLATE, member.email):
            invitations.mail_again(tx, instance, current, index)
        return []

    await invitations.send_what_can_be(instance, await instance.store.write(write))


ROUTES = [show, retry]
