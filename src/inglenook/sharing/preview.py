"""Codes of members: permission documents of types share-preview and share-interact (spec/04 §2.8, §9; spec/03 §10.1).

A preview code lets an invited person look, and opens the discovery; an interact code lets a member act on the
owner's server as if by an app (notes, office files, drives). Both are kept by member: under his mail address, else
his instance, else `index:<n>`.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from inglenook.identity import permission_documents, tokens
from inglenook.identity.instance import Instance
from inglenook.identity.permission_documents import PERMISSIONS
from inglenook.kernel.errors import AuthError, BadRequest, ClosedCode, DocumentNotFound, ExpiredCode, NotFound
from inglenook.kernel.members import WAITING, Event, State, next_state
from inglenook.kernel.permissions import VERBS, PermissionSet, Rule
from inglenook.sharing import documents, rights
from inglenook.sharing.documents import DOCTYPE, NO_MEMBER, Body, Member, Sharing
from inglenook.storage.documents.contract import Document, Reader, Writer

PREVIEW = "share-preview"
INTERACT = "share-interact"
SHORT_CODE_LENGTH = 12
SHORT_CODE_LETTERS = string.ascii_letters + string.digits


# -- keys


def key_of(sharing: Sharing, index: int) -> str:
    """The key under which a member's codes are kept."""
    member = sharing.members[index]
    return member.email or member.instance or f"index:{index}"


def keys_of(sharing: Sharing, index: int) -> tuple[str, ...]:
    """All the keys under which a member's interact code may be found."""
    member = sharing.members[index]
    return tuple(key for key in (member.instance, member.email, f"index:{index}") if key)


def member_of_key(sharing: Sharing, key: str) -> int | None:
    """The member whose codes are kept under a key: the first with that address, that instance, else that index."""
    for index, member in enumerate(sharing.members):
        if index and member.email == key:
            return index
    for index, member in enumerate(sharing.members):
        if index and documents.same_instance(member.instance, key):
            return index
    label, _, number = key.partition(":")
    if label == "index" and number.isascii() and number.isdigit() and 0 < int(number) < len(sharing.members):
        return int(number)
    return None


# -- preview codes


def refresh_preview(tx: Writer, instance: Instance, sharing: Sharing) -> Document:
    """Give every member but the owner a preview code, keeping those that exist; an expired document is left behind
    and a new one made (spec/04 §9.1)."""
    old = live_preview(tx, instance, sharing.id)
    had: Body = old.body if old is not None else {}
    codes: dict[str, str] = {}
    short_codes: dict[str, str] = {}
    for index in range(1, len(sharing.members)):
        key = key_of(sharing, index)
        codes[key] = had.get("codes", {}).get(key) or tokens.issue(
            instance, tokens.SHARE, f"preview:{sharing.id}:{key}", unique=_unique(instance)
        )
        short_codes[key] = had.get("shortcodes", {}).get(key) or _short_code(instance)
    body = _document(instance, sharing, PREVIEW, ("GET",), codes, had)
    body["shortcodes"] = short_codes
    return tx.put(PERMISSIONS, old.id if old else tx.new_id(), body, rev=old.rev if old else None)


def live_preview(view: Reader, instance: Instance, sharing_id: str) -> Document | None:
    """The preview permission that has not expired."""
    now = instance.env.clock.now()
    for document in permission_documents.all_of_source(view, PREVIEW, f"{DOCTYPE}/{sharing_id}"):
        if not permission_documents.expired(document.body, now):
            return document
    return None


def preview_code(view: Reader, instance: Instance, sharing: Sharing, index: int) -> str:
    """The short preview code of a member by his mail address, else the long one; empty when there is none."""
    document = live_preview(view, instance, sharing.id)
    email = sharing.members[index].email
    if document is None or not email:
        return ""
    return str(document.body.get("shortcodes", {}).get(email) or document.body.get("codes", {}).get(email) or "")


def long_preview_code(view: Reader, instance: Instance, sharing: Sharing, index: int) -> str:
    """The long preview code of a member, empty when there is none."""
    document = live_preview(view, instance, sharing.id)
    return str(document.body.get("codes", {}).get(key_of(sharing, index), "")) if document is not None else ""


