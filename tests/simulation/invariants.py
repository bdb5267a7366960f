"""What must hold after the quiet, for each sharing and each server. Everything here raises Broken, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from typing import Any

from inglenook.files import tree
from inglenook.files.documents import Item
from inglenook.kernel.xor import xor_id
from inglenook.replication.engine import all_sharings, receivers
from inglenook.sharing import documents, tracking, wanted_names
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Reader

from .deeds import FILES, Broken, Deeds
from .world import Server

SAME_KEY = b"\0" * 16


async def sharing_of(server: Server, sharing_id: str) -> Sharing | None:
    """A sharing as a server has it, None when it is over there."""
    instance = await server.instance()
    sharing = await instance.store.read(lambda view: documents.get(view, sharing_id))
    return sharing if sharing is not None and sharing.active else None


async def root_of(server: Server, sharing_id: str) -> str | None:
    """The shared folder or file of a member, None while it is not there (any more)."""
    sharing = await sharing_of(server, sharing_id)
    if sharing is None:
        return None
    root = sharing.rules[0].values[0]
    instance = await server.instance()
    return root if await instance.store.read(lambda view: tree.get(view, root)) is not None else None


# -- members are equal


async def folders_agree(deeds: Deeds, sharing_id: str, owner: Server, other: Server, *, reader: bool = False) -> None:
    """The shared folder is the same for two members, down to names, contents and revisions. A reader has at least
    what the owner has: what comes from his own trash stays with him, and so does the revision of what comes back."""
    here, there = await root_of(owner, sharing_id), await root_of(other, sharing_id)
    if here is None or there is None:
        return
    mine, theirs = await deeds.tree(owner, here), await deeds.tree(other, there)
    if mine != (theirs if not reader else {k: v for k, v in theirs.items() if k in mine}):
        only = {k: v for k, v in theirs.items() if mine.get(k) != v}
        lacks = {k: v for k, v in mine.items() if theirs.get(k) != v}
        details = await explain(sharing_id, owner, other)
        raise Broken(f"{other.name} differs from {owner.name}: has {only}, lacks {lacks}\n{details}")
    if not reader:
        await revisions_agree(sharing_id, owner, other)


async def revisions_agree(sharing_id: str, owner: Server, other: Server, *, reader: bool = False) -> None:
    """What is in a sharing has the same revision for two members (spec/05 §5.5). A reader may have made more."""
    mine, theirs = await shared_revisions(owner, sharing_id), await shared_revisions(other, sharing_id)
    if reader:
        theirs = {id: state for id, state in theirs.items() if id in mine}
    if mine != theirs:
        differing = {id: (mine.get(id), theirs.get(id)) for id in mine.keys() | theirs.keys()}
        differing = {id: pair for id, pair in differing.items() if pair[0] != pair[1]}
        raise Broken(f"revisions of {owner.name} and {other.name} in {sharing_id} differ: {differing}")


async def shared_revisions(server: Server, sharing_id: str) -> dict[str, tuple[str, Any]]:
    """Owner's id → revision and (for what is no file) body of everything in a sharing."""
    instance = await server.instance()

    def look(view: Reader) -> dict[str, tuple[str, Any]]:
        sharing = documents.load(view, sharing_id)
        key = key_of(sharing)
        found: dict[str, tuple[str, Any]] = {}
        for doctype, id in tracking.shared_documents(view, sharing_id):
            document = view.get(doctype, id)
            if document is not None:
                body = document.body if doctype != FILES else None
                found[f"{doctype}/{xor_id(id, key)}"] = (document.rev, body)
        return found

    return await instance.store.read(look)


async def albums_agree(sharing_id: str, owner: Server, other: Server, *, reader: bool = False) -> None:
    """The photos of a shared album are the same for two members, by name, content and revision.

    Who may only read tells nobody how he names things. Photos of one name, which lie in several folders of the owner's,
    may come into a single one of his: of these the contents count alone."""
    mine, theirs = await photos(owner, sharing_id), await photos(other, sharing_id)
    if reader:
        names = Counter(name for name, _ in mine)
        doubled = {md5sum for name, md5sum in mine if names[name] > 1}
        mine = [("" if md5sum in doubled else name, md5sum) for name, md5sum in mine]
        theirs = [("" if md5sum in doubled else name, md5sum) for name, md5sum in theirs]
        theirs = [photo for photo in theirs if photo in mine]
    if sorted(mine) != sorted(theirs):
        raise Broken(f"the album of {owner.name} has {mine}, that of {other.name} {theirs}")
    if not reader:
        await revisions_agree(sharing_id, owner, other)


async def photos(server: Server, sharing_id: str) -> list[tuple[str, str]]:
    """Names and MD5 of the files that refer to the album of a sharing and are not in the trash."""
    items = await album_items(server, sharing_id)
    return sorted((item.name, item.md5sum) for item in items)


async def album_items(server: Server, sharing_id: str) -> list[Item]:
    """The files that refer to the album of a sharing and are not in the trash."""
    sharing = await sharing_of(server, sharing_id)
    rule = next((r for r in sharing.rules if r.selector == "referenced_by"), None) if sharing else None
    if rule is None:
        return []
    doctype, _, id = rule.values[0].partition("/")
    instance = await server.instance()
    found = await instance.store.read(lambda view: list(tree.referencing(view, doctype, id)))
    return [item for item in found if not item.trashed]


# -- nothing is lost


