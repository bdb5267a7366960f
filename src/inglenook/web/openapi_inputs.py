"""What requests carry besides their path: query parameters and bodies of the routes, for the OpenAPI document.

By the name of the handler, below `/data` and `/files`. A parameter is named with its type: `n` an integer, `b` a
boolean, `s` a text, `j` JSON. Bodies are JSON schemas of what makes sense; what else the server takes is told by the
specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

_TYPES: Mapping[str, Object] = {
    "n": {"type": "integer"},
    "b": {"type": "boolean"},
    "s": {"type": "string"},
}

_LIST = {
    "include_docs": "b", "conflicts": "b", "key": "j", "keys": "j", "startkey": "j", "endkey": "j",
    "inclusive_end": "b", "startkey_docid": "s", "limit": "n", "skip": "n", "descending": "b", "update_seq": "b",
}  # fmt: skip
_FEED = {
    "style": "s", "since": "s", "limit": "n", "include_docs": "b", "descending": "b", "seq_interval": "n",
    "feed": "s", "timeout": "n", "heartbeat": "n",
}  # fmt: skip
_PAGE = {"page[limit]": "n", "page[cursor]": "s", "page[skip]": "n"}
_NEW_ITEM = {
    "Type": "s", "Name": "s", "Tags": "s", "Executable": "b", "Encrypted": "b", "CreatedAt": "s", "UpdatedAt": "s",
    "Size": "n", "MetadataID": "s", "SourceAccount": "s", "Path": "s",
}  # fmt: skip
_DOWNLOAD = {"Dl": "s", "Page": "n"}

QUERIES: Mapping[str, Mapping[str, str]] = {
    "list_documents": {**_LIST, "Fields": "s", "DesignDocs": "b"},
    "list_chosen_documents": {**_LIST, "Fields": "s", "DesignDocs": "b"},
    "list_design_documents": _LIST,
    "list_normal_documents": {"limit": "n", "skip": "n", "bookmark": "s", "execution_stats": "b"},
    "read_documents": {"revs": "b", "latest": "b"},
    "read_changes": _FEED,
    "read_filtered_changes": {**_FEED, "filter": "s"},
    "read_document": {
        "revs": "b", "rev": "s", "latest": "b", "open_revs": "j", "revs_info": "b", "conflicts": "b",
        "deleted_conflicts": "b", "include": "s",
    },
    "delete_document": {"rev": "s"},
    "delete_design_document": {"rev": "s"},
    "list_references": {**_PAGE, "include": "s", "sort": "s"},
    "list_left_out": {**_PAGE, "include": "s"},
    "create_in_root": _NEW_ITEM,
    "create_in": _NEW_ITEM,
    "put_file": {key: kind for key, kind in _NEW_ITEM.items() if key not in ("Type", "Name", "Path")},
    "get_item": _PAGE,
    "get_by_path": {"Path": "s", **_PAGE},
    "patch_at": {"Path": "s", "rev": "s"},
    "patch_item": {"rev": "s"},
    "delete_item": {"rev": "s"},
    "get_contents": _PAGE,
    "list_trash": _PAGE,
    "copy_item": {"Name": "s", "DirID": "s", "CopyOnConflict": "b"},
    "changes": {
        "since": "s", "limit": "n", "include_docs": "b", "fields": "s", "include_file_path": "b", "skip_deleted": "b",
        "skip_trashed": "b",
    },
    "download": _DOWNLOAD,
    "download_at": {"Path": "s", **_DOWNLOAD},
    "make_link": {"Path": "s", "Id": "s", "VersionId": "s", "Page": "n"},
    "create_version": {"Tags": "s"},
}  # fmt: skip

_TEXT: Object = {"type": "string"}
_REVISION: Object = {"type": "string", "pattern": "^[1-9][0-9]?-[0-9a-f]{32}$"}
_DOCUMENT: Object = {
    "type": "object",
    "properties": {"_id": _TEXT, "_rev": _REVISION, "_deleted": {"type": "boolean"}},
    "additionalProperties": True,
}
_SELECTOR: Object = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [
            {"type": ["null", "boolean", "integer", "string"]},
            {
                "type": "object",
                "properties": {
                    "$eq": {}, "$ne": {}, "$gt": {}, "$gte": {}, "$lt": {}, "$lte": {}, "$exists": {"type": "boolean"},
                    "$in": {"type": "array"}, "$nin": {"type": "array"}, "$all": {"type": "array"},
                    "$size": {"type": "integer"}, "$type": _TEXT, "$regex": _TEXT, "$beginsWith": _TEXT,
                    "$mod": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
                    "$elemMatch": {"type": "object"}, "$allMatch": {"type": "object"},
                    "$keyMapMatch": {"type": "object"}, "$not": {"type": "object"},
                },
            },
        ]
    },
}  # fmt: skip
_FIELDS: Object = {"type": "array", "items": _TEXT}
_SORT: Object = {"type": "array", "items": {"anyOf": [_TEXT, {"type": "object", "maxProperties": 1}]}}
_QUERY: Object = {
    "type": "object",
    "required": ["selector"],
    "properties": {
        "selector": _SELECTOR, "limit": {"type": "integer"}, "skip": {"type": "integer", "minimum": 0}, "sort": _SORT,
        "fields": _FIELDS, "use_index": {"anyOf": [_TEXT, _FIELDS]}, "bookmark": _TEXT,
        "execution_stats": {"type": "boolean"}, "conflicts": {"type": "boolean"},
    },
    "additionalProperties": False,
}  # fmt: skip
_KEYS: Object = {"type": "object", "properties": {"keys": {"type": "array"}}}
_REFERENCES: Object = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {
            "type": "array",
            "items": {"type": "object", "required": ["type", "id"], "properties": {"type": _TEXT, "id": _TEXT}},
        }
    },
}


def _several(item: Object, **others: Object) -> Object:
    docs = {"docs": {"type": "array", "items": item}}
    return {"type": "object", "required": ["docs"], "properties": {**docs, **others}}


def _attributes(**attributes: Object) -> Object:
    properties = {"type": _TEXT, "id": _TEXT, "attributes": {"type": "object", "properties": attributes}}
    return {
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"type": "object", "required": ["attributes"], "properties": properties}},
    }


_ITEM = _attributes(
    name=_TEXT,
    dir_id=_TEXT,
    tags=_FIELDS,
    executable={"type": "boolean"},
    updated_at=_TEXT,
    favorite={"type": "boolean"},
    cozyMetadata={"type": "object"},
)

BODIES: Mapping[str, Object] = {
    "create_document": _DOCUMENT,
    "put_document": _DOCUMENT,
    "write_local": _DOCUMENT,
    "list_chosen_documents": _KEYS,
    "write_documents": _several(_DOCUMENT, new_edits={"type": "boolean"}),
    "write_together": _several(
        {
            "type": "object",
            "required": ["_type"],
            "properties": {"_type": _TEXT, "_id": _TEXT, "_rev": _REVISION, "_deleted": {"type": "boolean"}},
        }
    ),
    "read_documents": _several({"type": "object", "required": ["id"], "properties": {"id": _TEXT, "rev": _REVISION}}),
    "compare_revisions": {"type": "object", "additionalProperties": {"type": "array", "items": _REVISION}},
    "read_filtered_changes": {
        "type": "object",
        "properties": {"doc_ids": _FIELDS, "selector": _SELECTOR, "fields": _FIELDS},
    },
    "create_index": {
        "type": "object",
        "required": ["index"],
        "properties": {
            "index": {
                "type": "object",
                "required": ["fields"],
                "properties": {"fields": _SORT, "partial_filter_selector": _SELECTOR},
            },
            "ddoc": _TEXT,
            "name": _TEXT,
            "type": {"enum": ["json"]},
        },
    },
    "find_documents": _QUERY,
    "find_files": _QUERY,
    "add_to_all": _REFERENCES,
    "remove_from_all": _REFERENCES,
    "leave_all_out": _REFERENCES,
    "take_all_in": _REFERENCES,
    "add": _REFERENCES,
    "remove": _REFERENCES,
    "leave_directory_out": _REFERENCES,
    "take_directory_in": _REFERENCES,
    "patch_item": _ITEM,
    "patch_at": _ITEM,
    "patch_version": _attributes(tags=_FIELDS),
    "send_metadata": _attributes(category=_TEXT, label=_TEXT),
    "archive": _attributes(name=_TEXT, files=_FIELDS, ids=_FIELDS),
}


DESCRIBED = ("/data", "/files")  # handlers elsewhere may have the same names


def query_parameters(path: str, handler: str) -> list[Object]:
    """The query parameters of a route, as OpenAPI describes them."""
    if not path.startswith(DESCRIBED):
        return []
    return [
        {"name": name, "in": "query", "content": {"application/json": {"schema": {}}}}
        if kind == "j"
        else {"name": name, "in": "query", "schema": dict(_TYPES[kind])}
        for name, kind in QUERIES.get(handler, {}).items()
    ]


def request_body(path: str, handler: str) -> Object | None:
    """The body of a route, None when nothing is told about it."""
    schema = BODIES.get(handler) if path.startswith(DESCRIBED) else None
    return None if schema is None else {"required": True, "content": {"application/json": {"schema": schema}}}
