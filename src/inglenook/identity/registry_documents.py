"""The documents of the registry, one for each instance: found by name or prefix (spec/03 §1.1, §4.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from inglenook.identity.instance import InstanceDoc
from inglenook.kernel.errors import Conflict
from inglenook.storage.documents.contract import Document, Index, Reader, Writer

REGISTRY = "registry"
INSTANCES = "instances"

_PAGE = 500


def _names(doc_id: str, body: dict[str, Any]) -> Iterable[bytes]:
    """The keys of the registry's index: every name, and the prefix, that no other instance may take."""
    for name in {body["domain"], body.get("old_domain") or "", *body.get("domain_aliases", ())}:
        if name:
            yield b"name\x00" + str(name).encode()
    yield b"prefix\x00" + str(body["prefix"]).encode()


REGISTRY_INDEXES = (Index("instances-by-name", INSTANCES, _names, version=1),)


def prefix_of(domain: str) -> str:
    """The name of the databases of an instance, fixed when it is made (spec/03 §4.1)."""
    return "cozy" + hashlib.sha256(domain.encode()).digest()[:16].hex()


def decode(document: Document) -> InstanceDoc:
    """What a document of the registry says."""
    return msgspec.json.decode(document.raw, type=InstanceDoc)


def all_of(view: Reader) -> list[Document]:
    """All documents of the registry, by domain."""
    found: list[Document] = []
    after = ""
    while page := view.all_docs(INSTANCES, start=after, limit=_PAGE):
        found += page
        after = page[-1].id + "\x00"
    return sorted(found, key=lambda document: document.body["domain"])


def by_name(view: Reader, name: str) -> Document | None:
    """The document of the instance that has a name, be it a former one."""
    return _find(view, b"name\x00" + name.encode())


def by_prefix(view: Reader, prefix: str) -> Document | None:
    """The document of the instance that has a prefix."""
    return _find(view, b"prefix\x00" + prefix.encode())


def check_free(view: Reader, doc: InstanceDoc, *, own_id: str) -> None:
    """Whether no other instance has a name of this one, or its prefix. Raises Conflict."""
    names = {"domain": doc.domain, "old_domain": doc.old_domain, "domain_aliases": doc.domain_aliases}
    for key in _names("", {**names, "prefix": doc.prefix}):
        for entry in view.index(REGISTRY_INDEXES[0], start=key, end=key + b"\x00", limit=2):
            if entry.id != own_id:
                raise Conflict(f"Domain {doc.domain} already exists")


def take_out(tx: Writer, id: str) -> None:
    """Delete the document of an instance, if it is there."""
    document = tx.get(INSTANCES, id)
    if document is not None:
        tx.delete(INSTANCES, id, document.rev)


def _find(view: Reader, key: bytes) -> Document | None:
    found = view.index_docs(REGISTRY_INDEXES[0], start=key, end=key + b"\x00", limit=1)
    return found[0][1] if found else None
