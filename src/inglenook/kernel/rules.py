"""The rules of a sharing: which documents it is about, and what their changes do (spec/04 §2.4, §3; spec/05 §6, §7.1).

Functions over plain data. A document is given by its id and body, a file or folder also by its path; `path_of` gives
the current path of a folder by its id, None when there is no such folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

import msgspec

from inglenook.kernel import doctypes
from inglenook.kernel.errors import BadRequest
from inglenook.kernel.xor import xor_id

FILES = "io.cozy.files"
REFERENCED_BY = "referenced_by"
NOT_SHARABLE = frozenset({"io.cozy.files.root-dir", "io.cozy.files.trash-dir", "io.cozy.files.shared-with-me-dir"})

PathOf = Callable[[str], str | None]


class SharingRule(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One rule. `title` names the folder that is made on the recipient; a `local` rule only shows in the preview.

    `mime` is of the single file that the rule shares, empty for a folder. After `validate` a behaviour is `none`,
    `push` or `sync`, for `remove` also `revoke`; these members and `title`, `doctype`, `values` are then always
    written, the others when they say something."""

    title: str = ""
    doctype: str = ""
    mime: str = ""
    selector: str = ""
    values: list[str] = []
    local: bool = False
    add: str = ""
    update: str = ""
    remove: str = ""


class Choice(Protocol):
    """What chooses documents: a rule, or what an index or tracking keeps of one."""

    @property
    def selector(self) -> str:
        """Empty, `id` or `_id`: by identifier; else the field."""
        ...

    @property
    def values(self) -> Sequence[str]:
        """The identifiers, or the values of the field."""
        ...


R = TypeVar("R", bound=SharingRule)


# -- validity


def validate(rules: Sequence[SharingRule]) -> list[SharingRule]:
    """The rules in their stored form: behaviours in lower case, an empty one `none`.

    Raises BadRequest: no rule at all, or one that is invalid (spec/04 §3)."""
    if not rules:
        raise BadRequest("A sharing must have rules")
    return [_validated(rule) for rule in rules]


def _validated(rule: SharingRule) -> SharingRule:
    add, update, remove = (text.lower() or "none" for text in (rule.add, rule.update, rule.remove))
    wanted = ("none", "push", "sync")
    if not (
        rule.title
        and rule.values
        and all(rule.values)
        and doctypes.is_name(rule.doctype)
        and (_valid_for_files(rule) if rule.doctype == FILES else doctypes.is_writable(rule.doctype))
        and add in wanted
        and update in wanted
        and remove in (*wanted, "revoke")
    ):
        raise BadRequest("A rule is invalid")
    return msgspec.structs.replace(rule, add=add, update=update, remove=remove)


def _valid_for_files(rule: SharingRule) -> bool:
    if not NOT_SHARABLE.isdisjoint(rule.values):
        return False
    if by_id(rule):
        return len(rule.values) == 1
    if rule.selector == REFERENCED_BY:
        return all(all(value.partition("/")) for value in rule.values)
    return True


# -- what a rule says


def by_id(rule: Choice) -> bool:
    """Whether the values are identifiers of documents."""
    return rule.selector in ("", "id", "_id")


def read_only(rules: Iterable[SharingRule]) -> bool:
    """Whether recipients may change nothing, whoever they are: no rule has `sync` (spec/05 §6.4)."""
    return not any("sync" in (rule.add, rule.update, rule.remove) for rule in rules)


def follows(rule: SharingRule, verb: str) -> bool:
    """Whether changes of this kind (`CREATED`, `UPDATED`, `DELETED`) are followed (spec/05 §6.3)."""
    if verb == "DELETED":
        return rule.remove in ("sync", "push", "revoke")
    return verb == "CREATED" or rule.update in ("sync", "push")


def values_for_recipient(rule: SharingRule, key: bytes) -> list[str]:
    """The values as the recipient with this XOR key knows them (spec/05 §6.5)."""
    if by_id(rule) or rule.selector == "organization_id":
        return [xor_id(value, key) for value in rule.values]
    if rule.selector == REFERENCED_BY:
        return [f"{doctype}{slash}{xor_id(id, key)}" for doctype, slash, id in (v.partition("/") for v in rule.values)]
    return list(rule.values)


