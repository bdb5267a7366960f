"""Folders and removals of files, received in a bulk (spec/05 §14, §17)."""

from __future__ import annotations

from collections.abc import Generator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass

from inglenook.files import tree
from inglenook.files.documents import Item
from inglenook.files.store import create_item, update_item
from inglenook.kernel.conflicts import Outcome, mixup
from inglenook.kernel.errors import BadRequest, Conflict, DomainError, PreconditionFailed
from inglenook.kernel.names import check_name, conflict_name
from inglenook.kernel.revisions import generation
from inglenook.kernel.rules import rule_for_file
from inglenook.replication.dissociate import comes_anew, dissociate, give_up_id, note_removal
from inglenook.replication.exchange import (
    FILES,
    Exchange,
    ParentMissing,
    Received,
    Safety,
    judge,
    next_revision,
    note_given,
    revived,
)
from inglenook.replication.names import rename_local
from inglenook.replication.placement import folder_body, parent_of, settle_name
from inglenook.sharing import tracking
from inglenook.storage.documents.contract import Writer


class BulkOutcome:
    """What became of a list of folders and removals: errors by id, and the folders that only the sender knows."""

    def __init__(self) -> None:
        self.errors: dict[str, DomainError] = {}
        self.missing: list[tuple[Received, str]] = []

    @contextmanager
    def watching(self, received: Received) -> Generator[None]:
        """Apply one document; its failure is kept here."""
        try:
            yield
        except ParentMissing as missing:
            self.missing.append((received, missing.id))
        except DomainError as error:
            self.failed(received, error)

    def failed(self, received: Received, error: DomainError) -> None:
        """Remember an error; those that are about the document itself are told with its id."""
        if not isinstance(error, (BadRequest, Conflict)):
            error.detail = f"{received.id} - {error.detail}"
        self.errors[received.id] = error


def apply_bulk(tx: Writer, ex: Exchange, documents: list[Received]) -> BulkOutcome:
    """Apply a list in its order; one failing document stops none of the others.

    A folder whose name is taken is tried again after the whole list, since another one may leave that name in the
    same list. Folders that then still wait for each other's names (a swap) are written as they were sent; whoever
    is in the way in the end is renamed as `settle_name` says."""
    outcome = BulkOutcome()
    again: dict[str, Received] = {}
    for received in documents:
        with outcome.watching(received):
            if not apply_one(tx, ex, received, Names(settle=False)):
                again[received.id] = received
    leaving = set(again)
    crossed: list[Received] = []
    for received in again.values():
        leaving.discard(received.id)
        with outcome.watching(received):
            names = Names(settle=True, leaving=leaving)
            apply_one(tx, ex, received, names)
            if names.crossed:
                crossed.append(received)
    for received in crossed:
        with outcome.watching(received):
            part(tx, ex, received)
    return outcome


def part(tx: Writer, ex: Exchange, received: Received) -> None:
    """Rename one of two items that were left with the same name because the other one could not be applied."""
    item = tree.get(tx, received.id)
    if item is None:
        return
    for other in tree.children(tx, item.dir_id):
        if other.id != item.id and other.name == item.name:
            loser = item if ex.sharing.owner else other
            free = conflict_name(item.name, is_file=loser.is_file, taken=lambda n: tree.taken(tx, item.dir_id, n))
            rename_local(tx, ex, loser, free)
            return


@dataclass(slots=True)
class Names:
    """How a taken name is treated: put aside at first, resolved later; `leaving` will give their names away."""

    settle: bool
    leaving: AbstractSet[str] = frozenset()
    crossed: bool = False

    def free(self, there: Item | None, id: str) -> bool:
        """Whether a name may be taken although `there` has it."""
        if there is None or there.id == id:
            return True
        if there.id in self.leaving:
            self.crossed = True
            return True
        return False


def apply_one(tx: Writer, ex: Exchange, received: Received, names: Names) -> bool:
    """Apply one folder or removal; False when its name is taken, and `names` does not allow to resolve that yet."""
    shared = tracking.load(tx, FILES, received.id)
    info = shared.infos.get(ex.sharing.id)
    item = tree.get(tx, received.id)
    if shared.belongs_to_others(ex.sharing.id):
        raise Safety
    tx.origin = ex.came(received.rev)
    if received.deleted:
        if info is not None and not info.get("removed") and item is not None:
            dissociate(tx, ex, info["rule"], item)
        elif info is not None and info.get("removed") and (item is None or ex.sharing.owner):
            note_removal(tx, ex, received.id)
        return True
    if received.body.get("type") != "directory":
        return True
    if comes_anew(tx, ex, shared, received) and (item is not None or ex.one_way):
        if item is not None:
            give_up_id(tx, item)
        return create_folder(tx, ex, received, names)
    if info is not None and info.get("removed") and not info.get("dissociated") and (item or not info.get("settled")):
        return True
    if item is None:
        return create_folder(tx, ex, received, names)
    if info is None or info.get("dissociated"):
        return True
    if item.is_file:
        raise Safety
    return update_folder(tx, ex, received, item, names, shared)


def create_folder(tx: Writer, ex: Exchange, received: Received, names: Names) -> bool:
    """A folder that is new here (spec/05 §14.1)."""
    name = received.text("name")
    check_name(name)
    if rule_for_file(ex.sharing.rules, {"type": "directory"}) is None:
        raise Safety
    dir_id = parent_of(tx, ex, received, may_be_trashed=True)
    chain: list[str] | None = revived(tx, ex, received)
    if not names.free(tree.child(tx, dir_id, name), received.id):
        if not names.settle:
            return False
        name, chain = settle_name(tx, ex, dir_id, name, received.id, chain)
    if names.crossed and chain:
        tx.graft(FILES, received.id, chain, folder_body(received.body, dir_id, name, ex.now))
    else:
        create_item(tx, received.id, folder_body(received.body, dir_id, name, ex.now), chain=chain or ())
    note_given(tx, ex, received)
    return True


def update_folder(
    tx: Writer, ex: Exchange, received: Received, item: Item, names: Names, shared: tracking.Shared
) -> bool:
    """A folder that is here already (spec/05 §14.2)."""
    if tree.Lineage(tx).in_trash(item):
        return True
    outcome = judge(ex, item.rev, received.chain)
    if outcome is Outcome.LOST or item.rev == received.rev or (ex.one_way and shared.knows(received.rev)):
        return True
    name = received.text("name")
    check_name(name)
    dir_id = parent_of(tx, ex, received)
    fresh = outcome is Outcome.WON and generation(item.rev) >= generation(received.rev)
    chain: list[str] | None = None if fresh else mixup(item.rev, received.chain)
    if not names.free(tree.child(tx, dir_id, name), item.id):
        if not names.settle:
            return False
        name, chain = settle_name(tx, ex, dir_id, name, item.id, chain)
    body = folder_body(received.body, dir_id, name, ex.now, item.body)
    if names.crossed and chain:
        tx.graft(FILES, item.id, chain, body)
        return True
    try:
        update_item(tx, item, body, chain=chain or ())
    except PreconditionFailed:
        refuse_move(tx, ex, item, received)
    note_given(tx, ex, received)
    return True


def refuse_move(tx: Writer, ex: Exchange, item: Item, received: Received) -> None:
    """A folder cannot go below itself. On the owner its own state wins, told by one more revision (spec/05 §23)."""
    if not ex.sharing.owner:
        raise PreconditionFailed("Forbidden document move")
    chain = next_revision(mixup(item.rev, received.chain), ex.random)
    update_item(tx, item, item.body, chain=chain)
