"""Revisions and their trees, exactly as in CouchDB (spec/01 §2.2-2.5).

A revision is a text `generation-hash`. A *chain* is a list of revisions from the oldest known ancestor to the
leaf, generations growing. All revisions of one document form a forest, `RevisionTree`; its leaves have a body
(kept by the store) and a deleted flag, and one of them is the winner, by a rule that looks at nothing else.

Nearly every document has one straight branch, so that shape has its own packed form, in memory as on the disk:
16 bytes a revision, and an update appends 16 bytes.
"""

from __future__ import annotations

import struct
from binascii import a2b_base64
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import md5
from itertools import pairwise
from typing import Any, NamedTuple, cast

import msgspec

from inglenook.kernel.errors import BadDocument

MAX_GENERATION = 2**53 - 1  # what every JSON reader can hold


class Leaf(NamedTuple):
    """The end of a branch: its revision, and whether it is a tombstone."""

    rev: str
    deleted: bool


# -- single revisions


@lru_cache(4096)
def parse(rev: str) -> tuple[int, str]:
    """Split a revision into generation and hash; a hash of 32 hexadecimal digits comes out in lower case.

    Hashes of another length are opaque, of printable ASCII without quotes and backslashes.
    Raises BadDocument (`bad_request`, "Invalid rev format")."""
    number, dash, digest = rev.partition("-")
    if not dash or not digest or not number.isascii() or not number.isdigit() or len(number) > 16:
        raise _invalid_rev()
    generation = int(number)
    if not 1 <= generation <= MAX_GENERATION:
        raise _invalid_rev()
    if len(digest) == 32:
        digest = digest.lower()
        if _packed_hash(digest) is None:
            raise _invalid_rev()
    elif not digest.isascii() or not digest.isprintable() or '"' in digest or "\\" in digest:
        raise _invalid_rev()  # it goes into headers and JSON texts as it is
    return generation, digest


def normalise(rev: str) -> str:
    """The revision in the form under which it is stored. Raises as `parse`."""
    number, digest = parse(rev)
    return f"{number}-{digest}"


def generation(rev: str) -> int:
    """The generation of a revision. Raises as `parse`."""
    return parse(rev)[0]


def order_key(rev: str) -> tuple[int, bytes]:
    """What orders revisions: the generation, then the bytes of the hash (spec/01 §2.3)."""
    number, digest = parse(rev)
    return number, _hash_bytes(digest)


def next_rev(parent: str | None, body: Mapping[str, Any], *, deleted: bool = False) -> str:
    """The revision that CouchDB gives to `body` written on top of `parent` (None: a first revision).

    The order of members counts; members of `body` that start with an underscore do not, but the stubs of
    `_attachments`. Raises as `parse`."""
    out = bytearray(b"\x83\x6c\x00\x00\x00\x05")
    out += _TRUE if deleted else _FALSE
    if parent is None:
        number = 0
        out += b"\x61\x00\x61\x00"
    else:
        number, digest = parse(parent)
        _append_integer(out, number)
        _append_binary(out, _hash_bytes(digest))
    _append_term(out, {name: value for name, value in body.items() if not name.startswith("_")})
    if attachments := body.get("_attachments"):
        _append_attachments(out, attachments)
    out += b"\x6a\x6a"
    return f"{number + 1}-{md5(out, usedforsecurity=False).hexdigest()}"


# -- chains


def chain_to_wire(chain: Sequence[str]) -> dict[str, Any]:
    """The `_revisions` member: `{"start": generation of the leaf, "ids": hashes from the leaf to the root}`."""
    return {"start": generation(chain[-1]), "ids": [rev.partition("-")[2] for rev in reversed(chain)]}


def wire_to_chain(revisions: object) -> list[str]:
    """The chain of a received `_revisions` member.

    Raises BadDocument when the member does not have the form of `chain_to_wire`."""
    if not isinstance(revisions, Mapping):
        raise BadDocument("doc_validation", "_revisions isn't an object.")
    fields = cast("Mapping[str, object]", revisions)
    start, ids = fields.get("start"), fields.get("ids")
    if type(start) is not int:
        raise BadDocument("doc_validation", "_revisions.start isn't an integer.")
    if not isinstance(ids, list):
        raise BadDocument("doc_validation", "_revisions.ids isn't a array.")
    hashes = cast("list[object]", ids)
    if not hashes or len(hashes) > start or start > MAX_GENERATION:
        raise _invalid_rev()
    chain: list[str] = []
    for number, digest in enumerate(reversed(hashes), start - len(hashes) + 1):
        if not isinstance(digest, str):
            raise BadDocument("doc_validation", "RevId isn't a string")
        chain.append(normalise(f"{number}-{digest}"))
    return chain


