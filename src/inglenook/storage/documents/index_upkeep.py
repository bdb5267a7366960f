"""What keeping indexes in step means, whatever the database (docs/decisions/0003, 0010).

Several processes may write one instance, and an index that an app has defined in one of them is code that the others
do not have. Each process maintains the indexes that it knows; when it writes a document of a doctype that has an index
which it does not know, it notes the index as *unattended* since that moment. Nobody reads it then, and whoever defines
it again only catches up with the documents changed meanwhile. The instance's `epoch` tells a process that another one
has changed something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from inglenook.storage.documents.contract import Body, Index

PAGE = 500  # documents per step of a rebuild
DESIGN_DOCUMENT = "_design/"  # never in an index (spec/01 §9.5)

Entries = dict[tuple[int, bytes], int]
"""The entries of one document: the amount by the number of the index and the key."""


@dataclass(frozen=True, slots=True)
class Attended:
    """An index in step, with its number in the database."""

    number: int
    index: Index


@dataclass(frozen=True)
class Known:
    """What a process knows of the indexes of an instance; never changed, so that a transaction that fails can put the
    former one back.

    `attended` are those that this process maintains, by doctype; `strange` are the numbers of those that another one
    maintains."""

    attended: Mapping[str, tuple[Attended, ...]] = field(default_factory=dict[str, tuple[Attended, ...]])
    strange: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])

    @property
    def mine(self) -> list[Attended]:
        """All that this process maintains."""
        return [attended for group in self.attended.values() for attended in group]

    def looked_again(self, maintained: Iterable[tuple[int, str, str, int]]) -> Known:
        """What is still as this process knows it, given what is maintained now: number, name, doctype, version."""
        mine = {attended.number: attended for attended in self.mine}
        attended: dict[str, tuple[Attended, ...]] = {}
        strange: dict[str, tuple[int, ...]] = {}
        for number, name, doctype, version in maintained:
            own = mine.get(number)
            if own is not None and (own.index.name, own.index.doctype, own.index.version) == (name, doctype, version):
                attended[doctype] = (*attended.get(doctype, ()), own)
            else:
                strange[doctype] = (*strange.get(doctype, ()), number)
        return Known(attended, strange)

    def placed(self, doctype: str, number: int, attended: Attended | None) -> Known:
        """With an index that this process maintains from now on (None: that is gone)."""
        others = tuple(other for other in self.attended.get(doctype, ()) if other.number != number)
        strange = tuple(other for other in self.strange.get(doctype, ()) if other != number)
        return Known(
            {**self.attended, doctype: others if attended is None else (*others, attended)},
            {**self.strange, doctype: strange},
        )

    def without_strange(self, doctype: str) -> Known:
        """The indexes of a doctype that only others know are not maintained any more."""
        return replace(self, strange={**self.strange, doctype: ()})


def entries_of(indexes: Sequence[Attended], id: str, body: Body | None, cut: Callable[[bytes], bytes]) -> Entries:
    """The entries that a document must have; `body` is None when it is in no index any more. `cut` gives a key the
    form in which it is stored."""
    wanted: Entries = {}
    if body is not None and not id.startswith(DESIGN_DOCUMENT):
        for attended in indexes:
            number, index = attended.number, attended.index
            amount = index.amount(body) if index.amount else 0
            for key in index.keys(id, body):
                wanted[number, cut(key)] = amount
    return wanted


def sums_of(gone: Entries, come: Entries) -> list[tuple[int, int, int]]:
    """By how much the counts and totals of indexes change: number, entries, total."""
    moved: dict[int, list[int]] = {}
    for sign, entries in ((-1, gone), (1, come)):
        for (number, _), amount in entries.items():
            change = moved.setdefault(number, [0, 0])
            change[0] += sign
            change[1] += sign * amount
    return [(number, entries, total) for number, (entries, total) in moved.items() if entries or total]
