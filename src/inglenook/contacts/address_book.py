"""The address book as sharings need it: who a contact is, who is in a group, what sharings write back.

Spec/04 §4 and spec/07 §6. Contacts are free-form documents of the user's apps: whatever has an unexpected type is
taken as absent. What lies in the trash (`trashed: true`) is not in the address book any more, except for a contact
named by its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from inglenook.kernel.collation import raw_key
from inglenook.kernel.errors import DocumentNotFound
from inglenook.storage.documents.contract import Document, Index, Reader, Writer

CONTACTS = "io.cozy.contacts"
GROUPS = "io.cozy.contacts.groups"
GROUP_LIMIT = 1000
"""Contacts of a group that are looked at (spec/04 §4)."""

SAME_ADDRESS = 20
SORT_INDEX = "byFamilyNameGivenNameEmailCozyUrl"

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Contact:
    """What a contact tells: `email` and `instance` are those to use, empty when there is none (spec/07 §6.2)."""

    id: str
    name: str
    email: str
    instance: str
    display_name: str = ""
    phone: str = ""
    groups: tuple[str, ...] = ()
    sort_key: str = ""
    me: bool = False
    trusted: bool = False
    external: bool = False
    trashed: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A group of contacts."""

    id: str
    name: str


# -- indexes


def _email_keys(doc_id: str, body: dict[str, Any]) -> Iterable[bytes]:
    if body.get("trashed") is not True:
        yield from {_email_key(address) for address in _values(body.get("email"), "address")}


def _group_keys(doc_id: str, body: dict[str, Any]) -> Iterable[bytes]:
    if body.get("trashed") is not True:
        yield from (raw_key(group) for group in groups_of(body))


def _me_keys(doc_id: str, body: dict[str, Any]) -> Iterable[bytes]:
    if body.get("me") is True:
        yield b"me"


def _email_key(address: str) -> bytes:
    return raw_key(address.strip().casefold())


BY_EMAIL = Index("contacts-by-email", CONTACTS, _email_keys, version=1)
BY_GROUP = Index("contacts-by-group", CONTACTS, _group_keys, version=1)
MYSELF = Index("contacts-me", CONTACTS, _me_keys, version=1)
CONTACT_INDEXES = (BY_EMAIL, BY_GROUP, MYSELF)


# -- reading


def contact_of(id: str, body: Body) -> Contact:
    """The facts of a contact."""
    name = name_of(body)
    indexes = body.get("indexes")
    order = indexes.get(SORT_INDEX) if isinstance(indexes, dict) else None
    metadata = body.get("metadata")
    return Contact(
        id=id,
        name=name,
        email=_preferred(body.get("email"), "address").strip(),
        instance=_with_scheme(_preferred(body.get("cozy"), "url").strip()),
        display_name=_text(body.get("displayName")),
        phone=_preferred(body.get("phone"), "number"),
        groups=tuple(groups_of(body)),
        sort_key=order if isinstance(order, str) and order else name,
        me=body.get("me") is True,
        trusted=body.get("trustedForSharing") is True,
        external=isinstance(metadata, dict) and metadata.get("external") is True,
        trashed=body.get("trashed") is True,
    )


def name_of(body: Body) -> str:
    """`fullname`, else given name and family name."""
    full = _text(body.get("fullname"))
    if full:
        return full
    name = body.get("name")
    if not isinstance(name, dict):
        return ""
    return f"{_text(name.get('givenName'))} {_text(name.get('familyName'))}".strip()