# -- which documents


def rule_for_document(rules: Iterable[R], doctype: str, id: str, body: Mapping[str, Any]) -> R | None:
    """The rule by which a new document that is no file is accepted from a member; None: it is not (spec/05 §6.2)."""
    return next((r for r in rules if not r.local and r.doctype == doctype and selects(r, id, body)), None)


def rule_for_file(rules: Iterable[R], body: Mapping[str, Any]) -> R | None:
    """The rule by which a new file or folder is accepted from a member, None when it is not (spec/05 §6.2).

    Whether its place is inside the sharing is to be checked besides."""
    found = references(body)
    for rule in rules:
        if rule.local or rule.doctype != FILES:
            continue
        if rule.selector != REFERENCED_BY or (found and found.issubset(rule.values)):
            return rule
    return None


def selects(rule: Choice, id: str, body: Mapping[str, Any]) -> bool:
    """Whether a rule chooses a document that is no file: by its id, or by the field at a dotted path.

    A list matches by any of its elements."""
    if by_id(rule):
        return id in rule.values
    value: object = body
    for step in rule.selector.split("."):
        value = cast("Mapping[str, object]", value).get(step) if isinstance(value, Mapping) else None
    held = cast("list[object]", value) if isinstance(value, list) else [value]
    return any(isinstance(text, str) and text in rule.values for text in held)


def is_root(rule: Choice, id: str, body: Mapping[str, Any]) -> bool:
    """Whether this is the folder that the rule shares: it is not shared itself, only what is below it."""
    return by_id(rule) and id in rule.values and not _is_file(body)


def selects_file(rule: Choice, id: str, body: Mapping[str, Any], path: str, path_of: PathOf) -> bool:
    """Whether a rule takes in a file or folder in this state: nothing in the trash, and not the shared root itself."""
    if _in_trash(body, path) or is_root(rule, id, body):
        return False
    if by_id(rule):
        return id in rule.values or _is_below_one(path, rule.values, path_of)
    if rule.selector == REFERENCED_BY:
        return _is_file(body) and not references(body).isdisjoint(rule.values)
    return _is_file(body) and selects(rule, id, body)


def no_longer_shared(
    rule: Choice,
    doctype: str,
    id: str,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    path: str,
    path_of: PathOf,
) -> bool:
    """Whether a change takes a live document out of a rule that it was in (spec/05 §7.1). `path` is the new one."""
    if old is None:
        return False
    if doctype == FILES:
        place = "dir_id" if _is_file(new) else "path"
        if old.get(place) == new.get(place) and references(old) == references(new):
            return False
        return not is_root(rule, id, new) and not selects_file(rule, id, new, path, path_of)
    if doctype == "com.bitwarden.ciphers" and rule.selector == "organization_id":
        return old.get("organization_id") != new.get("organization_id") and not selects(rule, id, new)
    return False


def references(body: Mapping[str, Any]) -> set[str]:
    """The entries of `referenced_by` as `type/id`; what is malformed is left out."""
    entries = body.get(REFERENCED_BY)
    if not isinstance(entries, list):
        return set()
    maps = [cast("Mapping[str, object]", e) for e in cast("list[object]", entries) if isinstance(e, Mapping)]
    return {f"{entry['type']}/{entry['id']}" for entry in maps if "type" in entry and "id" in entry}


def _is_file(body: Mapping[str, Any]) -> bool:
    return body.get("type") == "file"


def _in_trash(body: Mapping[str, Any], path: str) -> bool:
    return bool(body.get("trashed")) or path == "/.cozy_trash" or path.startswith("/.cozy_trash/")


def _is_below_one(path: str, ids: Iterable[str], path_of: PathOf) -> bool:
    roots = (path_of(id) for id in ids)
    return any(root is not None and path.startswith(root.rstrip("/") + "/") for root in roots)
