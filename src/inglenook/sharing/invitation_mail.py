"""Mails of a sharing: to invited people, and to the local user when something was shared with him (spec/04 §6.3, §23).

They are written down in the transaction of what they tell, and sent by the mail domain.
"""

from __future__ import annotations

from inglenook.identity import letters
from inglenook.identity.instance import INSTANCE_SETTINGS, SETTINGS, Instance
from inglenook.identity.translations import translate
from inglenook.sharing import wording
from inglenook.sharing.documents import Member, Sharing
from inglenook.storage.documents.contract import Reader, Writer

TEMPLATE = "sharing_request"
ANNOUNCED_PER_HOUR = 200  # as many as jobs of mails in the reference (spec/04 §28)


def queue(tx: Writer, instance: Instance, sharing: Sharing, member: Member, link: str) -> None:
    """Invite somebody by mail, in the name of the local user."""
    name, email = identity_of(tx, instance)
    kind = wording.kind_of_shared(tx, sharing) if sharing.owner else wording.kind_of_request(sharing)
    values = {
        "SharerPublicName": name,
        "SharerEmail": email,
        "Action": wording.action(instance.locale, sharing, read_only=member.read_only),
        "Description": sharing.description or translate(instance.locale, "sharing.description.default"),
        "TitleType": wording.a_thing(instance.locale, kind),
        "DocType": wording.the_thing(instance.locale, kind),
        "SharingLink": link,
        "RecipientName": member.display_name,
    }
    letters.post(
        tx,
        TEMPLATE,
        values,
        instance.env.clock.now().timestamp(),
        mode="from",
        to=[{"name": member.display_name, "email": member.email}],
    )


def announce(tx: Writer, instance: Instance, sharing: Sharing, link: str) -> None:
    """Tell the local user that something was shared with him."""
    kind = wording.kind_of_request(sharing)
    owner = sharing.members[0] if sharing.members else Member(status="owner")
    values = {
        "SharerPublicName": owner.public_name or owner.display_name,
        "Action": wording.action(instance.locale, sharing),
        "TitleType": wording.a_thing(instance.locale, kind),
        "TargetType": wording.the_thing(instance.locale, kind),
        "TargetName": sharing.description,
        "SharingLink": link,
    }
    letters.post(tx, "notifications_sharing", values, instance.env.clock.now().timestamp())


async def may_announce(instance: Instance) -> bool:
    """Whether a mail may go out for one more request: anybody can send requests, and none shall flood a mailbox."""
    hour = int(instance.env.clock.now().timestamp() // 3600)
    key = f"sharing-announced/{instance.prefix}/{hour}"
    count = await instance.ephemeral.get(key) or 0
    await instance.ephemeral.put(key, count + 1, 3600.0)
    return count < ANNOUNCED_PER_HOUR


def identity_of(view: Reader, instance: Instance) -> tuple[str, str]:
    """The public name and the mail address of the local user."""
    settings = view.get(SETTINGS, INSTANCE_SETTINGS)
    body = settings.body if settings is not None else {}
    name, email = body.get("public_name"), body.get("email")
    return (
        name if isinstance(name, str) and name else instance.domain.partition(".")[0],
        email if isinstance(email, str) else "",
    )
