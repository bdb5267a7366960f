"""Bodies on their way into a store, whatever database it is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from inglenook.kernel.errors import BadDocument, DocumentTooLarge
from inglenook.storage.documents.contract import MAX_DOCUMENT_BYTES, Body


def encode_body(id: str, body: Mapping[str, Any], *, local: bool = False) -> tuple[bytes, Body]:
    """The JSON text of a body, and the same decoded: what everybody will read from now on.

    Raises BadDocument and DocumentTooLarge (spec/01 §2.1, §2.9)."""
    if not id:
        raise BadDocument("illegal_docid", "Document id must not be empty")
    if id[0] == "_" and not local and not id.startswith("_design/"):
        raise BadDocument("illegal_docid", "Only reserved document ids may start with underscore.")
    for name in body:
        if name.startswith("_"):
            raise BadDocument("doc_validation", f"Bad special document member: {name}")
    try:
        id.encode()
        raw = msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise BadDocument("bad_request", "invalid UTF-8 JSON") from error
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise DocumentTooLarge(id)
    return raw, msgspec.json.decode(raw)
