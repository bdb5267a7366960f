"""The sharing request: what the owner's server tells a recipient's before anything is agreed (spec/04 §6.4, §7).

`request_for` builds it on the owner, `receive` takes it on the recipient. It comes without authentication: it can
create a request that waits for consent, and nothing that is agreed can be changed by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from inglenook.contacts import address_book
from inglenook.files import tree
from inglenook.files.documents import SHARED_DRIVES_ID
from inglenook.files.references import count_referenced
from inglenook.identity.instance import Instance
from inglenook.kernel import jsonapi, rules
from inglenook.kernel.errors import BadRequest
from inglenook.kernel.rules import SharingRule
from inglenook.sharing import documents, inbox
from inglenook.sharing.documents import DOCTYPE, FILES, WRONG_STATE, Body, Credentials, Member, Sharing
from inglenook.sharing.members import STATUSES
from inglenook.storage.documents.contract import Reader, Writer

NO_RECIPIENT = "A sharing must have recipients"
ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._~-]{0,199}")

COPIED = (
    "drive",
    "drive_root_type",
    "org_drive",
    "open_sharing",
    "description",
    "app_slug",
    "preview_path",
    "created_at",
    "updated_at",
)
"""Members of the owner's document that a recipient stores as they are."""


# -- the owner's side


def request_for(view: Reader, sharing: Sharing, index: int, *, drive_token: str = "") -> Body:
    """The JSON:API document for the server of one member. The addressee is shown as `pending`, whose invitation
    this is. Raises BadRequest when the member has no XOR key."""
    credentials = sharing.credentials_for(index)
    if credentials is None or not credentials.xor_key:
        raise BadRequest(WRONG_STATE)
    stored = documents.to_body(sharing)
    attributes: Body = {"triggers": {}, **{name: stored[name] for name in COPIED if name in stored}}
    attributes["rules"] = [msgspec.to_builtins(rule) for rule in rules_for(view, sharing, credentials.xor_key)]
    attributes["members"] = [_shown_member(sharing, at, index) for at in range(len(sharing.members))]
    if sharing.groups:
        attributes["groups"] = stored["groups"]
    if expected := number_of_files(view, sharing):
        attributes["initial_number_of_files_to_sync"] = expected
    if sharing.drive:
        attributes["credentials"] = [{"drive_token": drive_token, "state": credentials.state}]
    data = jsonapi.resource(
        DOCTYPE,
        sharing.id,
        attributes,
        links={"self": f"/sharings/{sharing.id}"},
        relationships={"shared_docs": {"data": None}},
    )
    return jsonapi.document(data)


def rules_for(view: Reader, sharing: Sharing, xor_key: bytes) -> list[SharingRule]:
    """The rules as a recipient gets them: local ones left out, identifiers hidden, the kind of a single file told.
    Those of a drive are sent as they are."""
    if sharing.drive:
        return sharing.rules
    sent: list[SharingRule] = []
    for rule in sharing.rules:
        if rule.local:
            continue
        hidden = rules.values_for_recipient(rule, xor_key)
        sent.append(msgspec.structs.replace(rule, values=hidden, mime=mime_of_target(view, rule)))
    return sent


def mime_of_target(view: Reader, rule: SharingRule) -> str:
    """The mime type of the file that a rule names; empty for a directory and for other rules."""
    if rule.doctype != FILES or not rules.by_id(rule):
        return ""
    item = tree.get(view, rule.values[0])
    return item.mime if item is not None and item.is_file else ""


def number_of_files(view: Reader, sharing: Sharing) -> int:
    """How many files the first copy brings (spec/04 §6.4)."""
    count = 0
    for rule in sharing.rules:
        if rule.local or rule.doctype != FILES:
            continue
        for value in rule.values:
            if rule.selector == "referenced_by":
                doctype, _, id = value.partition("/")
                count += count_referenced(view, doctype, id)
            elif rules.by_id(rule):
                item = tree.get(view, value)
                if item is not None and item.is_file:
                    count += 1
                elif item is not None:
                    count += sum(1 for found in tree.walk(view, value) if found.is_file)
    return count


def _shown_member(sharing: Sharing, at: int, addressee: int) -> Body:
    member = sharing.members[at]
    body = documents.member_body(member)
    body.pop("name", None)
    if at not in (0, addressee):
        body.pop("instance", None)
    if at == addressee and member.status == "mail-not-sent":
        body["status"] = "pending"
    return {name: body[name] for name in MEMBER_FIELDS if name in body}


MEMBER_FIELDS = ("status", "public_name", "email", "instance", "read_only", "only_in_groups", "groups")


# -- the recipient's side


@dataclass(slots=True)
class Request:
    """A request as it came: the sharing, read and checked, not stored yet. `follows` is the former address of the
    owner, when the server there has said that he has moved."""

    sharing: Sharing
    follows: str = ""


