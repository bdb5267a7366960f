"""Permissions: rules, sets of rules, scopes, and the permit that a caller carries (spec/03 §7.7, §10; spec/02 §10).

A rule opens a doctype (`type`) for some verbs: for the whole type when it has no `values`, else for the documents
with these ids, or (with a `selector`) for those whose field holds one of the values. Rules on files are inherited
through folders. A `PermissionSet` answers whether something is allowed; a `Permit` is such a set with the one who
holds it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec

from inglenook.kernel import doctypes
from inglenook.kernel.errors import BadCredentials, Forbidden

VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")
FILES = "io.cozy.files"
ROOT_DIR = "io.cozy.files.root-dir"

MALFORMED = "Permission scope is empty or malformed"
LARGER = "Attempt to create a larger permission set"

Kind = Literal["app", "konnector", "oauth", "cli", "share", "share-preview", "share-interact", "register"]


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule: no `verbs` means every verb, no `values` the whole type; `title` is its key in a document."""

    type: str
    verbs: tuple[str, ...] = ()
    selector: str = ""
    values: tuple[str, ...] = ()
    title: str = ""
    description: str = ""

    def has_verb(self, verb: str) -> bool:
        """Whether the rule opens this verb."""
        return not self.verbs or verb in self.verbs

    def covers_type(self, doctype: str) -> bool:
        """Whether the rule is about this doctype: the same, `*`, or a wildcard `prefix.*` (also of `prefix` itself)."""
        if self.type == doctype or self.type == "*":
            return True
        return self.type.endswith(".*") and (doctype + ".").startswith(self.type[:-1])

    def lists_id(self, id: str) -> bool:
        """Whether the rule names a document by its id."""
        return not self.selector and bool(id) and id in self.values

    def matches_body(self, id: str, body: Mapping[str, Any]) -> bool:
        """Whether the field that the rule selects holds one of its values (spec/01 §1.4)."""
        if not self.selector:
            return False
        if self.selector == "_id":
            return bool(id) and id in self.values
        return any(text in self.values for text in _field_texts(self.selector, body.get(self.selector)))

    def to_json(self) -> dict[str, Any]:
        """The rule as it is stored and shown, without its title; verbs in their fixed order."""
        built: dict[str, Any] = {"type": self.type}
        if self.description:
            built["description"] = self.description
        if self.verbs:
            built["verbs"] = list(_in_order(self.verbs))
        if self.selector:
            built["selector"] = self.selector
        if self.values:
            built["values"] = list(self.values)
        return built


class FileFacts(msgspec.Struct, frozen=True):
    """What the permissions of a file or folder depend on.

    `type` is `file` or `directory`; `referenced_by` are pairs (type, id). `id` is empty for what does not exist
    yet. `path` is for the reader of a log: containment is decided by the ancestors."""

    id: str
    dir_id: str
    type: str
    name: str
    mime: str = ""
    class_: str = ""
    tags: tuple[str, ...] = ()
    referenced_by: tuple[tuple[str, str], ...] = ()
    path: str = ""


Ancestors = Callable[[], Sequence[FileFacts]]
"""Gives the folders above a file, its parent first. Called only when the file alone does not decide."""


