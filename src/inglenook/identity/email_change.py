"""Another mail address for the owner, confirmed from its own mailbox (spec/03 §14)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from inglenook.identity import letters, one_time
from inglenook.identity.instance import INSTANCE_SETTINGS, SETTINGS
from inglenook.kernel.errors import BadRequest
from inglenook.storage.documents.contract import Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

_ADDRESS = re.compile(r"[^@\s<>,;:\"()\[\]\\]+@[^@\s<>,;:\"()\[\]\\]+\Z")


def is_address(text: str) -> bool:
    """Whether a text has the form of one mail address."""
    return len(text) <= 254 and _ADDRESS.match(text) is not None


async def ask(instance: Instance, email: str) -> None:
    """Note the wished address and mail a link to it."""
    await _change(instance, {"pending_email": email})
    await _mail(instance, email)


async def resend(instance: Instance) -> None:
    """Mail the link again. Raises BadRequest when no change is pending."""
    pending = (await instance.settings()).get("pending_email")
    if not isinstance(pending, str) or not pending:
        raise BadRequest("No change of the mail address is pending")
    await _mail(instance, pending)


async def drop(instance: Instance) -> None:
    """Forget the wished address; its link is worthless then."""
    await _change(instance, {"pending_email": None})


async def confirm(instance: Instance, token: str) -> bool:
    """Make the wished address the address, if the token of its link is good; a token works once."""
    good, email = await one_time.take_code(instance, one_time.EMAIL_TOKEN, token)
    if not good or (await instance.settings()).get("pending_email") != email:
        return False
    await _change(instance, {"pending_email": None, "email": email})
    return True


async def _mail(instance: Instance, email: str) -> None:
    token = await one_time.make_code(instance, one_time.EMAIL_TOKEN, one_time.EMAIL_TOKEN_SECONDS, email)
    values = {
        "EmailUpdateLink": instance.url("/settings/email/confirm", {"token": token}),
        "PublicName": await instance.public_name(),
    }
    now = instance.env.clock.now().timestamp()
    await instance.store.write(lambda tx: letters.post(tx, "update_email", values, now, mode="pending") and None)


async def _change(instance: Instance, changes: dict[str, Any]) -> None:
    def write(tx: Writer) -> None:
        document = tx.get(SETTINGS, INSTANCE_SETTINGS)
        body = {**(document.body if document else {}), **changes}
        body = {name: value for name, value in body.items() if value is not None}
        tx.put(SETTINGS, INSTANCE_SETTINGS, body, rev=document.rev if document else None)

    await instance.store.write(write)