def groups_of(body: Body) -> list[str]:
    """The ids of the groups of a contact, under any relationship name."""
    relationships = body.get("relationships")
    if not isinstance(relationships, dict):
        return []
    found: dict[str, None] = {}
    for related in relationships.values():
        entries = related.get("data") if isinstance(related, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and entry.get("_type") == GROUPS and isinstance(entry.get("_id"), str):
                found[entry["_id"]] = None
    return list(found)


def find_contact(view: Reader, id: str) -> Contact:
    """A contact by its id. Raises DocumentNotFound."""
    return contact_of(id, view.find(CONTACTS, id).body)


def find_group(view: Reader, id: str) -> Group:
    """A group by its id. Raises DocumentNotFound, also for one in the trash."""
    body = view.find(GROUPS, id).body
    if body.get("trashed") is True:
        raise DocumentNotFound("deleted")
    return Group(id, _text(body.get("name")))


def contacts_of_group(view: Reader, group_id: str, *, limit: int = GROUP_LIMIT) -> list[Contact]:
    """The members of a group in the order of the address book, at most `limit` of them."""
    found = _at(view, BY_GROUP, raw_key(group_id), limit)
    return sorted((contact_of(document.id, document.body) for document in found), key=lambda one: one.sort_key)


def document_by_email(view: Reader, email: str) -> Document | None:
    """The contact with a mail address: one that has it in exactly this writing, else in any (first by id)."""
    wanted = email.strip()
    if not wanted:
        return None
    found = _at(view, BY_EMAIL, _email_key(wanted), SAME_ADDRESS)
    for document in found:
        if wanted in _values(document.body.get("email"), "address"):
            return document
    return found[0] if found else None


def find_by_email(view: Reader, email: str) -> Contact | None:
    """The contact with a mail address, None when nobody is known by it."""
    document = document_by_email(view, email)
    return contact_of(document.id, document.body) if document else None


def name_of_email(view: Reader, email: str) -> str:
    """How the address book names a mail address, empty when it does not (spec/07 §6.4)."""
    contact = find_by_email(view, email)
    return contact.name if contact else ""


def is_trusted(view: Reader, email: str) -> bool:
    """Whether sharings from a mail address are trusted by the owner (spec/04 §21)."""
    contact = find_by_email(view, email)
    return contact is not None and contact.trusted


def myself(view: Reader) -> Document | None:
    """The contact that stands for the owner, None when it was deleted."""
    return next(iter(_at(view, MYSELF, b"me", 1)), None)


# -- what sharings write (spec/07 §6.4)


def add_instance(tx: Writer, email: str, instance: str) -> bool:
    """A recipient told the address of its server: put it first in the contact's `cozy`.

    False when the contact is unknown or has this address already."""
    document = document_by_email(tx, email)
    if document is None:
        return False
    known = document.body.get("cozy")
    entries = [entry for entry in known if isinstance(entry, dict)] if isinstance(known, list) else []
    if any(_same_address(_text(entry.get("url")), instance) for entry in entries):
        return False
    _change(tx, document, {"cozy": [{"url": instance}, *entries]})
    return True


def replace_instance(tx: Writer, email: str, instance: str) -> bool:
    """A member moved: its contact has this address and no other. False when the contact is unknown."""
    document = document_by_email(tx, email)
    if document is None:
        return False
    _change(tx, document, {"cozy": [{"url": instance}]})
    return True


def fill_name(tx: Writer, email: str, public_name: str) -> bool:
    """A recipient told its name: the contact that had none takes it. False when nothing changed."""
    document = document_by_email(tx, email)
    if document is None or not public_name:
        return False
    display = _text(document.body.get("displayName"))
    if _text(document.body.get("fullname")) or (display and display != email.strip()):
        return False
    _change(tx, document, {"fullname": public_name, "displayName": public_name})
    return True


def trust(tx: Writer, email: str, *, name: str = "", instance: str = "") -> None:
    """The owner trusts the sharings of somebody; a contact is made when there is none."""
    document = document_by_email(tx, email)
    if document is None:
        body = {**new_contact(email, name=name, instance=instance), "trustedForSharing": True}
        tx.put(CONTACTS, tx.new_id(), body)
    elif document.body.get("trustedForSharing") is not True:
        _change(tx, document, {"trustedForSharing": True})


def new_contact(
    email: str, *, name: str = "", instance: str = "", phone: str = "", external: bool = False
) -> dict[str, Any]:
    """The body of a contact that the server makes (spec/07 §6.4)."""
    email = email.strip()
    body: dict[str, Any] = {
        "fullname": name or email.partition("@")[0],
        "displayName": name or email,
        "email": [{"address": email, "primary": True}],
    }
    if instance:
        body["cozy"] = [{"url": instance, "primary": True}]
    if phone:
        body["phone"] = [{"number": phone, "primary": True}]
    if external:
        body["metadata"] = {"external": True}
    body["indexes"] = {SORT_INDEX: instance or email}
    return body


def _change(tx: Writer, document: Document, changes: Body) -> None:
    tx.put(CONTACTS, document.id, {**document.body, **changes}, rev=document.rev)


def _at(view: Reader, index: Index, key: bytes, limit: int) -> list[Document]:
    return [document for _, document in view.index_docs(index, start=key, end=key + b"\x00", limit=limit)]


# -- reading free-form documents


def _preferred(entries: object, field: str) -> str:
    """The field of the last primary entry that has one, else of the first (spec/07 trap 31)."""
    if not isinstance(entries, list):
        return ""
    for entry in reversed(entries):
        if isinstance(entry, dict) and entry.get("primary") is True and _text(entry.get(field)):
            return _text(entry.get(field))
    return next(iter(_values(entries, field)), "")


def _values(entries: object, field: str) -> list[str]:
    if not isinstance(entries, list):
        return []
    texts = (_text(entry.get(field)) for entry in entries if isinstance(entry, dict))
    return [text.strip() for text in texts if text.strip()]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _with_scheme(url: str) -> str:
    return url if not url or url.startswith("http") else f"https://{url}"


def _same_address(one: str, other: str) -> bool:
    return _with_scheme(one.strip()).rstrip("/") == _with_scheme(other.strip()).rstrip("/")