class PermissionSet(msgspec.Struct, frozen=True):
    """Some rules, in their order, and what they allow together."""

    rules: tuple[Rule, ...] = ()

    # -- checks (spec/03 §10.3)

    @property
    def is_maximal(self) -> bool:
        """Whether everything is allowed."""
        return any(rule.type == "*" for rule in self.rules)

    def allows_type(self, verb: str, doctype: str) -> bool:
        """*whole type*: all documents of the doctype."""
        return any(not rule.values for rule in self._about(verb, doctype))

    def allows_id(self, verb: str, doctype: str, id: str) -> bool:
        """*id*: this document, whatever is in it."""
        return any(not rule.values or rule.lists_id(id) for rule in self._about(verb, doctype))

    def allows_document(self, verb: str, doctype: str, id: str, body: Mapping[str, Any]) -> bool:
        """*document*: this document, by its id or by one of its fields."""
        return any(
            not rule.values or rule.lists_id(id) or rule.matches_body(id, body) for rule in self._about(verb, doctype)
        )

    def allows_fields(self, verb: str, doctype: str, fields: Collection[str], body: Mapping[str, Any]) -> bool:
        """*fields*: a rule with values selects one of these fields, and the field holds one of them.

        A rule for the whole type does not pass, a maximal set neither."""
        return any(
            rule.values and rule.selector in fields and rule.matches_body("", body)
            for rule in self._about(verb, doctype)
        )

    def allows_any_directory(self) -> bool:
        """*any directory*: whether something may be created in some folder."""
        return any(True for _ in self._about("POST", FILES))

    def allows_file(self, verb: str, file: FileFacts, ancestors: Ancestors) -> bool:
        """*file*: this file or folder, by itself or by a folder above it (spec/03 §10.4).

        For what is being created or moved, `file` is the state to come and `ancestors` are those of its place."""
        inherited_ids: set[str] = set()
        inherited: list[Rule] = []
        for rule in self._about(verb, FILES):
            if not rule.values:
                return True
            if not rule.selector:
                if rule.lists_id(file.id) or rule.lists_id(file.dir_id) or ROOT_DIR in rule.values:
                    return True
                inherited_ids.update(rule.values)
            else:
                if _selects_file(rule, file):
                    return True
                if rule.selector not in ("mime", "class"):
                    inherited.append(rule)
        if not inherited_ids and not inherited:
            return False
        return any(
            folder.id in inherited_ids or any(_selects_file(rule, folder) for rule in inherited)
            for folder in ancestors()
            if folder.id and folder.id != ROOT_DIR
        )

    # -- subsets (spec/03 §10.5)

    def includes(self, child: PermissionSet) -> bool:
        """Whether `child` gives nothing that this set does not give. The maximal set can never be handed on."""
        if child.is_maximal:
            return False
        return self.is_maximal or all(any(_includes(mine, rule) for mine in self.rules) for rule in child.rules)

    def includes_types_and_verbs(self, child: PermissionSet) -> bool:
        """As `includes`, comparing only types and verbs: for the members of a drive, whose values the drive checks."""
        if child.is_maximal:
            return False
        return all(
            any(mine.covers_type(rule.type) and _includes_verbs(mine, rule) for mine in self.rules)
            for rule in child.rules
        )

    def _about(self, verb: str, doctype: str) -> Iterable[Rule]:
        return (rule for rule in self.rules if rule.has_verb(verb) and rule.covers_type(doctype))

    # -- forms

    def to_json(self) -> dict[str, dict[str, Any]]:
        """The `permissions` member of a permission document: title to rule, in order; `rule<n>` without a title."""
        return {rule.title or f"rule{index}": rule.to_json() for index, rule in enumerate(self.rules)}

    def to_scope(self) -> str:
        """The set in the syntax of scopes (spec/03 §7.7)."""
        return " ".join(_write_scope(rule) for rule in self.rules)


MAXIMAL = PermissionSet((Rule("*"),))


