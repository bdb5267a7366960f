"""The page of an app as a template: the part of Go's template language that pages use (spec/03 §12.4 step 11, §12.5).

`{{.Name}}` is replaced by a variable, escaped for the place where it stands: text, attribute or script. Besides,
`{{if .Name}} … {{else}} … {{end}}` and comments are understood, and the markers `{{-` and `-}}` that eat white space.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal


class Markup(str):
    """A value that is HTML already: it goes into the text of the page as it is."""

    __slots__ = ()


Value = str | bool
Place = Literal["text", "attribute", "unquoted", "script", "script string"]


class NoTemplate(Exception):
    """The text is not a template that can be read: it is meant to be sent as it is."""


class UnknownVariable(Exception):
    """The template names a variable that does not exist."""


@dataclass(frozen=True, slots=True)
class _Text:
    text: str


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class _Condition:
    name: str
    then: tuple[_Node, ...]
    otherwise: tuple[_Node, ...]


_Node = _Text | _Variable | _Condition

_DEEPEST = 50  # conditions within conditions
_ACTION = re.compile(r"\{\{(-\s)?((?:[^{}]|\{(?!\{)|\}(?!\}))*?)(\s-)?\}\}", re.DOTALL)
_NAME = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)\Z", re.ASCII)
_SCRIPT = re.compile(r"<(/?)script\b[^>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[a-zA-Z][^<>]*\Z")
_IN_QUOTES = re.compile(r"=\s*(\"[^\"]*|'[^']*)\Z")
_AFTER_EQUALS = re.compile(r"=\s*[^\s\"'>]*\Z")

_HTML = {"\0": "�", '"': "&#34;", "&": "&amp;", "'": "&#39;", "+": "&#43;", "<": "&lt;", ">": "&gt;"}
_UNQUOTED = {**_HTML, **{character: f"&#{ord(character)};" for character in "\t\n\v\f\r =`"}}
_SCRIPT_ESCAPES = {character: f"\\u{ord(character):04x}" for character in "<>&'+`\u2028\u2029"}


class Template:
    """A page that can be filled in. Raises NoTemplate when the text cannot be read as one."""

    def __init__(self, text: str) -> None:
        reader = _Reader(text)
        self._nodes = reader.nodes(ends=False)

    def render(self, variables: Mapping[str, Value]) -> str:
        """The page with its variables. Raises UnknownVariable."""
        written: list[str] = []
        _write(self._nodes, variables, written)
        return "".join(written)


@lru_cache(maxsize=32)
def template(page: str) -> Template | None:
    """The template that the text of a page is, with its warnings; None when it is none."""
    try:
        return Template(_with_warnings(page))
    except NoTemplate:
        return None


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._eat = False  # whether the last action eats the white space after it
        self._seen = ""  # what stands before the current place, without actions

    def nodes(self, *, ends: bool) -> tuple[_Node, ...]:
        """Read up to the end of the text, or (`ends`) up to `else` or `end`, which is left for the caller."""
        nodes: list[_Node] = []
        while True:
            action = _ACTION.search(self._text, self._at)
            opening = self._text.find("{{", self._at)
            if opening >= 0 and (action is None or opening < action.start()):
                raise NoTemplate
            text = self._text[self._at : action.start() if action else len(self._text)]
            if self._eat:
                text = text.lstrip()
            if action and action[1]:
                text = text.rstrip()
            self._seen += text
            nodes.append(_Text(text))
            if action is None:
                if ends:
                    raise NoTemplate
                return tuple(nodes)
            word = action[2].strip()
            if word in ("else", "end"):
                if not ends:
                    raise NoTemplate
                self._at = action.start()
                return tuple(nodes)
            self._at = action.end()
            self._eat = bool(action[3])
            if word.startswith("/*") and word.endswith("*/"):
                continue
            if word.startswith("if "):
                nodes.append(self._condition(word[2:].strip()))
            else:
                nodes.append(_Variable(_name(word), _place(self._seen)))

    def _condition(self, word: str) -> _Condition:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise NoTemplate
        then = self.nodes(ends=True)
        otherwise: tuple[_Node, ...] = ()
        if self._take() == "else":
            otherwise = self.nodes(ends=True)
            if self._take() != "end":
                raise NoTemplate
        self._depth -= 1
        return _Condition(_name(word), then, otherwise)

    def _take(self) -> str:
        action = _ACTION.match(self._text, self._at)
        assert action is not None, "the caller stopped before an action"
        self._at = action.end()
        self._eat = bool(action[3])
        return action[2].strip()


def _with_warnings(page: str) -> str:
    """A template that also shows the warnings: before the end of its head, else in a head of its own."""
    head = re.search(r"</head>", page, re.IGNORECASE)
    if head:
        return page[: head.start()] + "{{.Warnings}}" + page[head.start() :]
    body = re.search(r"<body\b", page, re.IGNORECASE)
    if body:
        return page[: body.start()] + "<head>{{.Warnings}}</head>" + page[body.start() :]
    return page


def _name(word: str) -> str:
    name = _NAME.match(word)
    if name is None:
        raise NoTemplate
    return name[1]


def _place(before: str) -> Place:
    """Where a variable stands, by the text before it."""
    script = None
    for script in _SCRIPT.finditer(before):  # noqa: B007 -- the last one counts
        pass
    if script is not None and not script[1]:
        line = before[script.end() :].rpartition("\n")[2]
        return "script string" if any(line.count(quote) % 2 for quote in "\"'`") else "script"
    tag = _TAG.search(before[-4096:])
    if tag is None:
        return "text"
    if _IN_QUOTES.search(tag[0]):
        return "attribute"
    return "unquoted" if _AFTER_EQUALS.search(tag[0]) else "attribute"


def _write(nodes: tuple[_Node, ...], variables: Mapping[str, Value], written: list[str]) -> None:
    for node in nodes:
        match node:
            case _Text(text):
                written.append(text)
            case _Variable(name, place):
                written.append(_escaped(_value(variables, name), place))
            case _Condition(name, then, otherwise):
                _write(then if _value(variables, name) else otherwise, variables, written)


def _value(variables: Mapping[str, Value], name: str) -> Value:
    if name not in variables:
        raise UnknownVariable(name)
    return variables[name]


def _escaped(value: Value, place: Place) -> str:
    if place == "script":
        return _in_script(json.dumps(value if isinstance(value, bool) else str(value)))
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if place == "script string":
        return _in_script(json.dumps(text)[1:-1])
    if isinstance(value, Markup) and place == "text":
        return text
    table = _UNQUOTED if place == "unquoted" else _HTML
    return "".join(table.get(character, character) for character in text)


def _in_script(text: str) -> str:
    return "".join(_SCRIPT_ESCAPES.get(character, character) for character in text)
