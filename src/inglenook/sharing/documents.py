"""The sharing document: members, groups, rules, credentials (spec/04 §2).

One document, under the same id, on the owner's server and on each recipient's. It is read into typed structs and
written back with every member that it does not know, so that what a newer server stored survives. Credentials are
in the stored document only: `resource` is what clients see, and `public_body` what realtime may tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from inglenook.kernel import jsonapi, xor
from inglenook.kernel.collation import raw_key
from inglenook.kernel.errors import BadRequest, Conflict, NotFound
from inglenook.kernel.jsonapi import Reference
from inglenook.kernel.members import WAITING
from inglenook.kernel.rules import SharingRule
from inglenook.storage.documents.contract import Document, Index, Reader, Writer

DOCTYPE = "io.cozy.sharings"
FILES = "io.cozy.files"
INITIAL_SYNC = "io.cozy.sharings.initial_sync"
ORGANIZATIONS = "com.bitwarden.organizations"

WRONG_STATE = "Sharing is not in the expected state"
NO_MEMBER = "The member was not found"
INVALID_RULE = "A rule is invalid"
DRIVE_ROOT_TYPES = ("", "directory", "file")
ALREADY_ACCEPTED = "Sharing already accepted by this recipient"

Body = dict[str, Any]
S = TypeVar("S", bound=msgspec.Struct)


def _doctype_keys(doc_id: str, body: Body) -> Iterable[bytes]:
    rules = body.get("rules")
    for rule in rules if isinstance(rules, list) else ():
        if isinstance(rule, dict) and not rule.get("local"):
            yield raw_key(str(rule.get("doctype", "")))


BY_DOCTYPE = Index("sharings-by-doctype", DOCTYPE, _doctype_keys)


class OAuthClient(msgspec.Struct, kw_only=True):
    """The OAuth client that one server made for another, as it travels (spec/04 §2.6)."""

    client_id: str = ""
    client_secret: str = ""
    client_secret_expires_at: int = 0
    registration_access_token: str = ""
    redirect_uris: list[str] = []
    client_name: str = ""
    client_kind: str = ""
    client_uri: str = ""
    software_id: str = ""


class AccessToken(msgspec.Struct, kw_only=True):
    """Tokens to call the other server (spec/04 §2.6); `refresh_token` may be empty."""

    token_type: str = "bearer"  # noqa: S105  (the name of a kind, no secret)
    access_token: str = ""
    refresh_token: str = ""
    scope: str = ""


class Credentials(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What lets two servers call each other (spec/04 §2.5).

    `xor_key` are the 16 values of the key; empty when there is none. `former_states` are those of earlier
    invitations to the same person, whose links go on working. `next_client_id` is the client that shall replace
    `inbound_client_id`, while it is not sure that the other side has it."""

    state: str = ""
    former_states: list[str] = []
    xor_key: bytes = b""
    client: OAuthClient | None = None
    access_token: AccessToken | None = None
    inbound_client_id: str = ""
    next_client_id: str = ""
    drive_token: str = ""
    unknown: Body = {}


