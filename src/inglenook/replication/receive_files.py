"""Files received from a member: the metadata first, then the content if it is wanted (spec/05 §15, §17)."""

from __future__ import annotations

from inglenook.files import tree
from inglenook.files.documents import FILES, TRASH_ID, Item
from inglenook.files.settings import version_limits
from inglenook.files.store import create_item, hold_content_of, update_item
from inglenook.files.versions import keep_previous
from inglenook.kernel.conflicts import Outcome, mixup
from inglenook.kernel.errors import Conflict
from inglenook.kernel.names import check_name, conflict_name
from inglenook.kernel.revisions import generation
from inglenook.kernel.rules import SharingRule, by_id, rule_for_file
from inglenook.kernel.xor import conflict_id
from inglenook.replication.dissociate import (
    comes_anew,
    give_up_id,
    has_removed,
    is_being_removed,
    is_over_on_both_sides,
)
from inglenook.replication.exchange import (
    Body,
    Exchange,
    Received,
    Safety,
    judge,
    md5_of,
    note_given,
    revived,
)
from inglenook.replication.initial import count_received
from inglenook.replication.placement import date, parent_of, settle_name, uncertified, with_own_favorite
from inglenook.replication.shapes import media_type
from inglenook.sharing import folder, tracking
from inglenook.storage.contents import Received as Bytes
from inglenook.storage.documents.contract import Writer

FIELDS = ("tags", "created_at", "updated_at", "mime", "class", "executable", "cozyMetadata")


def apply_metadata(tx: Writer, ex: Exchange, received: Received) -> bool:
    """Apply what can be applied without content; False when the content is needed (spec/05 §15.1).

    Raises InvalidParameter (no md5sum, bad name), Safety, ParentMissing."""
    md5 = md5_of(received)
    check_name(received.text("name"))
    item = tree.get(tx, received.id)
    shared = tracking.load(tx, FILES, received.id)
    back = has_removed(ex, shared)
    if not back and is_forgotten_removal(ex, shared, received):
        remind(tx, ex, shared)
        return True
    if item is None:
        if shared.knows(received.rev) and not back and not is_over_on_both_sides(tx, ex, shared, received):
            return True
        if shared.belongs_to_others(ex.sharing.id) or is_being_removed(tx, ex, shared, received):
            raise Safety
        if rule_for_file(ex.sharing.rules, received.body) is None:
            raise Safety
        return False
    if comes_anew(tx, ex, shared, received):
        return False
    rule = rule_of_existing(tx, ex, item, shared)
    if shared.knows(received.rev) and shared.live(ex.sharing.id):
        settle_twins(tx, ex, received, item)
        return True
    if md5 != item.md5sum:
        return False
    tx.origin = ex.came(received.rev)
    outcome = judge(ex, item.rev, received.chain)
    if outcome is not Outcome.LOST:
        write_state(tx, ex, received, item, rule, outcome)
    return True


def apply_content(tx: Writer, ex: Exchange, received: Received, content: Bytes) -> bool:
    """Apply a file with its content, which is already safely stored (spec/05 §15.3); whether a file
    names that content now.

    Raises Safety, ParentMissing, Conflict (the folder is in the trash here)."""
    tx.origin = ex.came(received.rev)
    item = tree.get(tx, received.id)
    shared = tracking.load(tx, FILES, received.id)
    if item is not None and comes_anew(tx, ex, shared, received):
        give_up_id(tx, item)
        create_file(tx, ex, received, content)
        return True
    if item is None:
        if shared.belongs_to_others(ex.sharing.id) or is_being_removed(tx, ex, shared, received):
            raise Safety
        create_file(tx, ex, received, content)
        return True
    rule = rule_of_existing(tx, ex, item, shared)
    if shared.knows(received.rev) and shared.live(ex.sharing.id):
        return False
    outcome = judge(ex, item.rev, received.chain)
    if outcome is Outcome.LOST:
        return received.text("md5sum") != item.md5sum and copy_received(tx, ex, received, item, rule, content)
    untouched = shared.infos.get(ex.sharing.id, {}).get("given") == item.rev
    if outcome is Outcome.WON and received.text("md5sum") != item.md5sum and not untouched:
        copy_local(tx, ex, item)
    keep_previous(tx, item, received.text("md5sum"), version_limits(ex.instance), ex.now)
    write_state(tx, ex, received, item, rule, outcome, content)
    return True