# -- trees


class RevisionTree:
    """All known revisions of one document."""

    __slots__ = ("_shape",)

    def __init__(self) -> None:
        self._shape: _Line | _Forest = _Forest({}, {})

    def insert(self, chain: Sequence[str], deleted: bool) -> bool:
        """Graft a chain on its deepest known ancestor; its last revision becomes a leaf with this flag.

        False, and nothing changes, when that last revision is known already. Without a known ancestor the chain
        becomes another root. Raises BadDocument for a malformed revision or for generations that do not grow."""
        if not chain:
            raise _invalid_rev()
        shape = self._shape
        if isinstance(shape, _Line):
            if shape.has(chain[-1]):
                return False
            if shape.extend(chain, deleted):
                return True
            shape = shape.to_forest()
        elif not shape.parents:
            line = _Line.of_chain(chain, deleted)
            if line is not None:
                self._shape = line
                return True
        grown = shape.insert(chain, deleted)
        if grown:
            self._shape = shape
        return grown

    def winner(self) -> Leaf:
        """The winning leaf: live before deleted, then the highest generation, then the highest hash."""
        shape = self._shape
        return shape.leaf_of_line() if isinstance(shape, _Line) else shape.sorted_leaves()[0]

    def leaves(self) -> list[Leaf]:
        """All leaves, the winner first, then in the order in which they would win."""
        shape = self._shape
        return [shape.leaf_of_line()] if isinstance(shape, _Line) else shape.sorted_leaves()

    def conflicts(self) -> list[str]:
        """The live leaves besides the winner (`_conflicts`)."""
        return [leaf.rev for leaf in self.leaves()[1:] if not leaf.deleted]

    def deleted_conflicts(self) -> list[str]:
        """The tombstones besides the winner (`_deleted_conflicts`)."""
        return [leaf.rev for leaf in self.leaves()[1:] if leaf.deleted]

    def has(self, rev: str) -> bool:
        """Whether the revision is known, as a leaf or as an ancestor."""
        return self._shape.has(rev)

    def leaf(self, rev: str) -> Leaf | None:
        """The leaf with this revision, None when it is no leaf."""
        rev = normalise(rev)
        return next((leaf for leaf in self.leaves() if leaf.rev == rev), None)

    def path(self, rev: str) -> list[str]:
        """The chain that ends with `rev`, from its oldest known ancestor. Raises KeyError for an unknown revision."""
        return self._shape.path(rev)

    def descendants(self, rev: str) -> list[Leaf]:
        """The leaves that descend from `rev` (itself, when it is one), in the order of `leaves`."""
        rev = normalise(rev)
        return [leaf for leaf in self.leaves() if leaf.rev == rev or rev in self.path(leaf.rev)]

    def missing(self, revs: Iterable[str]) -> list[str]:
        """Those of `revs` that are not known, in their order."""
        return [rev for rev in revs if not self.has(rev)]

    def possible_ancestors(self, missing: Sequence[str]) -> list[str]:
        """The leaves of a lower generation than the highest of `missing` (`_revs_diff`)."""
        if not missing:
            return []
        highest = max(generation(rev) for rev in missing)
        return [leaf.rev for leaf in self.leaves() if generation(leaf.rev) < highest]

    def stem(self, limit: int) -> None:
        """Forget the ancestors beyond `limit` revisions of every branch (one that another branch still needs
        stays); generations stay as they are."""
        self._shape.stem(limit)

    def encode(self) -> bytes:
        """The compact form kept by the store."""
        return self._shape.encode()

    @classmethod
    def decode(cls, data: bytes) -> RevisionTree:
        """The tree of an encoded form."""
        tree = cls()
        tree._shape = _Line.decode(data) if data[:1] in (b"L", b"D") else _Forest.decode(data)
        return tree

    def __repr__(self) -> str:
        return f"RevisionTree({', '.join(leaf.rev + (' deleted' if leaf.deleted else '') for leaf in self.leaves())})"