class Member(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A person of the sharing (spec/04 §2.2). `name` comes from the local address book and never leaves.

    `declined_at` is when an invitation was declined (RFC 3339, spec/08 §10.5), `asked_at` when a reader has asked for
    more rights (spec/11 §5); `unreachable` is somebody whose server did not know the sharing any more."""

    status: str
    name: str = ""
    public_name: str = ""
    email: str = ""
    instance: str = ""
    read_only: bool = False
    only_in_groups: bool = False
    groups: list[int] = []
    declined_at: str = ""
    asked_at: str = ""
    unreachable: bool = False
    unknown: Body = {}

    @property
    def display_name(self) -> str:
        """How to call the member."""
        return self.name or self.public_name or self.email


class Group(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A group of contacts that was invited as a whole (spec/04 §2.3). Its place in the list is its identity."""

    id: str = ""
    name: str
    addedBy: int
    read_only: bool
    revoked: bool = False
    unknown: Body = {}


class Sharing(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A sharing as one server stores it (spec/04 §2.1); `rev` is empty for one that is not stored yet."""

    id: str = ""
    rev: str = ""
    triggers: Body
    drive: bool = False
    drive_root_type: str = ""
    org_drive: bool = False
    active: bool = False
    owner: bool = False
    open_sharing: bool = False
    description: str = ""
    app_slug: str
    preview_path: str = ""
    created_at: str
    updated_at: str
    initial_number_of_files_to_sync: int = 0
    initial_sync: bool = False
    shortcut_id: str = ""
    moved_from: str = ""
    rules: list[SharingRule]
    members: list[Member]
    groups: list[Group] = []
    credentials: list[Credentials] = []
    unknown: Body = {}

    @property
    def reference(self) -> Reference:
        """What points to this sharing in the `referenced_by` of its folder."""
        return Reference(DOCTYPE, self.id)

    def member(self, index: int) -> Member:
        """The member at an index. Raises NotFound."""
        if not 0 <= index < len(self.members):
            raise NotFound(NO_MEMBER)
        return self.members[index]

    def me(self) -> int | None:
        """On a recipient, the index of the local user: the first but the owner with an instance (spec/04 §2.2)."""
        return next((i for i, member in enumerate(self.members) if i and member.instance), None)

    @property
    def unanswered(self) -> bool:
        """On a recipient, whether the local user is invited and has not answered yet."""
        me = self.me()
        return not self.owner and not self.active and me is not None and self.members[me].status in WAITING

    def credentials_for(self, index: int) -> Credentials | None:
        """The credentials shared with a member: the owner has one for each, a recipient one for the owner."""
        at = index - 1 if self.owner else index
        return self.credentials[at] if 0 <= at < len(self.credentials) else None

    def member_of_client(self, client_id: str) -> int | None:
        """Who calls with an OAuth client of ours (spec/04 §1.1, "request member")."""
        for at, credentials in enumerate(self.credentials):
            if client_id and client_id in (credentials.inbound_client_id, credentials.next_client_id):
                return at + 1 if self.owner else 0
        return None

    def member_of_state(self, state: str) -> int | None:
        """The invited member that holds a state (owner only)."""
        for at, credentials in enumerate(self.credentials):
            known = state == credentials.state or state in credentials.former_states
            if self.owner and state and known and at + 1 < len(self.members):
                return at + 1
        return None

    def files_rule(self) -> SharingRule | None:
        """The first rule about files that is not local."""
        return next((rule for rule in self.rules if rule.doctype == FILES and not rule.local), None)

    def root_rule(self) -> SharingRule | None:
        """The rule that names one shared folder or file: the first files rule, unless it goes by references."""
        rule = self.files_rule()
        return rule if rule is not None and rule.selector != "referenced_by" else None

    def organization_rule(self) -> SharingRule | None:
        """The rule of a shared password organization."""
        return next((rule for rule in self.rules if rule.doctype == ORGANIZATIONS and not rule.local), None)

    def touch(self, now: str) -> None:
        """Note when its people, their rights or its description were changed (spec/04 §30.17). After a move, the date
        goes on telling when that was: what the former server vouches for ends a week later (§20.3)."""
        if not self.moved_from:
            self.updated_at = now

    def require_owner(self) -> None:
        """Refuse what only the owner's document can do. Raises BadRequest."""
        if not self.owner or len(self.credentials) != len(self.members) - 1:
            raise BadRequest(WRONG_STATE)


# -- reading and writing


def load(view: Reader, sharing_id: str) -> Sharing:
    """A stored sharing. Raises DocumentNotFound."""
    return of_document(view.find(DOCTYPE, sharing_id))


def get(view: Reader, sharing_id: str) -> Sharing | None:
    """A stored sharing, None when it is not there."""
    document = view.get(DOCTYPE, sharing_id)
    return of_document(document) if document is not None else None


def save(tx: Writer, sharing: Sharing) -> None:
    """Store a sharing over the revision it was loaded from; nothing is written when nothing changed."""
    body = to_body(sharing)
    if sharing.rev:
        stored = tx.get(DOCTYPE, sharing.id)
        if stored is not None and stored.rev == sharing.rev and stored.body == body:
            return
    sharing.rev = tx.put(DOCTYPE, sharing.id, body, rev=sharing.rev or None).rev


def of_document(document: Document) -> Sharing:
    """Read a stored document."""
    sharing = parse(document.body)
    sharing.id, sharing.rev = document.id, document.rev
    return sharing


def parse(body: Mapping[str, Any]) -> Sharing:
    """Read a body, stored or received. Raises msgspec.ValidationError when a known member has another type."""
    body = {
        "triggers": {},
        "app_slug": "",
        "created_at": "",
        "updated_at": "",
        **{key: value for key, value in body.items() if value is not None and key not in ("id", "rev")},
    }
    rules = parse_rules(body.pop("rules", []))
    members = [parse_member(member) for member in _objects(body.pop("members", []))]
    groups = [parse_group(group) for group in _objects(body.pop("groups", []))]
    credentials = [_parse_credentials(entry) for entry in _objects(body.pop("credentials", []))]
    sharing = _open(Sharing, {**body, "rules": [], "members": []})
    sharing.rules, sharing.members, sharing.groups, sharing.credentials = rules, members, groups, credentials
    return sharing


def parse_rules(value: Any) -> list[SharingRule]:
    """Read rules; a member that is `null` is as if it were not there. Raises msgspec.ValidationError."""
    return [
        msgspec.convert({name: held for name, held in rule.items() if held is not None}, SharingRule)
        for rule in _objects(value)
    ]


def to_body(sharing: Sharing) -> Body:
    """The body to store, credentials included."""
    body = _closed(sharing)
    del body["rules"], body["members"]
    for name in ("id", "rev", "groups", "credentials"):
        body.pop(name, None)
    body["rules"] = msgspec.to_builtins(sharing.rules)
    body["members"] = [_closed(member) for member in sharing.members]
    if sharing.groups:
        body["groups"] = [_closed(group) for group in sharing.groups]
    if sharing.credentials:
        body["credentials"] = [_credentials_body(entry) for entry in sharing.credentials]
    return body


def parse_member(body: Mapping[str, Any]) -> Member:
    """Read a member. Raises msgspec.ValidationError."""
    return _open(Member, {"status": "", **body})


def member_body(member: Member) -> Body:
    """A member as it is shown and stored."""
    return _closed(member)


def parse_group(body: Mapping[str, Any]) -> Group:
    """Read a group. Raises msgspec.ValidationError."""
    return _open(Group, {"name": "", "addedBy": 0, "read_only": False, **body})


def group_body(group: Group) -> Body:
    """A group as it is shown, stored and sent."""
    return _closed(group)


# -- what others may see


def public_body(body: Mapping[str, Any]) -> Body:
    """A stored body without what nobody may see (spec/04 §30.1): for clients and realtime."""
    return {key: value for key, value in body.items() if key != "credentials"}


def resource(sharing: Sharing, shared_docs: list[dict[str, str]] | None = None) -> Body:
    """The JSON:API object of a sharing (spec/04 §2.1); `shared_docs` None is `null` on the wire."""
    return jsonapi.resource(
        DOCTYPE,
        sharing.id,
        public_body(to_body(sharing)),
        rev=sharing.rev or None,
        links={"self": f"/sharings/{sharing.id}"},
        relationships={"shared_docs": {"data": shared_docs}},
    )


def check_drive_root_type(drive: bool, kind: str) -> None:
    """Whether a drive says of its root what it can be (spec/04 §3). Raises BadRequest."""
    if drive and kind not in DRIVE_ROOT_TYPES:
        raise BadRequest(INVALID_RULE)


def already_accepted() -> Conflict:
    """The error for an invitation that was answered already."""
    return Conflict(ALREADY_ACCEPTED)


# -- addresses


def origin_of(url: str) -> str:
    """`scheme://host` of an instance's URL, lower-cased; empty when there is none in it (spec/04 §1.3, trap 15)."""
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        host = parts.netloc.rsplit("@", 1)[-1].lower()
    except ValueError:
        return ""
    return f"{parts.scheme.lower()}://{host}" if url and host else ""


def same_instance(one: str, other: str) -> bool:
    """Whether two URLs name the same server, whatever follows the host."""
    return bool(one) and origin_of(one) == origin_of(other)


# -- the parts of a body


def _objects(value: Any) -> list[Body]:
    return msgspec.convert(value, list[Body])


@cache
def _members_of(kind: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind)) - {"unknown"}


def _open(kind: type[S], body: Mapping[str, Any]) -> S:
    names = _members_of(kind)
    known = {key: value for key, value in body.items() if key in names and value is not None}
    return msgspec.convert({**known, "unknown": {k: v for k, v in body.items() if k not in names}}, kind)


def _closed(value: msgspec.Struct) -> Body:
    body: Body = msgspec.to_builtins(value)
    return {**body.pop("unknown", {}), **body}


def _parse_credentials(body: Mapping[str, Any]) -> Credentials:
    key = body.get("xor_key")
    credentials = _open(Credentials, {name: value for name, value in body.items() if name != "xor_key"})
    if key:
        credentials.xor_key = xor.key_from_json(key)
    return credentials


def _credentials_body(credentials: Credentials) -> Body:
    body = _closed(msgspec.structs.replace(credentials, xor_key=b""))
    if credentials.xor_key:
        body["xor_key"] = xor.key_to_json(credentials.xor_key)
    return body