def is_forgotten_removal(ex: Exchange, shared: tracking.Shared, received: Received) -> bool:
    """Whether what is announced was removed on the owner's side, by him or by another member, who have known this very
    state before: a conflict copy that the member has made for itself after it was told of the removal of its twin."""
    removed_here = bool(shared.infos.get(ex.sharing.id, {}).get("removed"))
    return ex.sharing.owner and removed_here and shared.knows(received.rev)


def remind(tx: Writer, ex: Exchange, shared: tracking.Shared) -> None:
    """Tell the member of a removal once more."""
    shared.infos[ex.sharing.id].get("known", {}).pop(ex.membership, None)
    tracking.save(tx, shared)


# -- a file that is here


def rule_of_existing(tx: Writer, ex: Exchange, item: Item, shared: tracking.Shared) -> SharingRule:
    """The rule by which a file of this side is shared. Raises Safety when it is not, or no longer, or is a folder.

    A tracking record that was lost is made again for a file below the sharing folder (spec/05 §15.1 step 3)."""
    info = shared.infos.get(ex.sharing.id)
    if item.is_directory:
        raise Safety
    if info is None and not shared.infos:
        rules = [r for r in tracking.rules_of(tx, FILES) if r.sharing == ex.sharing.id]
        found = tracking.memberships(tx, item, rules).get(ex.sharing.id)
        if found is None:
            raise Safety
        tracking.index_documents(tx, [found], [item.id])
        shared.infos = tracking.load(tx, FILES, item.id).infos
        info = shared.infos[ex.sharing.id]
    if info is None or (info.get("removed") and not info.get("dissociated")):
        raise Safety
    return ex.sharing.rules[info["rule"]]


def write_state(
    tx: Writer,
    ex: Exchange,
    received: Received,
    item: Item,
    rule: SharingRule,
    outcome: Outcome,
    content: Bytes | None = None,
) -> None:
    """Give a file the received name, place and attributes (and content), with the revision of spec/05 §5.5."""
    fresh = outcome is Outcome.WON and generation(item.rev) >= generation(received.rev)
    chain: list[str] | None = None if fresh else mixup(item.rev, received.chain)
    dir_id = place_of(tx, ex, received, item, rule)
    name, chain = settle_name(tx, ex, dir_id, received.text("name"), item.id, chain)
    body = file_body(received, rule, dir_id, name, ex.now, item.body)
    body["created_at"] = item.body.get("created_at", body.get("created_at"))
    if content is None:
        body["md5sum"], body["size"] = item.body["md5sum"], item.body["size"]
        if "created_at" in received.body:
            body["created_at"] = received.body["created_at"]
    update_item(tx, item, body, chain=chain or ())
    if content is not None:
        content.hold(tx, FILES, item.id)
    note_given(tx, ex, received)


def place_of(tx: Writer, ex: Exchange, received: Received, item: Item, rule: SharingRule) -> str:
    """The folder where a received file belongs; one that is shared by itself or by references stays where it is."""
    if rule.selector == "referenced_by" or (by_id(rule) and item.id in rule.values):
        return item.dir_id
    return parent_of(tx, ex, received)


def settle_twins(tx: Writer, ex: Exchange, received: Received, item: Item) -> None:
    """Both sides have made the same conflict copy, with the same revision, and have named or placed it differently,
    because other names were taken. The owner's state becomes a revision of its own, so that the other side follows."""
    if not ex.sharing.owner or item.rev != received.rev:
        return
    rule = ex.sharing.rules[tracking.load(tx, FILES, item.id).infos[ex.sharing.id]["rule"]]
    if not by_id(rule) or item.id in rule.values:
        return
    place = received.text("dir_id") or rule.values[0]
    if (received.text("name"), place) != (item.name, item.dir_id):
        tx.origin = ""
        update_item(tx, item, item.body)


def copy_local(tx: Writer, ex: Exchange, item: Item) -> None:
    """Keep the content of this side in a file of its own, before the received one takes its place (spec/05 §17.2)."""
    id = conflict_id(item.id, item.rev)
    if tree.get(tx, id) is not None:
        return
    name = conflict_name(item.name, is_file=True, taken=lambda other: tree.taken(tx, item.dir_id, other))
    create_copy(tx, ex, id, {**item.body, "name": name}, item.rev)
    hold_content_of(tx, item.id, id)


