"""What the audience sees: acts, steps with the time they took, progress, two trees; plain lines when piped."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.tree import Tree

from inglenook.demo.person import Entry

PLAIN_WIDTH = 400
WIDEST = 120
SHOWN_FILES = 3
"""Files of a folder that a tree shows; the others are counted."""


class Stage:
    """The terminal, or whatever takes the output. `picture`: keep what is shown, for `save`."""

    def __init__(self, *, picture: bool = False) -> None:
        console = Console(highlight=False)
        self.plain = not console.is_terminal and not picture
        if self.plain:
            console = Console(highlight=False, width=PLAIN_WIDTH, no_color=True)
        elif picture:
            console = Console(highlight=False, width=110, record=True, force_terminal=True, file=StringIO())
        elif console.width > WIDEST:
            console = Console(highlight=False, width=WIDEST)
        self._console = console
        self._moves = console.is_terminal and not picture
        self._acts = 0

    def open(self, title: str, subtitle: str) -> None:
        """Say what this is."""
        if self.plain:
            self._console.print(f"{title}: {subtitle}")
        else:
            self._console.print(Panel(f"[bold]{title}[/]\n{subtitle}", border_style="cyan", padding=(0, 2)))

    def act(self, title: str) -> None:
        """Begin a new act."""
        self._acts += 1
        self._console.print()
        self._console.print(f"[bold cyan]{self._acts}[/]  [bold]{escape(title)}[/]")

    def done(self, text: str, seconds: float | None = None, aside: str = "") -> None:
        """A step that has succeeded, with the time that it took."""
        self._step("[green]✓[/]", text, seconds, aside)

    def failed(self, text: str) -> None:
        """A step that has not."""
        self._step("[red]✗[/]", text, None, "")

    def note(self, text: str) -> None:
        """A line of explanation."""
        self._console.print(f"   [dim]{escape(text)}[/]")

    @contextmanager
    def progress(self, text: str, size: int) -> Generator[Moving]:
        """A bar that moves while bytes do; a step of its own when it is through."""
        columns = (
            TextColumn("   {task.description}"),
            BarColumn(None, complete_style="cyan", finished_style="green"),
            DownloadColumn(),
            TransferSpeedColumn(),
            TextColumn("{task.fields[files]}"),
        )
        bar = Progress(*columns, console=self._console, transient=True, disable=not self._moves)
        started = time.monotonic()
        with bar:
            moving = Moving(bar, bar.add_task(text, total=size, files=""))
            yield moving
        seconds = time.monotonic() - started
        aside = f"{moving.files}, " if moving.files else ""
        self.done(text, seconds, f"{aside}{decimal(size)}, {decimal(int(size / seconds))}/s")

    def trees(self, left: str, one: Mapping[str, Entry], right: str, other: Mapping[str, Entry]) -> None:
        """Two trees side by side; a mark stands where both have the same."""
        if self.plain:
            for path in sorted({*one, *other}):
                self._console.print(f"   {'=' if _same(path, one, other) else '!'}  {path}", markup=False)
            return
        table = Table.grid(padding=(0, 3), expand=True)
        table.add_column(ratio=1)
        table.add_column(ratio=1)
        table.add_row(_tree(left, one, other), _tree(right, other, one))
        self._console.print(Padding(table, (0, 0, 0, 3)))

    def verdict(self, text: str, *, good: bool) -> None:
        """The result."""
        self._console.print()
        if self.plain:
            self._console.print(f"{'OK' if good else 'FAILED'}: {text}", markup=False)
        else:
            style = "green" if good else "red"
            self._console.print(Panel(f"[bold {style}]{'✓' if good else '✗'}[/]  {escape(text)}", border_style=style))

    def farewell(self, logins: list[tuple[str, str, str]], commands: list[str], end: str) -> None:
        """What to do next: names with addresses and passphrases, commands to type, and how it ends."""
        self._console.print("\n[bold]Look yourself[/]")
        for name, address, passphrase in logins:
            text = f"   {name:<6} [bold cyan]{escape(address)}[/]   passphrase: [bold]{escape(passphrase)}[/]"
            self._console.print(text, soft_wrap=True)
        self._console.print()
        for command in commands:
            self._console.print(f"   {command}", markup=False, soft_wrap=True)
        self._console.print(f"\n   [dim]{escape(end)}[/]", soft_wrap=True)

    def save(self, path: Path) -> None:
        """Write what was shown as a picture (SVG) that asks no other server for a font."""
        drawn = self._console.export_svg(title="inglenook demo")
        path.write_text(re.sub(r"@font-face\s*\{.*?\}\s*", "", drawn, flags=re.DOTALL), encoding="utf-8")

    def _step(self, mark: str, text: str, seconds: float | None, aside: str) -> None:
        if self.plain:
            took = "" if seconds is None else f"  ({_duration(seconds)})"
            self._console.print(f"   {mark} {escape(text)}{'  ' + escape(aside) if aside else ''}{took}")
            return
        table = Table.grid(expand=True, padding=(0, 1))
        table.add_column(width=4, justify="right")
        table.add_column(ratio=1)
        table.add_column(justify="right", style="dim")
        table.add_column(justify="right", style="cyan", min_width=8)
        table.add_row(mark, escape(text), escape(aside), "" if seconds is None else _duration(seconds))
        self._console.print(table)


class Moving:
    """A bar that moves. `files` is said beside it."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self.files = ""

    def by(self, size: int) -> None:
        """So many bytes more."""
        self._bar.advance(self._task, size)

    def to(self, size: int, files: str) -> None:
        """So many bytes by now."""
        self.files = files
        self._bar.update(self._task, completed=size, files=files)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _same(path: str, one: Mapping[str, Entry], other: Mapping[str, Entry]) -> bool:
    a, b = one.get(path), other.get(path)
    return a is not None and b is not None and (a.folder, a.size, a.md5) == (b.folder, b.size, b.md5)


def _tree(title: str, own: Mapping[str, Entry], other: Mapping[str, Entry]) -> Tree:
    root = Tree(f"[bold]{escape(title)}[/]", guide_style="dim")
    folders = {"": root}
    hidden: dict[str, list[str]] = {}
    shown: dict[str, int] = {}
    for path in sorted(own, key=lambda path: (path.count("/"), not own[path].folder, path)):
        above, _, name = path.rpartition("/")
        mark = "[green]✓[/]" if _same(path, own, other) else "[red]✗[/]"
        if own[path].folder:
            folders[path] = folders[above].add(f"{mark} [bold blue]{escape(name)}/[/]")
            continue
        shown[above] = shown.get(above, 0) + 1
        if shown[above] > SHOWN_FILES and _same(path, own, other):
            hidden.setdefault(above, []).append(path)
        else:
            folders[above].add(f"{mark} {escape(name)} [dim]{decimal(own[path].size)}[/]")
    for above, paths in hidden.items():
        size = decimal(sum(own[path].size for path in paths))
        folders[above].add(f"[green]✓[/] [dim]… and {len(paths)} more, {size}[/]")
    return root