def member_of_code(view: Reader, instance: Instance, sharing: Sharing, code: str) -> int | None:
    """The member who holds a preview code of this sharing, short or long; None for any other code."""
    document = live_preview(view, instance, sharing.id)
    if document is None or not code:
        return None
    wanted = code.removesuffix(".")
    for kind in ("shortcodes", "codes"):
        for key, value in document.body.get(kind, {}).items():
            if value in (code, wanted):
                return member_of_key(sharing, key)
    return None


# -- interact codes


def interact_code(tx: Writer, instance: Instance, sharing: Sharing, index: int) -> str:
    """The interact code of a member, made when there is none; the rules are brought up to date (spec/04 §9.6)."""
    old = tx.get(PERMISSIONS, interact_id(sharing.id))
    had: Body = old.body if old is not None else {}
    codes: dict[str, str] = {key: code for key, code in had.get("codes", {}).items() if key}
    code = next((codes[key] for key in keys_of(sharing, index) if key in codes), "")
    if not code:
        key = key_of(sharing, index)
        code = tokens.issue(instance, tokens.SHARE, f"interact:{sharing.id}:{key}", unique=_unique(instance))
        codes[key] = code
    body = _document(instance, sharing, INTERACT, VERBS, codes, had)
    if old is None or any(body[name] != had.get(name) for name in ("codes", "permissions")) or "expires_at" in had:
        tx.put(PERMISSIONS, interact_id(sharing.id), body, rev=old.rev if old else None)
    return code


def existing_interact_code(view: Reader, sharing: Sharing, index: int) -> str:
    """The interact code that a member has, empty when there is none."""
    document = view.get(PERMISSIONS, interact_id(sharing.id))
    codes: Body = document.body.get("codes", {}) if document is not None else {}
    return next((str(codes[key]) for key in keys_of(sharing, index) if key in codes), "")


def forget_interact_code(tx: Writer, sharing: Sharing, index: int) -> None:
    """Take a member's code out of the interact permission."""
    document = tx.get(PERMISSIONS, interact_id(sharing.id))
    if document is None:
        return
    gone = set(keys_of(sharing, index))
    codes = {key: code for key, code in document.body.get("codes", {}).items() if key not in gone}
    if codes != document.body.get("codes"):
        tx.put(PERMISSIONS, document.id, {**document.body, "codes": codes}, rev=document.rev)


def forget_preview_code(tx: Writer, instance: Instance, sharing: Sharing, index: int) -> None:
    """Take a member's preview code out of the preview permission."""
    document = live_preview(tx, instance, sharing.id)
    if document is None:
        return
    gone = key_of(sharing, index)
    kept = {
        name: {key: code for key, code in document.body.get(name, {}).items() if key != gone}
        for name in ("codes", "shortcodes")
    }
    tx.put(PERMISSIONS, document.id, {**document.body, **kept}, rev=document.rev)


def interact_id(sharing_id: str) -> str:
    """The id of the one interact permission of a sharing."""
    return f"{INTERACT}-{sharing_id}"


# -- both


def expire_codes(tx: Writer, now: str, sharing_id: str) -> None:
    """End all codes of a sharing now, a moment in RFC 3339 (spec/04 §19.3)."""
    for kind in (PREVIEW, INTERACT):
        for document in permission_documents.all_of_source(tx, kind, f"{DOCTYPE}/{sharing_id}"):
            if "expires_at" not in document.body:
                tx.put(PERMISSIONS, document.id, {**document.body, "expires_at": now}, rev=document.rev)


async def greet_member(instance: Instance, sharing_id: str, member_key: str) -> Mapping[str, Any]:
    """The member who calls with a code, as clients see him; from now on he has seen the sharing (spec/04 §9.2).

    Raises ExpiredCode when the sharing is gone, NotFound for an unknown member, ClosedCode for a revoked one."""

    def read(view: Reader) -> tuple[Sharing, int]:
        sharing = documents.get(view, sharing_id)
        if sharing is None:
            raise ExpiredCode
        return sharing, _holder(sharing, member_key)

    def see(tx: Writer) -> Member:
        sharing, index = read(tx)
        member = sharing.members[index]
        member.status = next_state(member.status, Event.CODE_USED)
        documents.save(tx, sharing)
        return member

    sharing, index = await instance.store.read(read)
    member = sharing.members[index]
    if next_state(member.status, Event.CODE_USED) != member.status:
        member = await instance.store.write(see)
    return documents.member_body(member)