class _Line:
    """One straight branch of consecutive generations with hashes of 16 bytes, oldest first in `packed`."""

    __slots__ = ("deleted", "newest", "packed")

    def __init__(self, newest: int, packed: bytes, deleted: bool) -> None:
        self.newest = newest
        self.packed = packed
        self.deleted = deleted

    @classmethod
    def of_chain(cls, chain: Sequence[str], deleted: bool) -> _Line | None:
        """The line of a chain, None when the chain does not fit into this form."""
        first = parse(chain[0])[0]
        hashes: list[bytes] = []
        for number, rev in enumerate(chain, first):
            found, digest = parse(rev)
            packed = _packed_hash(digest)
            if found != number or packed is None:
                return None
            hashes.append(packed)
        return cls(first + len(hashes) - 1, b"".join(hashes), deleted)

    @classmethod
    def decode(cls, data: bytes) -> _Line:
        return cls(int.from_bytes(data[1:9], "big"), data[9:], data[:1] == b"D")

    def encode(self) -> bytes:
        return (b"D" if self.deleted else b"L") + self.newest.to_bytes(8, "big") + self.packed

    def has(self, rev: str) -> bool:
        return self.position(rev) is not None

    def position(self, rev: str) -> int | None:
        """Where the hash of a known revision starts in `packed`."""
        number, digest = parse(rev)
        offset = len(self.packed) - 16 * (self.newest - number + 1)
        if number > self.newest or offset < 0 or self.packed[offset : offset + 16] != _packed_hash(digest):
            return None
        return offset

    def extend(self, chain: Sequence[str], deleted: bool) -> bool:
        """Append the end of a chain that goes through the present leaf; False when it does not."""
        ahead = parse(chain[-1])[0] - self.newest
        if not 1 <= ahead < len(chain) or chain[-1 - ahead] != self.leaf_of_line().rev:
            return False
        if ahead + 1 < len(chain) and self.position(chain[0]) is None:
            return False  # the chain may know older ancestors
        tail = _Line.of_chain(chain[-ahead:], deleted)
        if tail is None:
            return False
        self.newest += ahead
        self.packed += tail.packed
        self.deleted = deleted
        return True

    def leaf_of_line(self) -> Leaf:
        return Leaf(f"{self.newest}-{self.packed[-16:].hex()}", self.deleted)

    def path(self, rev: str) -> list[str]:
        end = self.position(rev)
        if end is None:
            raise KeyError(rev)
        text = self.packed[: end + 16].hex()
        oldest = self.newest - len(self.packed) // 16 + 1
        return [f"{oldest + at // 32}-{text[at : at + 32]}" for at in range(0, len(text), 32)]

    def stem(self, limit: int) -> None:
        self.packed = self.packed[-16 * limit :]

    def to_forest(self) -> _Forest:
        chain = self.path(self.leaf_of_line().rev)
        forest = _Forest({}, {})
        forest.insert(chain, self.deleted)
        return forest


class _Forest:
    """Any shape: the parent of each revision (None: a root), and the flag of each leaf."""

    __slots__ = ("flags", "parents")

    def __init__(self, parents: dict[str, str | None], flags: dict[str, bool]) -> None:
        self.parents = parents
        self.flags = flags

    @classmethod
    def decode(cls, data: bytes) -> _Forest:
        parents: dict[str, str | None] = {}
        flags: dict[str, bool] = {}
        for parent, revs, deleted in msgspec.json.decode(data[1:], type=list[tuple[str | None, list[str], bool]]):
            for rev in revs:
                parents[rev] = parent
                parent = rev
            flags[revs[-1]] = deleted
        return cls(parents, flags)

    def encode(self) -> bytes:
        """One entry per leaf: where its branch leaves what was written before, its revisions, its flag.

        A single straight branch is written as a line."""
        if len(self.flags) == 1:
            ((leaf, deleted),) = self.flags.items()
            line = _Line.of_chain(self.path(leaf), deleted)
            if line is not None:
                return line.encode()
        written: set[str] = set()
        branches: list[tuple[str | None, list[str], bool]] = []
        for leaf, deleted in self.flags.items():
            revs: list[str] = []
            at: str | None = leaf
            while at is not None and at not in written:
                revs.append(at)
                at = self.parents[at]
            revs.reverse()
            written.update(revs)
            branches.append((at, revs, deleted))
        return b"T" + msgspec.json.encode(branches)

    def has(self, rev: str) -> bool:
        return normalise(rev) in self.parents

    def insert(self, chain: Sequence[str], deleted: bool) -> bool:
        revs = [normalise(rev) for rev in chain]
        numbers = [generation(rev) for rev in revs]
        if any(lower >= higher for lower, higher in pairwise(numbers)):
            raise _invalid_rev()
        if revs[-1] in self.parents:
            return False
        deepest = max((at for at, rev in enumerate(revs) if rev in self.parents), default=0)
        # What is older than the deepest known revision says something new only where that one is a root. Where it has
        # another parent here, the older part is left out: it must not make ancestors that no leaf descends from.
        at = deepest
        while at > 0 and self.parents.get(revs[at]) is None:
            known = revs[at - 1] in self.parents
            self.parents[revs[at]] = revs[at - 1]
            self.parents.setdefault(revs[at - 1], None)
            at -= 1
            if known:
                self.flags.pop(revs[at], None)
        self.parents.setdefault(revs[deepest], None)
        for parent, rev in pairwise(revs[deepest:]):
            self.parents[rev] = parent
        self.flags.pop(revs[deepest], None)
        self.flags[revs[-1]] = deleted
        return True

    def sorted_leaves(self) -> list[Leaf]:
        leaves = [Leaf(rev, deleted) for rev, deleted in self.flags.items()]
        leaves.sort(key=lambda leaf: (not leaf.deleted, order_key(leaf.rev)), reverse=True)
        return leaves

    def path(self, rev: str) -> list[str]:
        revs: list[str] = []
        at: str | None = normalise(rev)
        while at is not None:
            revs.append(at)
            at = self.parents[at]
        revs.reverse()
        return revs

    def stem(self, limit: int) -> None:
        if len(self.parents) <= limit:
            return
        kept: dict[str, str | None] = {}
        for leaf in self.flags:
            for rev in self.path(leaf)[-limit:]:
                kept[rev] = self.parents[rev]
        self.parents = {rev: parent if parent in kept else None for rev, parent in kept.items()}


