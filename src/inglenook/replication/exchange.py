"""One exchange between two members: whose changes are applied here, in which sharing, and by which means.

What a peer sends is read into a `Received` document at the door, so that everything behind it works on checked
shapes (spec/05 §12.2, §12.4). All `apply_*` functions of this package run inside a transaction, decide and write;
none of them calls the network. When a folder is needed that only the sender knows, they raise `ParentMissing`
before anything is written, and the service fetches it and tries again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from inglenook.environment import Randomness
from inglenook.identity.instance import Instance
from inglenook.kernel.conflicts import Outcome, detect
from inglenook.kernel.errors import BadRequest, DomainError, Forbidden, InvalidParameter
from inglenook.kernel.revisions import normalise, parse, wire_to_chain
from inglenook.replication.shapes import are_hexadecimal, is_file_id, is_id, wrong_member
from inglenook.sharing import documents, rights, tracking
from inglenook.sharing.documents import Sharing
from inglenook.storage.documents.contract import Reader, Writer

FILES = "io.cozy.files"
HIGHEST_GENERATION = 2**32
"""What no document reaches by being changed. Far beyond it the numbers end, and with them all changes of a document."""

Body = dict[str, Any]


class Safety(BadRequest):
    """A change that would reach outside of what is shared (spec/05 §12.0)."""

    def __init__(self) -> None:
        super().__init__("Operation aborted")


class ParentMissing(DomainError):
    """A folder that the received document lies in is not known here; the sender can tell of it."""

    def __init__(self, id: str) -> None:
        super().__init__("This folder was not found")
        self.id = id


@dataclass(frozen=True, slots=True)
class Received:
    """A document as it was received, in the identifiers of this side. `chain` is its history, oldest first."""

    id: str
    chain: list[str]
    body: Body = field(default_factory=dict[str, Any])
    deleted: bool = False

    @property
    def rev(self) -> str:
        """The revision that the other side has."""
        return self.chain[-1]

    def text(self, name: str) -> str:
        """A member that must be a string; empty when it is not there."""
        value = self.body.get(name)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Who sends (`index` among the members), in which sharing, to which instance; by which chance and time."""

    instance: Instance
    sharing: Sharing
    index: int
    random: Randomness
    now: str

    @property
    def key(self) -> bytes:
        """The key of identifiers of this pair; empty when there is none."""
        credentials = self.sharing.credentials_for(self.index)
        return credentials.xor_key if credentials else b""

    @property
    def membership(self) -> str:
        """The sender, as tracking remembers what he is known to have."""
        return tracking.membership(self.index, self.key)

    @property
    def one_way(self) -> bool:
        """Whether this side may send nothing back: then the owner's state counts, whatever the revisions say."""
        return rights.i_am_read_only(self.sharing)

    @property
    def moment(self) -> float:
        """The time of the exchange, as Unix time."""
        return self.instance.env.clock.now().timestamp()

    def came(self, rev: str) -> str:
        """The origin of a transaction that applies a revision received from this member."""
        return tracking.came_from(self.sharing.id, self.membership, rev)

    def now_in(self, view: Reader) -> Exchange:
        """The same exchange by what is stored now: a request may last long, and in the meantime its member may have
        been revoked, his rights may have changed, the sharing may have ended. Raises Forbidden."""
        document = view.get(documents.DOCTYPE, self.sharing.id)
        if document is not None and document.rev == self.sharing.rev:
            return self
        sharing = documents.of_document(document) if document is not None else None
        credentials = sharing.credentials_for(self.index) if sharing is not None else None
        if sharing is None or credentials is None or credentials.xor_key != self.key:
            raise Forbidden
        return replace(self, sharing=sharing)


def read_document(document: Body) -> Received:
    """A document of a bulk or a metadata request. Raises BadRequest for a missing id or revision or bad history."""
    id, rev = document.get("_id"), document.get("_rev")
    if not isinstance(id, str) or not is_id(id):
        raise BadRequest("An identifier is missing")
    if not isinstance(rev, str) or not rev:
        raise BadRequest("A revision is missing")
    rev = normalise(rev)
    revisions = document.get("_revisions")
    chain = [rev] if revisions is None else wire_to_chain(revisions)
    if chain[-1] != rev or parse(rev)[0] > HIGHEST_GENERATION:
        raise BadRequest("Invalid rev format")
    body = {name: value for name, value in document.items() if not name.startswith("_")}
    return Received(id, chain, body, document.get("_deleted") is True)


def read_file(document: Body) -> Received:
    """A file or folder, or the removal of one. Raises BadRequest as `read_document`, and for wrong members."""
    received = read_document(document)
    if not is_file_id(received.id):
        raise BadRequest("An identifier is missing")
    if not are_hexadecimal(received.chain):
        raise BadRequest("Invalid rev format")
    if name := wrong_member(document):
        raise BadRequest(f"The member {name} has the wrong type")
    return received


def md5_of(received: Received) -> str:
    """The MD5 that a file document announces. Raises InvalidParameter when there is none."""
    md5 = received.text("md5sum")
    if not md5:
        raise InvalidParameter("Invalid hash", parameter="md5sum")
    return md5


def next_revision(chain: list[str], random: Randomness) -> list[str]:
    """One more revision at the end of a history, by chance: the receiver has changed something (spec/05 §5.6)."""
    generation, _ = parse(chain[-1])
    return [*chain, f"{generation + 1}-{random.bytes(16).hex()}"]


def judge(ex: Exchange, rev: str, chain: list[str]) -> Outcome:
    """Who wins when a change is received over a local revision (spec/05 §5.4). Who may only read has no say: a change
    of his own is never told, and the members could not become equal any more."""
    outcome = detect(rev, chain)
    return Outcome.WON if outcome is Outcome.LOST and ex.one_way else outcome


def revived(tx: Writer, ex: Exchange, received: Received) -> list[str]:
    """The history of a document that is new here. One that was removed here, under this id, gets one revision more:
    the sender may be about to learn of the removal, and must learn that it is back (spec/05 §15.3). Who may only read
    tells nothing, and adds a revision only when the received one is hidden behind the removal."""
    history = tx.tree(FILES, received.id)
    if history is None or (ex.one_way and not history.has(received.rev)):
        return received.chain
    return next_revision(received.chain, ex.random)


def note_given(tx: Writer, ex: Exchange, received: Received) -> None:
    """Remember, where one may only read, which revision stands for what the owner has given, and that it was given."""
    shared = tracking.load(tx, FILES, received.id)
    info = shared.infos.get(ex.sharing.id)
    if not ex.one_way or info is None or shared.revisions is None:
        return
    leaf = shared.leaf
    if not shared.knows(received.rev):
        shared.revisions.insert_chain(received.chain)
        shared.revisions.promote(leaf)
    info["given"] = leaf
    tracking.save(tx, shared)
