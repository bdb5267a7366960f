"""Asking for more rights: a reader would like to write, the owner gets a letter with a button (spec/11 §5)."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from inglenook.identity import sessions
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, Conflict, Forbidden
from inglenook.kernel.members import State
from inglenook.sharing import bodies, documents, notifications, rights
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Writer

REST = timedelta(hours=24)
"""How long the same person's further requests send no further letter."""
LONGEST_MESSAGE = 500
CATEGORY = "sharing-access-request"


class Request(msgspec.Struct):
    """The body of a request; it may be empty."""

    message: str = ""


def parse(body: bytes) -> Request:
    """Read a request. Raises BadRequest."""
    request = bodies.decode(body, Request) if body.strip() else Request()
    if len(request.message) > LONGEST_MESSAGE:
        raise BadRequest(f"The message is too long (maximum {LONGEST_MESSAGE} characters)")
    return request


def take(tx: Writer, instance: Instance, sharing: Sharing, index: int, request: Request) -> None:
    """A member asks the owner for the right to write.

    Raises BadRequest (not the owner), Forbidden (a member who is out, or rules by which nobody writes), Conflict (he
    may write already)."""
    sharing.require_owner()
    member = sharing.members[index]
    if member.status == State.REVOKED or rights.rules_are_read_only(sharing):
        raise Forbidden
    if member.status == State.READY and not member.read_only:
        raise Conflict("This member may write already")
    now = instance.env.clock.now()
    asked = sessions.moment(member.asked_at) if member.asked_at else None
    if asked is not None and now - asked < REST:
        return
    member.asked_at = instance.env.clock.timestamp()
    documents.save(tx, sharing)
    values = {
        "MemberName": member.display_name or member.instance,
        "Description": sharing.description,
        "Message": request.message,
        "Link": instance.url(f"/auth/authorize/sharing/{sharing.id}/access/{index}"),
    }
    notifications.notify(
        tx, instance, category=CATEGORY, category_id=f"{sharing.id}/{index}", template="sharing_access_request",
        values=values, slug=sharing.app_slug or "drive",
    )  # fmt: skip