# -- hashes, and the external term format of Erlang (spec/01 §2.2)

_TRUE = b"\x64\x00\x04true"
_FALSE = b"\x64\x00\x05false"
_NULL = b"\x64\x00\x04null"
_FLOAT = struct.Struct(">Bd").pack
_LENGTH = struct.Struct(">BI").pack
_INT32 = struct.Struct(">Bi").pack
_STRING16 = struct.Struct(">BH").pack


def _invalid_rev() -> BadDocument:
    return BadDocument("bad_request", "Invalid rev format")


def _packed_hash(digest: str) -> bytes | None:
    """The 16 bytes of a hash of 32 lower-case hexadecimal digits, None for any other."""
    if len(digest) != 32:
        return None
    try:
        packed = bytes.fromhex(digest)
    except ValueError:
        return None
    return packed if packed.hex() == digest else None  # fromhex would skip spaces


def _hash_bytes(digest: str) -> bytes:
    packed = _packed_hash(digest)
    return digest.encode("utf-8", "surrogatepass") if packed is None else packed


def _append_binary(out: bytearray, data: bytes) -> None:
    out += _LENGTH(0x6D, len(data))
    out += data


def _append_integer(out: bytearray, value: int) -> None:
    if 0 <= value <= 255:
        out.append(0x61)
        out.append(value)
    elif -(2**31) <= value < 2**31:
        out += _INT32(0x62, value)
    else:
        size = (abs(value).bit_length() + 7) // 8
        out += bytes((0x6E, size)) if size < 256 else _LENGTH(0x6F, size)
        out.append(1 if value < 0 else 0)
        out += abs(value).to_bytes(size, "little")


def _append_attachments(out: bytearray, stubs: Mapping[str, Mapping[str, Any]]) -> None:
    """Append the start of the list of attachments: name, type and MD5 of each. Its end is not appended."""
    out += _LENGTH(0x6C, len(stubs))
    for name, stub in stubs.items():
        out += b"\x68\x03"
        for text in (name, str(stub.get("content_type", ""))):
            _append_binary(out, text.encode("utf-8", "surrogatepass"))
        _append_binary(out, a2b_base64(str(stub.get("digest", "")).removeprefix("md5-")))


def _append_term(out: bytearray, root: object) -> None:
    """Append a JSON value. A stack of its own, because documents may be nested deeper than Python likes to call.

    What waits on the stack is either a value or, as bytes, a piece of output."""
    stack: list[Any] = [root]
    pop, push = stack.pop, stack.append
    while stack:
        value = pop()
        kind = type(value)
        if kind is bytes:
            out += value
        elif kind is str:
            data = value.encode("utf-8", "surrogatepass")
            out += _LENGTH(0x6D, len(data))
            out += data
        elif kind is int:
            _append_integer(out, value)
        elif kind is bool:
            out += _TRUE if value else _FALSE
        elif value is None:
            out += _NULL
        elif kind is float:
            out += _FLOAT(0x46, value)
        elif kind is dict:
            if not value:
                out += b"\x68\x01\x6a"
                continue
            out += b"\x68\x01"
            out += _LENGTH(0x6C, len(value))
            push(b"\x6a")
            for name, member in reversed(value.items()):
                data = name.encode("utf-8", "surrogatepass")
                push(member)
                push(b"\x68\x02" + _LENGTH(0x6D, len(data)) + data)
        elif kind is list or kind is tuple:
            if not value:
                out.append(0x6A)
            elif len(value) < 65536 and all(type(item) is int and 0 <= item <= 255 for item in value):
                out += _STRING16(0x6B, len(value))
                out += bytes(value)
            else:
                out += _LENGTH(0x6C, len(value))
                push(b"\x6a")
                stack.extend(reversed(value))
        else:
            raise TypeError(f"not a JSON value: {kind.__name__}")
