"""Mango selectors: their normal form, and whether a document matches (spec/01 §9.1-9.4, §9.8).

The normal form has one condition in each object: `{"path": {"$operator": argument}}`, or `$and`, `$or` with a list of
such. Negations stand at the conditions that cannot be turned round, as `{"path": {"$not": {…}}}`. Inside
`$elemMatch` and its kin a condition may lack the path: it is then about the element itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

import msgspec

from inglenook.kernel.collation import sort_key
from inglenook.kernel.errors import BadDocument
from inglenook.kernel.patterns import PatternError, compile_pattern

Selector = dict[str, Any]
Matcher = Callable[[str, Mapping[str, Any]], bool]
"""Takes the id and the body of a document."""

MAX_DEPTH = 100


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""What `lookup` gives for a field that is not there."""

TYPES = frozenset({"null", "boolean", "number", "string", "array", "object"})

_OPPOSITES = {
    "$eq": "$ne",
    "$ne": "$eq",
    "$lt": "$gte",
    "$gte": "$lt",
    "$lte": "$gt",
    "$gt": "$lte",
    "$in": "$nin",
    "$nin": "$in",
}
_OF_ELEMENTS = ("$elemMatch", "$allMatch", "$keyMapMatch")
_OF_VALUES = (
    *_OPPOSITES, "$exists", "$type", "$all", "$size", "$mod", "$regex", "$beginsWith", *_OF_ELEMENTS,
)  # fmt: skip


# -- field paths


@lru_cache(maxsize=4096)
def steps(path: str) -> tuple[str, ...]:
    """The steps of a field path; `\\.` is a dot within a step. Raises BadDocument `invalid_field_name`."""
    found = tuple(step.replace("\0", ".") for step in path.replace("\\.", "\0").split("."))
    if "" in found:
        raise BadDocument("invalid_field_name", f"Invalid field name: {path}")
    return found


def lookup(path: str, value: object) -> Any:
    """The value at a field path, MISSING when there is none; a numeric step goes into an array."""
    return _descend(steps(path), value)


def _descend(path: Sequence[str], value: object) -> Any:
    for step in path:
        if isinstance(value, Mapping):
            value = cast("Mapping[str, object]", value).get(step, MISSING)
        elif isinstance(value, list) and step.isascii() and step.isdigit() and len(step) < 10:
            items = cast("list[object]", value)
            value = items[int(step)] if int(step) < len(items) else MISSING
        else:
            return MISSING
    return value


# -- the normal form


def normalise(selector: object) -> Selector:
    """The normal form of a selector, `{}` for an empty one.

    Raises BadDocument with the names of spec/01 §9.8."""
    if not isinstance(selector, dict):
        raise BadDocument("invalid_selector_json", f"Selector must be a JSON object, not: {_shown(selector)}")
    return _normal("", cast("Selector", selector), False, 0)


def _normal(path: str, condition: object, negated: bool, depth: int) -> Selector:
    """The normal form of a condition on what is at `path`, or of its negation."""
    if depth > MAX_DEPTH:
        raise BadDocument("invalid_selector", "The selector is nested too deeply")
    if not isinstance(condition, dict) or (path and not condition):
        return _condition(path, "$eq", cast("object", condition), negated, depth)
    members = cast("Selector", condition)
    parts = [_member(path, name, value, negated, depth + 1) for name, value in members.items()]
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return {"$or": []} if negated else {}
    return {"$or" if negated else "$and": parts}


def _member(path: str, name: str, value: object, negated: bool, depth: int) -> Selector:
    if not name.startswith("$"):
        steps(name)
        return _normal(f"{path}.{name}" if path else name, value, negated, depth)
    if name in ("$and", "$or", "$nor"):
        if not isinstance(value, list) or not all(path or isinstance(part, dict) for part in cast("list[Any]", value)):
            raise _bad_argument(name, value)
        turned = negated != (name == "$nor")
        parts = [_normal(path, part, turned, depth) for part in cast("list[object]", value)]
        return {"$or" if (name == "$or") != negated else "$and": parts}
    if name == "$not":
        if not path and not isinstance(value, dict):
            raise _bad_argument(name, value)
        return _normal(path, value, not negated, depth)
    return _condition(path, name, value, negated, depth)


def _condition(path: str, operator: str, argument: object, negated: bool, depth: int) -> Selector:
    """One operator with its argument, checked."""
    if operator not in _OF_VALUES:
        raise BadDocument("invalid_operator", f"Invalid operator: {operator}")
    if not _is_argument(operator, argument):
        raise _bad_argument(operator, argument)
    if operator in _OF_ELEMENTS:
        argument = _normal("", argument, False, depth)
    built: Selector = {operator: argument}
    if negated:
        if operator in _OPPOSITES:
            built = {_OPPOSITES[operator]: argument}
        elif operator == "$exists":
            built = {"$exists": not argument}
        else:
            built = {"$not": built}
    return {path: built} if path else built


def _is_argument(operator: str, argument: object) -> bool:
    match operator:
        case "$in" | "$nin" | "$all":
            return isinstance(argument, list)
        case "$elemMatch" | "$allMatch" | "$keyMapMatch":
            return isinstance(argument, dict)
        case "$exists":
            return isinstance(argument, bool)
        case "$type":
            return isinstance(argument, str) and argument in TYPES
        case "$size":
            return type(argument) is int and argument >= 0
        case "$mod":
            return _is_mod(argument)
        case "$regex":
            return isinstance(argument, str) and _is_pattern(argument)
        case "$beginsWith":
            return isinstance(argument, str)
        case _:
            return True