def parse(body: bytes, path_id: str) -> Request:
    """Read a request. Its id is that of the body (spec/04 trap 1), that of the path when the body has none.

    Raises BadRequest: malformed, no rules, a rule that is invalid, no recipient, a status that does not exist, an id
    that would not be one step of a path."""
    received = jsonapi.parse_document(body)
    known = {name: received.attributes[name] for name in (*COPIED, *LISTS) if name in received.attributes}
    try:
        sharing = documents.parse(known)
    except msgspec.ValidationError as error:
        raise BadRequest(jsonapi.MALFORMED) from error
    sharing.rules = rules.validate(sharing.rules)
    documents.check_drive_root_type(sharing.drive, sharing.drive_root_type)
    if not sharing.drive and len(sharing.members) < 2:
        raise BadRequest(NO_RECIPIENT)
    if any(member.status not in STATUSES for member in sharing.members):
        raise BadRequest(jsonapi.MALFORMED)
    if sharing.initial_number_of_files_to_sync < 0:
        raise BadRequest(jsonapi.MALFORMED)
    sharing.id = received.id or path_id
    if not ID.fullmatch(sharing.id):
        raise BadRequest(jsonapi.MALFORMED)
    sharing.unknown = {}
    for member in sharing.members:
        member.unknown = {}
        member.name = member.declined_at = member.asked_at = ""
        member.unreachable = False
    return Request(sharing)


LISTS = ("rules", "members", "groups", "credentials", "initial_number_of_files_to_sync")


def receive(tx: Writer, request: Request, now: str) -> Sharing:
    """Store a request, in place of an earlier one of the same owner that was not accepted, or of one that has ended
    (whose owner may have moved since).

    Raises BadRequest when the sharing is our own, Conflict when it is accepted already, or when a request of
    another server that waits for its answer would be overwritten."""
    sharing = request.sharing
    sharing.updated_at = now
    sharing.credentials = _kept_credentials(sharing)
    for member in sharing.members:
        member.name = address_book.name_of_email(tx, member.email)
    old = documents.get(tx, sharing.id)
    if old is not None:
        if old.owner:
            raise BadRequest(WRONG_STATE)
        followed = documents.same_instance(_instance_of_owner(old.members), request.follows)
        if not may_replace(old, sharing) and (old.active or not followed):
            raise documents.already_accepted()
        sharing.shortcut_id = old.shortcut_id
        sharing.rev = old.rev
    documents.save(tx, sharing)
    inbox.make_room(tx, sharing)
    return sharing


def may_replace(old: Sharing, new: Sharing) -> bool:
    """Whether a request may take the place of what is stored under its id."""
    return not old.active and (not old.unanswered or _same_owner(old, new))


def answer_to_request(sharing: Sharing) -> Body:
    """What the owner's server is answered: the sharing as stored, without the names of our address book."""
    data = documents.resource(sharing)
    for member in data["attributes"]["members"]:
        member.pop("name", None)
    return jsonapi.document(data)


def target_of_shortcut(instance: Instance, sharing: Sharing, url: str) -> str:
    """Where the shortcut of a request leads: to the address that the owner's server gave; for a drive, to the page of
    this server where it is accepted."""
    if not sharing.drive:
        return url or f"{documents.origin_of(sharing.members[0].instance)}/sharings/{sharing.id}/discovery"
    state = sharing.credentials[0].state if sharing.credentials else ""
    if state:
        return instance.url("/auth/authorize/sharing", {"sharing_id": sharing.id, "state": state})
    return drive_url(instance, sharing)


def drive_url(instance: Instance, sharing: Sharing) -> str:
    """The page of the Drive app that shows a drive (spec/04 §8)."""
    rule = sharing.files_rule()
    if rule is None:
        return instance.app_url("drive", fragment=f"/folder/{SHARED_DRIVES_ID}")
    if sharing.drive_root_type == "file":
        return instance.app_url("drive", fragment=f"/sharings/shareddrive/{sharing.id}/file/{rule.values[0]}")
    return instance.app_url("drive", fragment=f"/shareddrive/{sharing.id}/{rule.values[0]}")


def _kept_credentials(sharing: Sharing) -> list[Credentials]:
    if not sharing.drive:
        return [Credentials()]
    return [Credentials(state=c.state, drive_token=c.drive_token) for c in sharing.credentials[:1]] or [Credentials()]


def _same_owner(old: Sharing, new: Sharing) -> bool:
    before, after = _instance_of_owner(old.members), _instance_of_owner(new.members)
    return not before or documents.same_instance(before, after)


def _instance_of_owner(members: list[Member]) -> str:
    return members[0].instance if members else ""
