"""Creating a sharing on the owner's server (spec/04 §5).

The sharing, the reference on the shared folder, the preview codes and the invitations to be sent are written in one
transaction: either all of it is there, or nothing. Then the invitations go out at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from inglenook.files.stamps import Stamp
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi, rules
from inglenook.kernel.errors import BadRequest, NotFound
from inglenook.kernel.permissions import Permit
from inglenook.kernel.rules import SharingRule
from inglenook.sharing import documents, folder, invitations, members, people, preview
from inglenook.sharing.documents import Member, Sharing
from inglenook.sharing.people import Invited
from inglenook.sharing.requests import NO_RECIPIENT
from inglenook.storage.documents.contract import Writer

NO_RULES = "A sharing must have rules"


class Wanted(msgspec.Struct, kw_only=True):
    """The attributes of a creation (spec/04 §5)."""

    rules: Sequence[SharingRule] = ()
    description: str | None = None
    preview_path: str | None = None
    open_sharing: bool | None = None
    app_slug: str | None = None
    drive: bool | None = None
    drive_root_type: str | None = None
    org_drive: bool | None = None


def parse(body: bytes) -> tuple[Wanted, list[Invited]]:
    """What a client asks for, and whom it invites. An empty body asks for nothing. Raises BadRequest."""
    if not body.strip():
        return Wanted(), []
    received = jsonapi.parse_document(body)
    attributes = dict(received.attributes)
    try:
        rules = documents.parse_rules(attributes.pop("rules", None) or [])
        wanted = msgspec.structs.replace(msgspec.convert(attributes, Wanted), rules=rules)
    except msgspec.ValidationError as error:
        raise BadRequest(jsonapi.MALFORMED) from error
    return wanted, people.parse_invited(received.relationships)


async def create(instance: Instance, permit: Permit, wanted: Wanted, invited: Sequence[Invited]) -> Sharing:
    """Create a sharing and invite its members.

    Raises BadRequest (no rules, no recipient, a rule, too many members, a group twice, rights in conflict),
    InvalidAttribute (a contact without address), DocumentNotFound (an unknown contact or group); BadRequest also when
    somebody could be invited in no way: the sharing exists then, and the others are invited."""
    owner = Member(
        status="owner",
        public_name=await instance.public_name(),
        email=await instance.email(),
        instance=instance.origin,
    )

    def write(tx: Writer) -> tuple[str, list[str]]:
        sharing = new_sharing(instance, permit, wanted, owner)
        concerned = people.invite(tx, sharing, invited, instance.env.random, limit=max_members(instance))
        if not wanted.rules:
            raise BadRequest(NO_RULES)
        sharing.rules = rules.validate(wanted.rules)
        documents.check_drive_root_type(sharing.drive, wanted.drive_root_type or "")
        if not sharing.drive and len(sharing.members) < 2:
            raise BadRequest(NO_RECIPIENT)
        if sharing.drive:
            describe_root(tx, sharing)
        sharing.id = tx.new_id()
        documents.save(tx, sharing)
        folder.add_root_reference(tx, sharing, Stamp(sharing.created_at, instance.url()))
        if sharing.preview_path:
            preview.refresh_preview(tx, instance, sharing)
        return sharing.id, invitations.queue(tx, instance, sharing, concerned)

    sharing_id, steps = await instance.store.write(write)
    await invitations.send_now(instance, steps)
    return await instance.store.read(lambda view: documents.load(view, sharing_id))


def new_sharing(instance: Instance, permit: Permit, wanted: Wanted, owner: Member) -> Sharing:
    """The document of a new sharing, without rules and recipients."""
    slug = wanted.app_slug or (permit.slug if permit.kind in ("app", "oauth") else "")
    drive = bool(wanted.drive)
    now = instance.env.clock.timestamp()
    return Sharing(
        triggers={},
        drive=drive,
        org_drive=drive and bool(wanted.org_drive),
        active=True,
        owner=True,
        open_sharing=bool(wanted.open_sharing),
        description=wanted.description or "",
        app_slug=slug,
        preview_path=(wanted.preview_path or "") if slug and not drive else "",
        created_at=now,
        updated_at=now,
        rules=[],
        members=[owner],
    )


def describe_root(tx: Writer, sharing: Sharing) -> None:
    """Note on a drive whether its root is a directory or a file, and of which type. Raises NotFound."""
    item = folder.root_item(tx, sharing)
    if item is None:
        raise NotFound("file does not exist")
    sharing.drive_root_type = "directory" if item.is_directory else "file"
    for at, rule in enumerate(sharing.rules):
        if rule is sharing.root_rule():
            sharing.rules[at] = msgspec.structs.replace(rule, mime="" if item.is_directory else item.mime)


def max_members(instance: Instance) -> int:
    """How many members a sharing may have on this instance."""
    value = instance.context_settings.get("max_members_per_sharing")
    return value if isinstance(value, int) and value > 0 else members.MAX_MEMBERS