async def page_token(instance: Instance, sharecode: str) -> str:
    """The token that the preview page of an app is given for the `sharecode` of its address (spec/04 §9.5).

    For a short preview code the long one, or the interact code of a member who may write from his own server; any
    other code as it is."""

    def find(view: Reader) -> tuple[str, str, str]:
        try:
            code = permission_documents.long_code(view, sharecode.removesuffix("."))
            document = permission_documents.by_code(view, code)
        except AuthError:
            return sharecode, "", ""
        if document.body.get("type") != PREVIEW:
            return sharecode, "", ""
        key = next((key for key, value in document.body.get("codes", {}).items() if value == code), "")
        return code, str(document.body.get("source_id", "")).removeprefix(f"{DOCTYPE}/"), key

    def act(tx: Writer) -> str | None:
        sharing = documents.get(tx, sharing_id)
        index = member_of_key(sharing, key) if sharing is not None else None
        if sharing is None or index is None or not sharing.owner:
            return None
        member = sharing.members[index]
        if not member.instance or member.status == State.REVOKED or rights.is_read_only(sharing, index):
            return None
        return interact_code(tx, instance, sharing, index)

    code, sharing_id, key = await instance.store.read(find)
    return (await instance.store.write(act) if sharing_id else None) or code


def link_for(view: Reader, instance: Instance, sharing: Sharing, index: int, state: str) -> str:
    """The address that an invited person opens: the preview page of the app, else the discovery (spec/04 §6.2)."""
    if sharing.owner and sharing.preview_path:
        code = preview_code(view, instance, sharing, index)
        if code:
            path = "/" + sharing.preview_path.lstrip("/")
            return instance.app_url(sharing.app_slug, path, {"sharecode": code})
    return instance.url(f"/sharings/{sharing.id}/discovery", {"state": state})


def preview_url(view: Reader, instance: Instance, sharing: Sharing, state: str) -> str:
    """What a recipient's server is told for its shortcut (spec/04 §9.4).

    Raises BadRequest (not the owner), NotFound (unknown state), Conflict (accepted), DocumentNotFound (no preview),
    ExpiredCode-like BadRequest when the preview has ended."""
    sharing.require_owner()
    index = sharing.member_of_state(state)
    if index is None:
        raise NotFound(NO_MEMBER)
    if sharing.members[index].status not in WAITING:
        raise documents.already_accepted()
    if not permission_documents.all_of_source(view, PREVIEW, f"{DOCTYPE}/{sharing.id}"):
        raise DocumentNotFound("missing")
    check_not_ended(view, instance, sharing)
    return link_for(view, instance, sharing, index, state)


def check_not_ended(view: Reader, instance: Instance, sharing: Sharing) -> None:
    """Whether the preview of a sharing, if it has one, still opens. Raises BadRequest when it has ended."""
    ended = bool(permission_documents.all_of_source(view, PREVIEW, f"{DOCTYPE}/{sharing.id}"))
    if ended and live_preview(view, instance, sharing.id) is None:
        raise BadRequest("code=400, message=Expired token")


def _holder(sharing: Sharing, member_key: str) -> int:
    index = member_of_key(sharing, member_key)
    if index is None:
        raise NotFound(NO_MEMBER)
    if sharing.members[index].status == State.REVOKED:
        raise ClosedCode
    return index


def _document(
    instance: Instance, sharing: Sharing, kind: str, verbs: tuple[str, ...], codes: dict[str, str], had: Body
) -> Body:
    now = instance.env.clock.timestamp()
    rules = tuple(
        Rule(
            title=rule.title,
            type=rule.doctype,
            verbs=verbs,
            selector="" if rule.selector in ("id", "_id") else rule.selector,
            values=tuple(rule.values),
        )
        for rule in sharing.rules
    )
    metadata = had.get("cozyMetadata") or {
        "doctypeVersion": "",
        "metadataVersion": 1,
        "createdAt": now,
        **({"createdByApp": sharing.app_slug} if sharing.app_slug else {}),
    }
    return {
        "type": kind,
        "source_id": f"{DOCTYPE}/{sharing.id}",
        "permissions": PermissionSet(rules).to_json(),
        "codes": codes,
        "cozyMetadata": {**metadata, "updatedAt": now},
    }


def _short_code(instance: Instance) -> str:
    return "".join(
        SHORT_CODE_LETTERS[int(instance.env.random.uniform() * len(SHORT_CODE_LETTERS))]
        for _ in range(SHORT_CODE_LENGTH)
    )


def _unique(instance: Instance) -> str:
    return instance.env.random.bytes(8).hex()
