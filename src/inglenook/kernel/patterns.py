"""Regular expressions of strangers (`$regex` of spec/01 §9.4): the common part of PCRE, matched in linear time.

A backtracking matcher can be kept busy for years by a short pattern; this one follows all alternatives at once
(https://swtch.com/~rsc/regexp/regexp2.html) and only tells whether there is a match. A look ahead is
understood at the start of the text (`^(?!…)`), where it is a second pattern. Back-references, look-around elsewhere and
possessive or atomic groups are refused. `\\d`, `\\w`, `\\s` and `\\b` are about ASCII, as in PCRE by default.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

MAX_STEPS = 3000  # of a compiled pattern
MAX_DEPTH = 50  # of groups
MAX_CACHED = 2000  # sets of steps remembered while matching

Test = Callable[[str], bool]

_DIGITS = frozenset(string.digits)
_WORD = frozenset(string.ascii_letters + string.digits + "_")
_SPACE = frozenset(" \t\n\r\f\v")
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACE, "h": frozenset(" \t"), "v": frozenset("\n\v\f\r")}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "e": "\x1b", "a": "\x07"}
_POSIX = {
    "alpha": frozenset(string.ascii_letters),
    "digit": _DIGITS,
    "alnum": frozenset(string.ascii_letters + string.digits),
    "upper": frozenset(string.ascii_uppercase),
    "lower": frozenset(string.ascii_lowercase),
    "space": _SPACE,
    "blank": frozenset(" \t"),
    "punct": frozenset(string.punctuation),
    "word": _WORD,
    "xdigit": frozenset(string.hexdigits),
}

# where a position is, as bits
_START, _END, _LAST_LINE, _LINE_START, _LINE_END, _BOUNDARY, _NO_BOUNDARY = (1 << bit for bit in range(7))
_ANCHORS = {"A": _START, "z": _END, "Z": _LAST_LINE, "b": _BOUNDARY, "B": _NO_BOUNDARY}


class PatternError(ValueError):
    """The pattern is malformed, too large, or of a kind that is refused."""


class _Step(NamedTuple):
    """One instruction: read a character, go on in one of two ways, be at a place, or be done."""

    kind: Literal["read", "fork", "place", "done"]
    test: Test | None = None
    place: int = 0
    first: int = 0
    second: int = 0


class _Node(NamedTuple):
    """A part of a parsed pattern. `repeat` is (least, most), most None without bound."""

    kind: Literal["read", "place", "sequence", "choice", "repeat"]
    test: Test | None = None
    place: int = 0
    parts: tuple[_Node, ...] = ()
    repeat: tuple[int, int | None] = (1, 1)


class Pattern:
    """A compiled pattern."""

    def __init__(self, text: str) -> None:
        """Raises PatternError."""
        self._steps: list[_Step] = []
        self._budget = 2 * MAX_STEPS
        looks, text = _looks_ahead(text)
        self._looks = [(Pattern(ahead), wanted) for ahead, wanted in looks]
        self._emit(_Parser(text).parse())
        self._steps.append(_Step("done"))
        self._closures: dict[tuple[frozenset[int], int], tuple[bool, tuple[int, ...]]] = {}

    def search(self, text: str) -> bool:
        """Whether the pattern matches anywhere in a text."""
        if any(ahead.search(text) is not wanted for ahead, wanted in self._looks):
            return False
        steps = self._steps
        reached: set[int] = set()
        before = ""
        for position in range(len(text) + 1):
            after = text[position : position + 1]
            reached.add(0)
            matched, readers = self._closure(frozenset(reached), _place(before, after, len(text) - position))
            if matched:
                return True
            reached = {at + 1 for at in readers if after and (test := steps[at].test) is not None and test(after)}
            before = after
        return False

    def _closure(self, reached: frozenset[int], place: int) -> tuple[bool, tuple[int, ...]]:
        """All that can be reached without reading: whether it is the end, and the steps that read."""
        known = self._closures.get((reached, place))
        if known is not None:
            return known
        seen: set[int] = set()
        readers: list[int] = []
        matched = False
        todo = list(reached)
        while todo:
            at = todo.pop()
            if at in seen:
                continue
            seen.add(at)
            step = self._steps[at]
            match step.kind:
                case "read":
                    readers.append(at)
                case "fork":
                    todo += (step.first, step.second)
                case "place":
                    if step.place & place:
                        todo.append(at + 1)
                case "done":
                    matched = True
        if len(self._closures) >= MAX_CACHED:
            self._closures.clear()
        self._closures[reached, place] = matched, tuple(readers)
        return matched, tuple(readers)

    def _emit(self, node: _Node) -> None:
        steps = self._steps
        self._budget -= 1
        if len(steps) > MAX_STEPS or self._budget < 0:
            raise PatternError("the pattern is too large")
        match node.kind:
            case "read":
                steps.append(_Step("read", test=node.test))
            case "place":
                steps.append(_Step("place", place=node.place))
            case "sequence":
                for part in node.parts:
                    self._emit(part)
            case "choice":
                self._emit_choice(node.parts)
            case "repeat":
                self._emit_repeat(node.parts[0], *node.repeat)

    def _emit_choice(self, parts: tuple[_Node, ...]) -> None:
        steps = self._steps
        jumps: list[int] = []
        for part in parts[:-1]:
            fork = len(steps)
            steps.append(_Step("fork"))
            self._emit(part)
            jumps.append(len(steps))
            steps.append(_Step("fork"))
            steps[fork] = _Step("fork", first=fork + 1, second=len(steps))
        self._emit(parts[-1])
        for jump in jumps:
            steps[jump] = _Step("fork", first=len(steps), second=len(steps))

    def _emit_repeat(self, part: _Node, least: int, most: int | None) -> None:
        steps = self._steps
        for _ in range(least):
            self._emit(part)
        if most is None:
            fork = len(steps)
            steps.append(_Step("fork"))
            self._emit(part)
            steps.append(_Step("fork", first=fork, second=fork))
            steps[fork] = _Step("fork", first=fork + 1, second=len(steps))
            return
        forks: list[int] = []
        for _ in range(most - least):
            forks.append(len(steps))
            steps.append(_Step("fork"))
            self._emit(part)
        for fork in forks:
            steps[fork] = _Step("fork", first=fork + 1, second=len(steps))


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> Pattern:
    """The compiled form of a pattern. Raises PatternError."""
    return Pattern(text)


def _place(before: str, after: str, left: int) -> int:
    boundary = (before in _WORD) != (after in _WORD)
    return (
        (0 if before else _START)
        | (0 if after else _END)
        | (_LAST_LINE if left == 0 or (left == 1 and after == "\n") else 0)
        | (_LINE_START if before in ("", "\n") else 0)
        | (_LINE_END if after in ("", "\n") else 0)
        | (_BOUNDARY if boundary else _NO_BOUNDARY)
    )


def _looks_ahead(text: str) -> tuple[list[tuple[str, bool]], str]:
    """The looks ahead right behind the `^` that a pattern begins with, each a pattern and whether it must match, and
    the pattern without them."""
    looks: list[tuple[str, bool]] = []
    rest = text
    while rest.startswith(("^(?!", "^(?=")):
        end = _closing(rest, 1)
        looks.append((f"^(?:{rest[4:end]})", rest[3] == "="))
        rest = "^" + rest[end + 1 :]
    if looks and _has_choice(rest):
        raise PatternError("a look ahead stands for all of the pattern")
    return looks, rest


def _closing(text: str, opening: int) -> int:
    """The place of the parenthesis that closes the one at a place. Raises PatternError."""
    depth = 0
    for at, character in _outside_of_classes(text):
        if at >= opening:
            depth += (character == "(") - (character == ")")
            if not depth:
                return at
    raise PatternError("a group has no end")


def _has_choice(text: str) -> bool:
    depth = 0
    for _, character in _outside_of_classes(text):
        depth += (character == "(") - (character == ")")
        if character == "|" and not depth:
            return True
    return False


def _outside_of_classes(text: str) -> Iterator[tuple[int, str]]:
    """The characters that mean something: neither escaped nor in brackets."""
    at, in_class = 0, False
    while at < len(text):
        character = text[at]
        if character == "\\":
            at += 2
            continue
        if in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
            # a bracket that stands first is a character of its class
            at += 2 if text.startswith("^]", at + 1) else 1 if text.startswith("]", at + 1) else 0
        else:
            yield at, character
        at += 1


@dataclass
class _Parser:
    """Reads a pattern by recursive descent; groups may be 50 deep."""

    text: str
    at: int = 0
    depth: int = 0
    ignore_case: bool = False
    dot_all: bool = False
    multi_line: bool = False

    def parse(self) -> _Node:
        self._leading_flags()
        node = self._choice()
        if self.at < len(self.text):
            raise PatternError("unmatched )")
        return node

    def _leading_flags(self) -> None:
        end = self.text.find(")")
        if self.text.startswith("(?") and end > 2 and set(self.text[2:end]) <= set("ims"):
            flags = self.text[2:end]
            self.ignore_case, self.multi_line, self.dot_all = "i" in flags, "m" in flags, "s" in flags
            self.at = end + 1

    def _choice(self) -> _Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise PatternError("too many groups in groups")
        parts = [self._sequence()]
        while self._peek() == "|":
            self.at += 1
            parts.append(self._sequence())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else _Node("choice", parts=tuple(parts))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._atom()))
        return _Node("sequence", parts=tuple(parts))

    def _repeated(self, node: _Node) -> _Node:
        bounds = self._bounds()
        if bounds is None:
            return node
        if node.kind == "place":
            raise PatternError("nothing to repeat")
        if self._peek() == "?":
            self.at += 1  # a lazy match is a match
        if self._peek() == "+" or self._bounds() is not None:
            raise PatternError("multiple repeat")
        return _Node("repeat", parts=(node,), repeat=bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        char = self._peek()
        if char and char in "*+?":
            self.at += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        end = self.text.find("}", self.at)
        if char != "{" or end < 0:
            return None
        low, comma, high = self.text[self.at + 1 : end].partition(",")
        if not _is_count(low) or not (high == "" or _is_count(high)):
            return None  # a brace that is no bound is a character
        self.at = end + 1
        least, most = int(low), (int(high) if high else None) if comma else int(low)
        if least > MAX_STEPS or (most is not None and not least <= most <= MAX_STEPS):
            raise PatternError("bad repeat")
        return least, most

    def _atom(self) -> _Node:
        char = self._next()
        match char:
            case "(":
                return self._group()
            case "[":
                return _Node("read", test=self._set())
            case ".":
                return _Node("read", test=(lambda _: True) if self.dot_all else (lambda char: char != "\n"))
            case "^":
                return _Node("place", place=_LINE_START if self.multi_line else _START)
            case "$":
                return _Node("place", place=_LINE_END if self.multi_line else _LAST_LINE)
            case "*" | "+" | "?":
                raise PatternError("nothing to repeat")
            case "\\":
                if self._peek() in _ANCHORS:
                    return _Node("place", place=_ANCHORS[self._next()])
                return _Node("read", test=self._one_of(self._escape()))
            case _:
                return _Node("read", test=self._one_of(char))

    def _group(self) -> _Node:
        if self._peek() == "?":
            self._group_kind()
        node = self._choice()
        if self._peek() != ")":
            raise PatternError("missing )")
        self.at += 1
        return node

    def _group_kind(self) -> None:
        """Skip `?:`, `?<name>` or `?P<name>`; other kinds are refused."""
        if self.text.startswith("?:", self.at):
            self.at += 2
            return
        start = next((start for start in ("?<", "?P<") if self.text.startswith(start, self.at)), None)
        end = self.text.find(">", self.at)
        if start is None or end < 0 or not self.text[self.at + len(start) : end].isidentifier():
            raise PatternError("this kind of group is not supported")
        self.at = end + 1

    def _escape(self) -> str | Test:
        """What an escape stands for, behind the backslash: a character, or a test for a class of them."""
        char = self._next()
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "x":
            return self._code()
        if char.lower() in _CLASSES and char.isascii():
            members, negated = _CLASSES[char.lower()], char.isupper()
            return lambda char: (char in members) != negated
        if char.isascii() and char.isalnum():
            raise PatternError(f"\\{char} is not supported")
        return char

    def _code(self) -> str:
        if self._peek() == "{":
            end = self.text.find("}", self.at)
            digits = self.text[self.at + 1 : end] if end > 0 else ""
            self.at = end + 1
        else:
            digits = self.text[self.at : self.at + 2]
            self.at += 2
        if not digits or not set(digits) <= set(string.hexdigits) or int(digits, 16) > 0x10FFFF:
            raise PatternError("bad character code")
        return chr(int(digits, 16))

    def _set(self) -> Test:
        negated = self._peek() == "^"
        if negated:
            self.at += 1
        members: list[Test] = []
        first = True
        while first or self._peek() != "]":
            first = False
            low = self._member()
            if isinstance(low, str) and self._peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self._member()
                if not isinstance(high, str) or high < low:
                    raise PatternError("bad range")
                members.append(self._range(low, high))
            else:
                members.append(self._one_of(low))
        self.at += 1
        return lambda char: any(member(char) for member in members) != negated

    def _member(self) -> str | Test:
        if self.text.startswith("[:", self.at):
            end = self.text.find(":]", self.at)
            name = self.text[self.at + 2 : end] if end > 0 else ""
            if name in _POSIX:
                self.at = end + 2
                members = _POSIX[name]
                return lambda char: char in members
        char = self._next()
        if char != "\\":
            return char
        if self._peek() == "b":
            self.at += 1
            return "\b"
        return self._escape()

    def _range(self, low: str, high: str) -> Test:
        if self.ignore_case:
            return lambda char: low <= char <= high or low <= char.lower() <= high or low <= char.upper() <= high
        return lambda char: low <= char <= high

    def _one_of(self, char: str | Test) -> Test:
        if not isinstance(char, str):
            return char
        if self.ignore_case:
            folded = char.lower()
            return lambda other: other.lower() == folded
        return lambda other: other == char

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _next(self) -> str:
        char = self._peek()
        if not char:
            raise PatternError("the pattern ends too early")
        self.at += 1
        return char


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5