async def nothing_is_lost(deeds: Deeds) -> None:
    """Every content that was acknowledged is somewhere, unless its own person gave it up."""
    kept: set[str] = set()
    for server in deeds.world.servers:
        kept |= await everything(server)
    lost = {c for m, c in deeds.contents.items() if m not in kept and m not in deeds.given_up}
    if lost:
        raise Broken(f"lost: {sorted(lost)}")


async def everything(server: Server) -> set[str]:
    """The MD5 of every file and version of a person, the trash included."""
    instance = await server.instance()

    def look(view: Reader) -> set[str]:
        found: set[str] = set()
        for doctype in (FILES, "io.cozy.files.versions"):
            start = ""
            while page := view.all_docs(doctype, start=start, limit=500):
                found |= {d.body["md5sum"] for d in page if "md5sum" in d.body}
                start = page[-1].id + "\0"
        return found

    return await instance.store.read(look)


async def contents_are_there(server: Server) -> None:
    """Every file of a person names the bytes that it says, and lies in a folder that exists."""
    instance = await server.instance()

    def look(view: Reader) -> str:
        start = ""
        while page := view.all_docs(FILES, start=start, limit=500):
            for document in page:
                item = Item.of(document)
                if item.id.startswith("_design/"):
                    continue
                content = view.content(FILES, item.id) if item.is_file else None
                if item.is_file and (content is None or (content.md5, content.size) != (item.md5sum, item.size)):
                    return f"{item.name} says {item.md5sum}, and names {content}"
                if item.dir_id and tree.Lineage(view).path(item) is None:
                    return f"{item.name} lies in {item.dir_id}, which is not there"
            start = page[-1].id + "\0"
        return ""

    if wrong := await instance.store.read(look):
        raise Broken(f"{server.name}: {wrong}")


# -- nothing is left over


async def nothing_waits(server: Server, *, ownerless: Set[str] = frozenset()) -> None:
    """Nothing waits for anybody any more, no first copy goes on, and nothing is kept of what has ended. Where the owner
    is gone (`ownerless`), a member who has not heard of it waits for him."""
    instance = await server.instance()

    def look(view: Reader) -> str:
        for sharing in all_sharings(view):
            about = f"{sharing.description} ({sharing.id})"
            for index in range(len(sharing.members)):
                waiting = view.records(tracking.retry_kind(sharing.id, index), limit=5)
                if waiting and sharing.id not in ownerless:
                    return f"{about}: still to be sent to {index}: {[(r.id, r.body) for r in waiting]}"
            if sharing.active and sharing.initial_sync:
                return f"{about}: the first copy has not ended"
            following = receivers(sharing) if sharing.active else []
            left = [name for name in view.checkpoints() if name.startswith(f"sharing-{sharing.id}-")]
            if len(left) > len(following) and (sharing.owner or not sharing.active):
                return f"{about}: checkpoints {left} of {following}"
            if not sharing.active and view.record_feed(tracking.SHARED, sharing.id, limit=1):
                return f"{about}: documents are tracked after the end"
            if not sharing.active and sharing.credentials and any(c.access_token for c in sharing.credentials):
                return f"{about}: credentials are kept after the end"
        return names_that_wait(view)

    if left := await instance.store.read(look):
        raise Broken(f"{server.name}: {left}")


def names_that_wait(view: Reader) -> str:
    """What is wrong with the names that wait: they are free, or the sharing that they wait for has ended."""
    if folders := wanted_names.freed(view):
        return f"names are free in {folders}"
    for record in view.records(wanted_names.WANTED, limit=1000):
        folder, _, id = record.id.rpartition("/")
        wanted = wanted_names.waited_for(view, folder, id)
        sharing = documents.get(view, wanted.sharing) if wanted is not None else None
        if wanted is None or not tree.taken(view, folder, wanted.name) or sharing is None or not sharing.active:
            return f"{id} waits for a name: {wanted}"
    return ""


# -- explanations


async def explain(sharing_id: str, owner: Server, other: Server) -> str:
    """The documents that two members hold differently, with their revisions and tracking."""
    here, there = await documents_of(owner, sharing_id), await documents_of(other, sharing_id)
    lines: list[str] = []
    for id in sorted(here.keys() | there.keys()):
        if here.get(id, ["", ""])[:2] != there.get(id, ["", ""])[:2]:
            lines += [f"{id}", f"   {owner.name}: {here.get(id)}", f"   {other.name}: {there.get(id)}"]
    return "\n".join(lines)


async def documents_of(server: Server, sharing_id: str) -> dict[str, list[Any]]:
    """Owner's id → name and folder, revision, history, tracking of all files of a member."""
    instance = await server.instance()

    def look(view: Reader) -> dict[str, list[Any]]:
        key = key_of(documents.load(view, sharing_id))
        found: dict[str, list[Any]] = {}
        for entry in view.changes(FILES, limit=10_000):
            document, history = view.winner(FILES, entry.id), view.tree(FILES, entry.id)
            if document is None or history is None:
                continue
            body = document.body
            where = (body.get("name"), xor_id(body.get("dir_id") or "", key), body.get("md5sum"))
            shared = tracking.load(view, FILES, entry.id)
            found[xor_id(entry.id, key)] = [
                "deleted" if document.deleted else where, document.rev, history.path(document.rev), shared.infos,
                shared.leaf,
            ]  # fmt: skip
        return found

    return await instance.store.read(look)


def key_of(sharing: Sharing) -> bytes:
    """The key between a member's ids and the owner's."""
    if sharing.owner or not sharing.credentials:
        return SAME_KEY
    return sharing.credentials[0].xor_key
