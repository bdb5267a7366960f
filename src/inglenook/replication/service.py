"""What a member's server can ask for: the services behind the routes of replication (spec/05 §12–§15)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from inglenook.files import tree
from inglenook.files.documents import FILES
from inglenook.files.quota import check_room, quota_of
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import (
    BadRequest,
    DocumentNotFound,
    DomainError,
    InvalidAttribute,
    InvalidParameter,
    NotFound,
    PreconditionFailed,
    TooLarge,
    Unreadable,
)
from inglenook.kernel.xor import xor_id
from inglenook.replication.exchange import (
    Exchange,
    Received,
    md5_of,
    read_document,
    read_file,
)
from inglenook.replication.fetching import apply_folders, with_parents
from inglenook.replication.link_state import nudge
from inglenook.replication.metadata import completed
from inglenook.replication.receive_documents import apply_documents
from inglenook.replication.receive_files import apply_content, apply_metadata
from inglenook.replication.transform import folder_for_caller
from inglenook.sharing import tracking
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Reader, Writer

PAGE = 1000
"""Revisions that are looked up at once; more must not keep others waiting."""

MOST_DOCUMENTS = 10_000
"""Of one bulk: they are applied in one transaction, and nobody else writes meanwhile. Senders keep to 400."""

KEY_LIFETIME = 5 * 60.0
EXCESS = 16 * 1024 * 1024

Body = dict[str, Any]


def exchange(instance: Instance, sharing: Sharing, index: int) -> Exchange:
    """An exchange with a member, now."""
    env = instance.env
    return Exchange(instance, sharing, index, env.random, env.clock.timestamp())


async def revs_diff(instance: Instance, sharing: Sharing, asked: Mapping[str, object]) -> Body:
    """Which of the announced revisions are not known here (spec/05 §12.1)."""

    def look(view: Reader) -> Body:
        found: Body = {}
        for key, revs in asked.items():
            doctype, _, id = key.partition("/")
            if not isinstance(revs, list) or not all(isinstance(rev, str) for rev in revs):
                raise Unreadable(f"the revisions of {key} are no list of texts")
            wanted: list[str] = revs
            shared = tracking.load(view, doctype, id)
            in_sharing = sharing.id in shared.infos
            missing = [rev for rev in wanted if not (in_sharing and shared.knows(rev))]
            if missing:
                found[key] = {"missing": missing}
        return found

    many = sum(len(revs) if isinstance(revs, list) else 1 for revs in asked.values()) > PAGE
    return await (instance.store.scan(look) if many else instance.store.read(look))


async def bulk_docs(instance: Instance, sharing: Sharing, index: int, lists: Mapping[str, object]) -> None:
    """Apply documents of any doctype (spec/05 §12.2): everything that can be; then the first error is raised."""
    ex = exchange(instance, sharing, index)
    files: list[Received] = []
    others: dict[str, list[Received]] = {}
    first: DomainError | None = None
    if sum(len(listed) for listed in lists.values() if isinstance(listed, list)) > MOST_DOCUMENTS:
        raise TooLarge(f"A bulk has at most {MOST_DOCUMENTS} documents")
    for doctype, listed in lists.items():
        if listed is None:  # as a list without anything in it may be written
            continue
        if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
            raise Unreadable(f"the documents of {doctype} are no list of objects")
        entries: list[Body] = listed
        if doctype == FILES:
            for entry in entries:
                try:
                    files.append(read_file(entry))
                except (BadRequest, InvalidParameter) as error:
                    first = first or error
        else:
            try:
                others[doctype] = [read_document(entry) for entry in entries]
            except BadRequest as error:
                first = first or error
    for doctype, received in others.items():
        await instance.store.write(lambda tx, d=doctype, r=received: apply_documents(tx, ex.now_in(tx), d, r))
    if files:
        for error in (await apply_folders(instance, ex, files)).values():
            first = first or error
    if first is not None:
        raise first


async def file_metadata(instance: Instance, sharing: Sharing, index: int, id: str, document: Body) -> str | None:
    """Take the metadata of a file; gives the key under which its content is awaited, None when it is not wanted."""
    if document.get("_id") != id:
        raise InvalidAttribute(
            "the identifiers in the URL and in the doc are not the same", pointer="/data/attributes/id"
        )
    received = read_file(document)
    ex = exchange(instance, sharing, index)
    if await with_parents(instance, ex, lambda tx, ex: apply_metadata(tx, ex, received)):
        return None
    key = instance.env.random.bytes(8).hex()
    kept = {"sharing": sharing.id, "member": index, "document": document}
    await instance.ephemeral.put(_slot(instance, key), kept, KEY_LIFETIME)
    return key


async def file_content(
    instance: Instance, sharing: Sharing, index: int, key: str, chunks: AsyncIterator[bytes]
) -> None:
    """Take the content of a file whose metadata came before (spec/05 §12.5). On failure nothing is kept."""
    pending: Body = await instance.ephemeral.get(_slot(instance, key)) or {}
    if pending.get("sharing") != sharing.id or pending.get("member") != index:
        raise NotFound("The metadata for this file were not found")
    received = read_file(pending["document"])
    size, md5 = int(received.text("size") or "0"), md5_of(received)
    await instance.store.read(lambda view: check_room(view, quota_of(instance), size))
    ex = exchange(instance, sharing, index)
    content = await instance.contents.receive(chunks, max_bytes=size + EXCESS)
    try:
        if content.content.md5 != md5:
            raise InvalidParameter("Invalid hash", parameter="md5sum")
        if content.size != size:
            raise PreconditionFailed("Content length does not match", parameter="Content-Length")
        described = await completed(instance, received, content)

        def apply(tx: Writer, ex: Exchange) -> bool:
            check_room(tx, quota_of(instance), size)  # others may have taken it meanwhile
            return apply_content(tx, ex, described, content)

        if not await with_parents(instance, ex, apply):
            await instance.contents.discard(content)
    except BaseException:
        await instance.contents.discard(content)
        raise


async def folder(instance: Instance, sharing: Sharing, index: int, id: str) -> Body:
    """A folder of the sharing for a member that lacks it, by the member's own id (spec/05 §12.3)."""
    ex = exchange(instance, sharing, index)
    local = xor_id(id, ex.key)

    def look(view: Reader) -> Body:
        shared = tracking.load(view, FILES, local)
        if not shared.infos:
            raise DocumentNotFound("missing")
        item = tree.get(view, local)
        if not shared.live(sharing.id) or item is None or not item.is_directory:
            raise NotFound("This folder was not found")
        rule = sharing.rules[shared.infos[sharing.id]["rule"]]
        return folder_for_caller(local, item.rev, item.body, rule, ex.key)

    return await instance.store.read(look)


async def try_refused_again(instance: Instance, sharing_id: str, index: int) -> None:
    """Make everything due that a member has refused (spec/05 §12.6)."""
    kind = tracking.retry_kind(sharing_id, index)
    now = instance.env.clock.now().timestamp()

    def change(tx: Writer) -> None:
        for record in tx.records(kind, limit=10_000):
            tx.put_record(kind, record.id, record.body, due=now)
        nudge(tx, sharing_id, index)

    if await instance.store.read(lambda view: view.next_due(kind)) is not None:
        await instance.store.write(change)


def _slot(instance: Instance, key: str) -> str:
    return f"upload/{instance.prefix}/{key}"
