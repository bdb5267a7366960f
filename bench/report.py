"""The table of all figures, and the JSON that is kept of them."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figures import FLOOR, OURS, SYNCTHING, Figure

RESULTS = Path(__file__).parent / "results"


def show(figures: list[Figure], console: Console) -> None:
    """Print the table."""
    table = Table(title="Inglenook, Syncthing and the floor, in one run", title_justify="left", pad_edge=False)
    table.add_column("work", overflow="fold")
    for name in ("unit", "Inglenook", "Syncthing", "floor", "/ Syncthing", "/ floor"):
        table.add_column(name, justify="right")
    table.add_column("goal", overflow="fold")
    for figure in figures:
        values = (_number(figure.values.get(name)) for name in (OURS, SYNCTHING, FLOOR))
        ratios = (_ratio(figure, name) for name in (SYNCTHING, FLOOR))
        table.add_row(figure.work, figure.unit, *values, *ratios, figure.goal)
    console.print(table)
    for figure in figures:
        for name in figure.values.keys() - {OURS, SYNCTHING, FLOOR}:
            console.print(f"{figure.work}: {name}: {_number(figure.values[name])} {figure.unit}", style="dim")


def keep(figures: list[Figure]) -> Path:
    """Write the figures with what they were measured on; gives the file."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    about = {
        "at": now.isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    path = RESULTS / f"{now:%Y%m%dT%H%M%S}.json"
    path.write_text(json.dumps({**about, "figures": [figure.to_json() for figure in figures]}, indent=2) + "\n")
    return path


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _ratio(figure: Figure, name: str) -> str:
    ratio = figure.ratio(name)
    if ratio is None:
        return ""
    good = ratio >= 1 if figure.more_is_better else ratio <= 1
    return f"[green]{ratio:.2f}x[/]" if good else f"{ratio:.2f}x"
