"""A document as it leaves for another member: identifiers under the key of the pair, local things left out.

Pure functions (spec/05 §11). The sender rewrites; the receiver stores what it gets. The same key serves both ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inglenook.kernel.revisions import chain_to_wire
from inglenook.kernel.rules import SharingRule
from inglenook.kernel.xor import xor_id

FILES = "io.cozy.files"
CIPHERS = "com.bitwarden.ciphers"
CERTIFIED = ("carbonCopy", "electronicSafe")

Body = dict[str, Any]


def outgoing(
    doctype: str, id: str, chain: Sequence[str], body: Mapping[str, Any], rule: SharingRule, key: bytes
) -> Body:
    """A live document for the other side: `chain` is its history, oldest first, ending with the revision sent."""
    if doctype == FILES:
        sent = outgoing_file(id, body, rule, key)
    else:
        sent = {name: value for name, value in body.items() if name != "_attachments"}  # their bytes do not travel
        if doctype == CIPHERS and isinstance(sent.get("organization_id"), str):
            sent["organization_id"] = xor_id(sent["organization_id"], key)
    return {**envelope(id, chain, key), **sent}


def removal(id: str, chain: Sequence[str], key: bytes) -> Body:
    """The announcement that a document is no longer there for the other side."""
    return {**envelope(id, chain, key), "_deleted": True}


def envelope(id: str, chain: Sequence[str], key: bytes) -> Body:
    """Identifier, revision and history, as they travel."""
    return {"_id": xor_id(id, key), "_rev": chain[-1], "_revisions": chain_to_wire(chain)}


def outgoing_file(id: str, body: Mapping[str, Any], rule: SharingRule, key: bytes) -> Body:
    """A file or folder: its place is told relative to the shared root, its references only for a shared album."""
    sent = dict(body)
    if sent.get("type") == "directory":
        sent.pop("path", None)
        sent.pop("not_synchronized_on", None)
    if isinstance(stamps := sent.get("cozyMetadata"), dict) and "favorite" in stamps:  # everybody's own matter
        sent["cozyMetadata"] = {name: value for name, value in stamps.items() if name != "favorite"}
    dir_id = sent.get("dir_id")
    if rule.selector == "referenced_by":
        sent["referenced_by"] = [
            {**reference, "id": xor_id(reference["id"], key)}
            for reference in sent.get("referenced_by") or ()
            if f"{reference['type']}/{reference['id']}" in rule.values
        ]
        sent.pop("dir_id", None)
        return sent
    sent.pop("referenced_by", None)
    if id in rule.values or dir_id in rule.values:
        sent.pop("dir_id", None)
    elif dir_id:
        sent["dir_id"] = xor_id(dir_id, key)
    return sent


def folder_for_caller(id: str, rev: str, body: Mapping[str, Any], rule: SharingRule, key: bytes) -> Body:
    """The answer to the look-up of a folder, in the caller's identifiers (spec/05 §12.3)."""
    sent = outgoing_file(id, body, rule, key)
    metadata = {k: v for k, v in (sent.pop("metadata", None) or {}).items() if k not in CERTIFIED}
    shown = ("type", "name", "dir_id", "created_at", "updated_at", "cozyMetadata", "restore_path")
    return {
        "_id": xor_id(id, key),
        "_rev": rev,
        "tags": sent.get("tags"),
        **({"metadata": metadata} if metadata else {}),
        **{name: sent[name] for name in shown if name in sent},
    }
