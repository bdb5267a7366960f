"""What a file, a directory and an old version are: the typed view of their documents (spec/02 §1 and §2).

A document is kept as a plain body, so that members this server does not know survive every change. `Item` reads
it. Two things differ from what is shown outside: the `path` of a directory is not stored but follows from its
ancestors (`tree.Lineage`), and where the content lies is known to the store alone.
"""

from __future__ import annotations

from typing import Any

from inglenook.storage.documents.contract import Body, Document

FILES = "io.cozy.files"
VERSIONS = "io.cozy.files.versions"
SHARINGS = "io.cozy.sharings"
CLIENTS = "io.cozy.oauth.clients"

ROOT_ID = "io.cozy.files.root-dir"
TRASH_ID = "io.cozy.files.trash-dir"
SHARED_WITH_ME_ID = "io.cozy.files.shared-with-me-dir"
NO_LONGER_SHARED_ID = "io.cozy.files.no-longer-shared-dir"
SHARED_DRIVES_ID = "io.cozy.files.shared-drives-dir"

TRASH_NAME = ".cozy_trash"
TRASH_PATH = "/" + TRASH_NAME

NOTE_MIME = "text/vnd.cozy.note+markdown"
SHORTCUT_MIME = "application/internet-shortcut"


class Item:
    """One revision of a file or a directory. Its `body` has no underscore members; treat it as read-only.

    An item of a stored document decodes its body at the first use."""

    __slots__ = ("_body", "_document", "id", "rev")

    def __init__(self, id: str, rev: str, body: Body) -> None:
        self.id = id
        self.rev = rev
        self._body: Body | None = body
        self._document: Document | None = None

    @classmethod
    def of(cls, document: Document) -> Item:
        """The view of a stored document."""
        item = cls.__new__(cls)
        item.id, item.rev, item._body, item._document = document.id, document.rev, None, document
        return item

    @property
    def body(self) -> Body:
        """The decoded body."""
        if self._body is None:
            assert self._document is not None
            self._body = self._document.body
        return self._body

    @property
    def raw(self) -> bytes:
        """The JSON text of the body, empty when it is not at hand."""
        return b"" if self._document is None else self._document.raw

    def __repr__(self) -> str:
        return f"Item({self.id} {self.rev} {self.name!r})"

    @property
    def is_directory(self) -> bool:
        """A directory, not a file."""
        return self.body.get("type") == "directory"

    @property
    def is_file(self) -> bool:
        """A file, not a directory."""
        return self.body.get("type") == "file"

    @property
    def name(self) -> str:
        """The base name; empty for the root."""
        return text(self.body.get("name"))

    @property
    def dir_id(self) -> str:
        """The id of the parent directory; empty for the root."""
        return text(self.body.get("dir_id"))

    @property
    def size(self) -> int:
        """Bytes of content (stored as a string of digits); 0 for a directory."""
        return size_of(self.body)

    @property
    def md5sum(self) -> str:
        """MD5 of the content in base64; empty for a directory."""
        return text(self.body.get("md5sum"))

    @property
    def mime(self) -> str:
        """The media type of a file."""
        return text(self.body.get("mime"))

    @property
    def klass(self) -> str:
        """The class of a file: `image`, `pdf`, `text`, …"""
        return text(self.body.get("class"))

    @property
    def trashed(self) -> bool:
        """The mark of a file that is somewhere below the trash (directories have none, see `Lineage.in_trash`)."""
        return self.body.get("trashed") is True

    @property
    def created_at(self) -> str:
        """The client's date of creation, RFC 3339."""
        return text(self.body.get("created_at"))

    @property
    def updated_at(self) -> str:
        """The client's date of the last change, RFC 3339."""
        return text(self.body.get("updated_at"))

    @property
    def restore_path(self) -> str:
        """Where an item put in the trash by itself came from; else empty."""
        return text(self.body.get("restore_path"))

    @property
    def tags(self) -> list[str]:
        """The tags, in their order."""
        return [tag for tag in items(self.body.get("tags")) if isinstance(tag, str)]

    @property
    def references(self) -> list[dict[str, str]]:
        """What refers to this item: `{id, type}` each (spec/02 §19)."""
        return references_of(self.body, "referenced_by")

    @property
    def not_synchronized_on(self) -> list[dict[str, str]]:
        """The clients that leave this directory out: `{id, type}` each."""
        return references_of(self.body, "not_synchronized_on")

    @property
    def metadata(self) -> dict[str, Any]:
        """The free map of metadata, a copy."""
        return members(self.body.get("metadata"))

    @property
    def cozy_metadata(self) -> dict[str, Any]:
        """`cozyMetadata`, a copy; empty when the document has none."""
        return members(self.body.get("cozyMetadata"))

    def sharing_ids(self) -> list[str]:
        """The sharings whose root this item is."""
        return [reference["id"] for reference in self.references if reference["type"] == SHARINGS]


def size_of(body: Body) -> int:
    """The size in bytes of a file or version body; 0 when there is none that can be read."""
    value = body.get("size")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def references_of(body: Body, member: str) -> list[dict[str, str]]:
    """A list of `{id, type}` of a body, without what is not of that shape."""
    return [
        {"id": text(entry.get("id")), "type": text(entry.get("type"))}
        for entry in items(body.get(member))
        if isinstance(entry, dict)
    ]


def set_or_drop(body: Body, member: str, value: Any) -> None:
    """Set a member, or leave it out when the value is empty (spec/02 §25, trap 6)."""
    if value:
        body[member] = value
    else:
        body.pop(member, None)


def text(value: object) -> str:
    """A string as it is, anything else as the empty string."""
    return value if isinstance(value, str) else ""


def items(value: object) -> list[Any]:
    """A list as it is, anything else as the empty list."""
    return value if isinstance(value, list) else []


def members(value: object) -> dict[str, Any]:
    """A copy of an object, anything else as the empty one."""
    return dict(value) if isinstance(value, dict) else {}
