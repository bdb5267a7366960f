"""Bodies on their way into a store, whatever database it is on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from inglenook.kernel.errors import BadDocument, DocumentTooLarge
from inglenook.storage.documents.contract import MAX_DOCUMENT_BYTES, MAX_DOCUMENT_DEPTH, Body

_DIGEST = re.compile(r"md5-[A-Za-z0-9+/]{22}==")


def encode_body(id: str, body: Mapping[str, Any], *, local: bool = False) -> tuple[bytes, Body]:
    """The JSON text of a body, and the same decoded: what everybody will read from now on.

    Raises BadDocument and DocumentTooLarge (spec/01 §2.1, §2.9)."""
    if not id:
        raise BadDocument("illegal_docid", "Document id must not be empty")
    if id[0] == "_" and not local and not id.startswith("_design/"):
        raise BadDocument("illegal_docid", "Only reserved document ids may start with underscore.")
    for name in body:
        if name.startswith("_") and not (name == "_attachments" and _are_stubs(body[name])):
            raise BadDocument("doc_validation", f"Bad special document member: {name}")
    try:
        id.encode()
        raw = msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise BadDocument("bad_request", "invalid UTF-8 JSON") from error
    except RecursionError:
        raise _too_deep() from None
    check_depth(raw, body)
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge(id)
    return raw, msgspec.json.decode(raw)


def check_depth(raw: bytes, value: object) -> None:
    """Raises BadDocument for a JSON value (with its text) that is nested deeper than the store takes: it could be
    written, and not be read where something more is going on."""
    if raw.count(b"{") + raw.count(b"[") <= MAX_DOCUMENT_DEPTH:
        return
    level: list[object] = [value]
    for _ in range(MAX_DOCUMENT_DEPTH):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(cast("dict[str, object]", item).values())
            elif isinstance(item, list):
                below.extend(cast("list[object]", item))
        if not below:
            return
        level = below
    if any(isinstance(item, dict | list) for item in level):
        raise _too_deep()


def _too_deep() -> BadDocument:
    return BadDocument("bad_request", "The document is nested too deep")


def _are_stubs(attachments: object) -> bool:
    """Whether this is what a document keeps of its attachments: a stub by each name (`documents.attachments`)."""
    if not isinstance(attachments, dict) or not attachments:
        return False
    for stub in cast("dict[str, object]", attachments).values():
        if not isinstance(stub, dict):
            return False
        digest = cast("dict[str, object]", stub).get("digest")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            return False
    return True