class Permit(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller may do, and in whose name it calls. Members that do not apply are empty.

    `source_id` is that of the permission document (spec/03 §10.1); `client_id` and `client_kind` are of the OAuth
    client; `slug` of the app or konnector; `sharing_id` and `member_key` of a member's code; `permission_id` of the
    stored document; `session_id` of the browser session that an app's token is bound to."""

    kind: Kind
    rules: tuple[Rule, ...] = ()
    source_id: str = ""
    client_id: str = ""
    client_kind: str = ""
    slug: str = ""
    sharing_id: str = ""
    member_key: str = ""
    permission_id: str = ""
    session_id: str = ""

    @property
    def permissions(self) -> PermissionSet:
        """The rules as a set."""
        return PermissionSet(self.rules)

    @property
    def is_maximal(self) -> bool:
        """Whether everything is allowed."""
        return self.permissions.is_maximal

    def allows_type(self, verb: str, doctype: str) -> bool:
        """As `PermissionSet.allows_type`."""
        return self.permissions.allows_type(verb, doctype)

    def allows_id(self, verb: str, doctype: str, id: str) -> bool:
        """As `PermissionSet.allows_id`."""
        return self.permissions.allows_id(verb, doctype, id)

    def allows_document(self, verb: str, doctype: str, id: str, body: Mapping[str, Any]) -> bool:
        """As `PermissionSet.allows_document`."""
        return self.permissions.allows_document(verb, doctype, id, body)

    def allows_fields(self, verb: str, doctype: str, fields: Collection[str], body: Mapping[str, Any]) -> bool:
        """As `PermissionSet.allows_fields`."""
        return self.permissions.allows_fields(verb, doctype, fields, body)

    def allows_file(self, verb: str, file: FileFacts, ancestors: Ancestors) -> bool:
        """As `PermissionSet.allows_file`."""
        return self.permissions.allows_file(verb, file, ancestors)

    def allows_any_directory(self) -> bool:
        """As `PermissionSet.allows_any_directory`."""
        return self.permissions.allows_any_directory()

    def require_type(self, verb: str, doctype: str) -> None:
        """Raises Forbidden unless `allows_type`."""
        _require(self.allows_type(verb, doctype))

    def require_id(self, verb: str, doctype: str, id: str) -> None:
        """Raises Forbidden unless `allows_id`."""
        _require(self.allows_id(verb, doctype, id))

    def require_document(self, verb: str, doctype: str, id: str, body: Mapping[str, Any]) -> None:
        """Raises Forbidden unless `allows_document`."""
        _require(self.allows_document(verb, doctype, id, body))

    def require_fields(self, verb: str, doctype: str, fields: Collection[str], body: Mapping[str, Any]) -> None:
        """Raises Forbidden unless `allows_fields`."""
        _require(self.allows_fields(verb, doctype, fields, body))

    def require_file(self, verb: str, file: FileFacts, ancestors: Ancestors) -> None:
        """Raises Forbidden unless `allows_file`."""
        _require(self.allows_file(verb, file, ancestors))

    def require_any_directory(self) -> None:
        """Raises Forbidden unless `allows_any_directory`."""
        _require(self.allows_any_directory())

    def require_maximal(self) -> None:
        """Raises Forbidden unless `is_maximal`."""
        _require(self.is_maximal)


# -- reading


def parse_rules(value: object) -> PermissionSet:
    """Read the `permissions` of a document or manifest: an object from titles to rules. Raises as `parse_rule`."""
    if not isinstance(value, Mapping):
        raise BadCredentials(MALFORMED)
    rules = cast("Mapping[str, object]", value)
    return PermissionSet(tuple(parse_rule(title, rule) for title, rule in rules.items()))


def parse_rule(title: str, value: object) -> Rule:
    """Read one JSON rule. `*` is a type here, that no subset test lets pass.

    Raises Forbidden for a malformed type, BadCredentials for an unknown verb or a member of another type."""
    if not isinstance(value, Mapping):
        raise BadCredentials(MALFORMED)
    fields = cast("Mapping[str, object]", value)
    type_ = _text(fields.get("type"))
    if type_ != "*" and not doctypes.is_type(type_):
        raise Forbidden(f"{type_} is not a valid doctype name")
    verbs = _texts(fields.get("verbs"))
    if not {*VERBS, "ALL"}.issuperset(verbs):
        raise BadCredentials(MALFORMED)
    return Rule(
        type=type_,
        verbs=() if "ALL" in verbs else _in_order(verbs),
        selector=_text(fields.get("selector")),
        values=_texts(fields.get("values")),
        title=title,
        description=_text(fields.get("description")),
    )


def parse_scope(scope: str) -> PermissionSet:
    """Read a scope: rules `type[:VERBS[:value1,value2[:selector]]]` separated by spaces, or `*` alone.

    Unknown verbs match nothing. Raises BadCredentials when it is empty or malformed."""
    if scope == "*":
        return MAXIMAL
    rules = tuple(_read_scope(part) for part in scope.split(" ") if part)
    if not rules:
        raise BadCredentials(MALFORMED)
    return PermissionSet(rules)


def linked_app(scope: str) -> str | None:
    """The slug in the scope `@io.cozy.apps/<slug>` of an OAuth client linked to an app, None for any other scope."""
    prefix = "@io.cozy.apps/"
    return scope[len(prefix) :] if scope.startswith(prefix) and len(scope) > len(prefix) else None


# -- private parts


def _require(allowed: bool) -> None:
    if not allowed:
        raise Forbidden


def _read_scope(text: str) -> Rule:
    type_, *parts = text.split(":")
    if not doctypes.is_type(type_) or len(parts) > 3 or "" in parts:
        raise BadCredentials(MALFORMED)
    words = parts[0].split(",") if parts else []
    values = tuple(parts[1].split(",")) if len(parts) > 1 else ()
    if "" in values:
        raise BadCredentials(MALFORMED)
    return Rule(
        type=type_,
        verbs=VERBS if "ALL" in words else _in_order(words),
        selector=parts[2] if len(parts) > 2 else "",
        values=values,
    )


def _write_scope(rule: Rule) -> str:
    if rule.type == "*":
        return "*"
    parts = [rule.type, "ALL" if not rule.verbs or set(VERBS).issubset(rule.verbs) else ",".join(_in_order(rule.verbs))]
    if rule.values:
        parts.append(",".join(rule.values))
        if rule.selector:
            parts.append(rule.selector)
    return ":".join(parts)


def _in_order(verbs: Sequence[str]) -> tuple[str, ...]:
    known = [verb for verb in VERBS if verb in verbs]
    return (*known, *dict.fromkeys(verb for verb in verbs if verb not in VERBS))


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadCredentials(MALFORMED)
    return value


def _texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise BadCredentials(MALFORMED)
    return tuple(_text(item) for item in cast("Sequence[object]", value))


def _includes_verbs(parent: Rule, child: Rule) -> bool:
    return set(parent.verbs or VERBS).issuperset(child.verbs or VERBS)


def _includes(parent: Rule, child: Rule) -> bool:
    if not parent.covers_type(child.type) or not _includes_verbs(parent, child):
        return False
    if not parent.values:
        return not parent.selector
    return parent.selector == child.selector and bool(child.values) and set(parent.values).issuperset(child.values)


def _field_texts(selector: str, value: object) -> list[str]:
    """What the value of a field is compared as; a list is compared by its elements."""
    if isinstance(value, list):
        items = cast("list[object]", value)
        if selector == "referenced_by":
            references = [cast("Mapping[str, object]", item) for item in items if isinstance(item, Mapping)]
            return [f"{reference.get('type')}/{reference.get('id')}" for reference in references]
        return [text for item in items for text in _field_texts("", item) if not isinstance(item, list)]
    if value is None:
        return ["<nil>"]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, float) and value.is_integer():
        return [str(int(value))]
    return [str(value)] if isinstance(value, str | int | float) else []


def _selects_file(rule: Rule, file: FileFacts) -> bool:
    """Whether the field of a file or folder holds one of the values (spec/03 §10.4, step 2c)."""
    return not set(rule.values).isdisjoint(_file_texts(rule.selector, file))


def _file_texts(selector: str, file: FileFacts) -> Sequence[str]:
    is_file = file.type == "file"
    match selector:
        case "type":
            return (file.type,)
        case "name":
            return (file.name,)
        case "tags":
            return file.tags
        case "referenced_by":
            ids = [id for _, id in file.referenced_by]
            # A folder offers the bare ids alone, so an album covers its pictures, not what is below a folder in it.
            return [*ids, *(f"{type_}/{id}" for type_, id in file.referenced_by)] if is_file else ids
        case "mime" if is_file:
            return (file.mime,)
        case "class" if is_file:
            return (file.class_,)
        case _:
            return ()