def _is_mod(argument: object) -> bool:
    if not isinstance(argument, list):
        return False
    items = cast("list[object]", argument)
    return len(items) == 2 and type(items[0]) is int and type(items[1]) is int and items[0] != 0


def _is_pattern(text: str) -> bool:
    try:
        compile_pattern(text)
    except PatternError:
        return False
    return True


def _bad_argument(operator: str, argument: object) -> BadDocument:
    return BadDocument("bad_arg", f"Bad argument for operator {operator}: {_shown(argument)}")


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()


# -- matching

_Test = Callable[[Any], bool]
_Part = Callable[[str, Any], bool]


def matches(selector: Selector, document: Mapping[str, Any]) -> bool:
    """Whether a document, with its `_id`, matches a selector in normal form."""
    return compile(selector)(str(document.get("_id", "")), document)


def compile(selector: Selector) -> Matcher:
    """The test for a selector in normal form. A selector that is but an empty `$and` or `$or` matches nothing."""
    if selector in ({"$and": []}, {"$or": []}):
        return lambda id, body: False
    return _compile(selector, _compile_on_document)


def _compile(selector: Selector, on_field: Callable[[str, str, Any], _Part]) -> _Part:
    """The test of a condition, on the id of the document and a value (its body, or an element)."""
    if not selector:
        return lambda id, value: True
    ((name, argument),) = selector.items()
    if name in ("$and", "$or"):
        parts = [_compile(part, on_field) for part in cast("list[Selector]", argument)]
        if not parts:
            return lambda id, value: True
        if name == "$and":
            return lambda id, value: all(part(id, value) for part in parts)
        return lambda id, value: any(part(id, value) for part in parts)
    if name.startswith("$"):
        test = _test(name, argument, sort_key)
        return lambda id, value: test(value)
    ((operator, argument),) = cast("Selector", argument).items()
    return on_field(name, operator, argument)


def _compile_on_document(path: str, operator: str, argument: Any) -> _Part:
    if path == "_id":
        test = _test(operator, argument, _id_key)
        return lambda id, value: test(id)
    return _compile_on_element(path, operator, argument)


def _compile_on_element(path: str, operator: str, argument: Any) -> _Part:
    into = steps(path)
    test = _test(operator, argument, sort_key)
    return lambda id, value: test(_descend(into, value))


def _test(operator: str, argument: Any, key: Callable[[Any], bytes]) -> _Test:
    """The test of one operator on a value, MISSING being one that only `{"$exists": false}` accepts."""
    if operator == "$exists":
        return lambda value: (value is not MISSING) is argument
    if operator == "$not":
        ((inner, inner_argument),) = cast("Selector", argument).items()
        test = _test(inner, inner_argument, key)
        return lambda value: value is not MISSING and not test(value)
    test = _present_test(operator, argument, key)
    return lambda value: value is not MISSING and test(value)


def _present_test(operator: str, argument: Any, key: Callable[[Any], bytes]) -> _Test:
    match operator:
        case "$eq" | "$ne" | "$lt" | "$lte" | "$gt" | "$gte":
            return _comparison(operator, key(argument), key)
        case "$in":
            keys = frozenset(key(item) for item in argument)
            return lambda value: any(key(item) in keys for item in _items(value))
        case "$nin":
            keys = frozenset(key(item) for item in argument)
            return lambda value: not any(key(item) in keys for item in _items(value))
        case "$type":
            return lambda value: _type_of(value) == argument
        case "$all":
            wanted = {_shown(item) for item in argument}
            return lambda value: (
                isinstance(value, list) and bool(wanted) and wanted <= {_shown(v) for v in cast("list[Any]", value)}
            )
        case "$size":
            return lambda value: isinstance(value, list) and len(cast("list[Any]", value)) == argument
        case "$mod":
            divisor, remainder = argument
            return lambda value: type(value) is int and _remainder(value, divisor) == remainder
        case "$regex":
            pattern = compile_pattern(argument)
            return lambda value: isinstance(value, str) and pattern.search(value)
        case "$beginsWith":
            return lambda value: isinstance(value, str) and value.startswith(argument)
        case _:
            return _elements_test(operator, _compile(argument, _compile_on_element))


def _comparison(operator: str, wanted: bytes, key: Callable[[Any], bytes]) -> _Test:
    match operator:
        case "$eq":
            return lambda value: key(value) == wanted
        case "$ne":
            return lambda value: key(value) != wanted
        case "$lt":
            return lambda value: key(value) < wanted
        case "$lte":
            return lambda value: key(value) <= wanted
        case "$gt":
            return lambda value: key(value) > wanted
        case _:
            return lambda value: key(value) >= wanted


def _elements_test(operator: str, part: _Part) -> _Test:
    match operator:
        case "$elemMatch":
            return lambda value: isinstance(value, list) and any(part("", v) for v in cast("list[Any]", value))
        case "$allMatch":
            return lambda value: (
                isinstance(value, list) and bool(value) and all(part("", v) for v in cast("list[Any]", value))
            )
        case _:
            return lambda value: isinstance(value, dict) and any(part("", k) for k in cast("Selector", value))


def _items(value: Any) -> Sequence[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else (value,)


def _id_key(value: Any) -> bytes:
    """Ids are compared by their bytes, and as strings with other types."""
    return sort_key("")[:1] + value.encode("utf-8", "surrogatepass") if isinstance(value, str) else sort_key(value)


def _remainder(value: int, divisor: int) -> int:
    """The remainder with the sign of the value, as in Erlang."""
    rest = abs(value) % abs(divisor)
    return -rest if value < 0 else rest


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