def copy_received(tx: Writer, ex: Exchange, received: Received, item: Item, rule: SharingRule, content: Bytes) -> bool:
    """Keep the received content, which has lost, in a file of its own (spec/05 §17.2); False when it is there."""
    id = conflict_id(item.id, received.rev)
    if tree.get(tx, id) is not None:
        return False
    # the sender makes the same copy beside its own file, which lies where it says
    dir_id = place_of(tx, ex, received, item, rule)
    name = conflict_name(received.text("name"), is_file=True, taken=lambda other: tree.taken(tx, dir_id, other))
    create_copy(tx, ex, id, file_body(received, rule, dir_id, name, ex.now), received.rev)
    content.hold(tx, FILES, id)
    return True


def create_copy(tx: Writer, ex: Exchange, id: str, body: Body, rev: str) -> None:
    """Create a conflict copy, with the revision that the other side gives to its own copy."""
    tx.origin = ""
    if tx.winner(FILES, id) is None:
        create_item(tx, id, body, chain=[rev])
    else:
        create_item(tx, id, body)
    tx.origin = ex.came(rev)


# -- a file that is new here


def create_file(tx: Writer, ex: Exchange, received: Received, content: Bytes) -> None:
    """A file that is new here (spec/05 §15.3)."""
    rule = rule_for_file(ex.sharing.rules, received.body)
    if rule is None:
        raise Safety
    single = not received.text("dir_id") and rule.selector in ("", "id", "_id") and received.id == rule.values[0]
    dir_id = folder.place_of_single_file(tx, ex.instance, ex.sharing) if single else parent_of(tx, ex, received)
    if tree.Lineage(tx).below(Item("", "", {"dir_id": dir_id}), TRASH_ID):
        raise Conflict("Parent directory is in the trash")
    chain: list[str] | None = revived(tx, ex, received)
    name, chain = settle_name(tx, ex, dir_id, received.text("name"), received.id, chain)
    body = file_body(received, rule, dir_id, name, ex.now)
    if single:
        body["referenced_by"] = [*body.get("referenced_by", ()), ex.sharing.reference]
    create_item(tx, received.id, body, chain=chain or ())
    content.hold(tx, FILES, received.id)
    count_received(tx, ex.instance, ex.sharing.id)
    note_given(tx, ex, received)


def file_body(
    received: Received, rule: SharingRule, dir_id: str, name: str, now: str, local: Body | None = None
) -> Body:
    """The body of a file with the fields that are taken from the sender, the others as they are (spec/05 §15.2)."""
    kept = {k: v for k, v in (local or {}).items() if k not in (*FIELDS, "metadata", "referenced_by")}
    sent = received.body
    body: Body = {
        **kept,
        "type": "file",
        "name": name,
        "dir_id": dir_id,
        "size": str(int(received.text("size") or "0")),
        "md5sum": sent["md5sum"],
        "executable": False,
        "trashed": kept.get("trashed", False),
        "encrypted": kept.get("encrypted", sent.get("encrypted") is True),
    }
    body.update({k: sent[k] for k in FIELDS if sent.get(k)})
    date(body, now, local)
    if isinstance(stamps := body.get("cozyMetadata"), dict):
        body["cozyMetadata"] = with_own_favorite(stamps, local)
    body["mime"] = media_type(body.get("mime", "")) or "application/octet-stream"
    body.setdefault("class", "files")
    if metadata := uncertified(sent.get("metadata")):
        body["metadata"] = metadata
    if references := merged_references(received, rule, local):
        body["referenced_by"] = references
    return body


def merged_references(received: Received, rule: SharingRule, local: Body | None) -> list[dict[str, str]]:
    """Local references that are none of the rule's, then the received ones that are (spec/05 §15.2 step 3)."""
    mine = [r for r in (local or {}).get("referenced_by") or () if f"{r['type']}/{r['id']}" not in rule.values]
    theirs = [
        {"id": r["id"], "type": r["type"]}
        for r in received.body.get("referenced_by") or ()
        if isinstance(r, dict) and f"{r.get('type')}/{r.get('id')}" in rule.values
    ]
    return [*mine, *theirs]
