"""Reading the requests that create or overwrite: query, headers, metadata sent before (spec/02 §13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from inglenook.files.dates import from_header, from_query
from inglenook.files.modify import clean_tags
from inglenook.files.receiving import HttpRequest
from inglenook.files.upload import Sent
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import InvalidParameter
from inglenook.kernel.mime import class_of_mime, upload_mime
from inglenook.kernel.permissions import Permit

SECRET_SECONDS = 600.0
CERTIFIED = {
    "carbonCopy": "io.cozy.certified.carbon_copy",
    "electronicSafe": "io.cozy.certified.electronic_safe",
}


async def read_sent(instance: Instance, request: HttpRequest, name: str) -> Sent:
    """What a request says about the content it carries, for a file of this name; certified metadata are still in it.

    Raises InvalidParameter (MIME type, metadata)."""
    query = request.query_params
    mime = upload_mime(name, request.headers.get("content-type"))
    created_at, updated_at = read_dates(request)
    return Sent(
        mime=mime,
        klass=class_of_mime(mime),
        tags=read_tags(query.get("Tags", "")),
        metadata=await read_metadata(instance, query),
        executable=query.get("Executable") == "true",
        encrypted=query.get("Encrypted") == "true",
        created_at=created_at,
        updated_at=updated_at,
    )


def read_dates(request: HttpRequest) -> tuple[str, str]:
    """The dates of creation and change that a request gives; empty: now. What cannot be read is ignored."""
    query, header = request.query_params, from_header(request.headers.get("date", ""))
    return from_query(query.get("CreatedAt", "")) or header, from_query(query.get("UpdatedAt", "")) or header


def read_tags(value: str) -> list[str]:
    """Tags separated by commas."""
    return clean_tags(value.split(","))


async def read_metadata(instance: Instance, query: Mapping[str, str]) -> dict[str, Any]:
    """The metadata of `MetadataID`, else those of `Metadata`, else none. Raises InvalidParameter."""
    if secret := query.get("MetadataID"):
        metadata = await instance.ephemeral.get(metadata_key(instance, secret))
        if not isinstance(metadata, dict):
            raise InvalidParameter("Invalid or expired MetadataID", parameter="MetadataID")
        return metadata
    if text := query.get("Metadata"):
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise InvalidParameter("The metadata are not a JSON object", parameter="Metadata") from error
    return {}


async def keep_metadata(instance: Instance, metadata: Mapping[str, Any]) -> str:
    """Keep metadata for a later upload; gives their `MetadataID`."""
    secret = instance.env.random.bytes(8).hex()
    await instance.ephemeral.put(metadata_key(instance, secret), dict(metadata), SECRET_SECONDS)
    return secret


def metadata_key(instance: Instance, secret: str) -> str:
    """Where metadata wait for their upload."""
    return f"{instance.prefix}/metadata/{secret}"


def without_uncertified(
    metadata: Mapping[str, Any], permit: Permit, present: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Metadata without the certified keys that the caller may not set; `present` are those of the document, which
    may stay as they are (spec/02 §6, §26.7)."""
    kept = dict(metadata)
    for key, doctype in CERTIFIED.items():
        if key not in kept or permit.allows_type("POST", doctype):
            continue
        if present is None or key not in present or present[key] != kept[key]:
            del kept[key]
    return kept
