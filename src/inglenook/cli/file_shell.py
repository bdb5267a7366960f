"""`inglenook files exec "…"`: small commands in the files of an instance (spec/03 §16)."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from inglenook.cli.invocation import CommandFailed, Invocation
from inglenook.cli.sizes import show_size
from inglenook.files import modify, tree
from inglenook.files.authorship import server_stamp
from inglenook.files.create_directory import create_at_path, ensure_path
from inglenook.files.documents import Item
from inglenook.files.trash import trash
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import Conflict
from inglenook.storage.documents.contract import Reader, Writer


@dataclass(frozen=True, slots=True)
class Line:
    """One of these commands: the letters of its flags, its paths, and where it works."""

    call: Invocation
    instance: Instance
    flags: frozenset[str]
    paths: list[str]


async def execute(call: Invocation, instance: Instance, command: str) -> int:
    """Execute a command line; gives its exit code. Raises CommandFailed (code 2 for a wrong usage), DomainError."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise CommandFailed(f"{command}: {error}", 2) from None
    name = words[0] if words else ""
    if name not in COMMANDS:
        raise CommandFailed(f"There is no command {name or '(empty)'}; there are {', '.join(sorted(COMMANDS))}", 2)
    usage, action, least, most = COMMANDS[name]
    flags = frozenset(letter for word in words[1:] if word.startswith("-") and word != "-" for letter in word[1:])
    paths = [clean(word) for word in words[1:] if not word.startswith("-") or word == "-"]
    if not least <= len(paths) <= most:
        raise CommandFailed(f"Usage: {usage}", 2)
    await action(Line(call, instance, flags, paths))
    return 0


def clean(path: str) -> str:
    """An absolute path without what changes nothing; `..` goes one up."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


async def _ls(line: Line) -> None:
    item = await _find(line, line.paths[0] if line.paths else "/")

    def read(view: Reader) -> list[Item]:
        return list(tree.children(view, item.id)) if item.is_directory else [item]

    found = sorted(await line.instance.store.scan(read), key=lambda one: one.name)
    if "l" not in line.flags:
        for one in found:
            line.call.put(one.name)
        return
    rows = [[one.body["type"][0], _size(line, one), one.updated_at[:19], one.name] for one in found]
    line.call.put_table([["d" if row[0] == "d" else "-", *row[1:]] for row in rows])


async def _tree(line: Line) -> None:
    top = await _find(line, line.paths[0] if line.paths else "/")
    line.call.put(line.paths[0] if line.paths else "/")
    waiting = [(top, "")]
    while waiting:
        item, indent = waiting.pop()
        if indent:
            line.call.put(f"{indent}{item.name}{'/' if item.is_directory else ''}")
        if item.is_directory:
            below = await line.instance.store.scan(lambda view, id=item.id: list(tree.children(view, id)))
            waiting += [(one, indent + "  ") for one in sorted(below, key=lambda one: one.name, reverse=True)]


async def _attrs(line: Line) -> None:
    item = await _find(line, line.paths[0])
    line.call.put_json({"_id": item.id, "_rev": item.rev, **item.body})


async def _mkdir(line: Line) -> None:
    path, stamp = line.paths[0], server_stamp(line.instance)
    there = await line.instance.store.read(lambda view: tree.at_path(view, path))
    if there is not None and not ("p" in line.flags and there.is_directory):
        raise Conflict(f"{path} is there already")

    def make(tx: Writer) -> Item:
        if "p" in line.flags:
            return ensure_path(tx, path, stamp)
        if tree.at_path(tx, path.rpartition("/")[0] or "/") is None:
            raise CommandFailed(f"There is no {path.rpartition('/')[0]}: mkdir -p {path}")
        return create_at_path(tx, path, (), stamp)

    await line.instance.store.write(make)


async def _mv(line: Line) -> None:
    source, target = line.paths
    item = await _find(line, source)
    there = await line.instance.store.read(lambda view: tree.at_path(view, target))
    if there is not None and there.is_directory:
        patch = modify.Patch(dir_id=there.id)
    else:
        folder, _, name = target.rpartition("/")
        patch = modify.Patch(dir_id=(await _find(line, folder or "/")).id, name=name)
    stamp = server_stamp(line.instance)
    await line.instance.store.write(lambda tx: modify.modify(tx, item, patch, stamp))


async def _rm(line: Line) -> None:
    item = await _find(line, line.paths[0])
    full = item.is_directory and await line.instance.store.read(lambda view: tree.has_children(view, item.id))
    if full and "r" not in line.flags:
        raise CommandFailed(f"{line.paths[0]} is a folder that is not empty: rm -r {line.paths[0]}")
    stamp, random = server_stamp(line.instance), line.instance.env.random
    await line.instance.store.write(lambda tx: trash(tx, item, stamp, random))


async def _find(line: Line, path: str) -> Item:
    found = await line.instance.store.read(lambda view: tree.at_path(view, path))
    if found is None:
        raise CommandFailed(f"There is no {path} in {line.instance.domain}")
    return found


def _size(line: Line, item: Item) -> str:
    if item.is_directory:
        return "-"
    return show_size(item.size) if "h" in line.flags else str(item.size)


COMMANDS: Mapping[str, tuple[str, Callable[[Line], Awaitable[None]], int, int]] = {
    "ls": ("ls [-l] [-h] [PATH]", _ls, 0, 1),
    "tree": ("tree [PATH]", _tree, 0, 1),
    "attrs": ("attrs PATH", _attrs, 1, 1),
    "mkdir": ("mkdir [-p] PATH", _mkdir, 1, 1),
    "mv": ("mv PATH TO", _mv, 2, 2),
    "rm": ("rm [-r] PATH", _rm, 1, 1),
}
"""Each with its usage, what it does, and how many paths it takes."""
