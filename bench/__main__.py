"""`python -m bench [--quick] [MEASUREMENT…]`: measure, print a table, keep the figures in bench/results/."""

from __future__ import annotations

import argparse
import importlib
import shutil
import tempfile
from pathlib import Path

import uvloop
from rich.console import Console

from bench.figures import QUICK, Figure, Size
from bench.report import keep, show

MEASUREMENTS = ("small_files", "large_file", "small_change", "requests", "large_copy", "traffic", "members")


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("measurement", nargs="*", help=f"of {', '.join(MEASUREMENTS)}; all of them by default")
    parser.add_argument("--quick", action="store_true", help="smaller sizes: for a look, not for the record")
    arguments = parser.parse_args()
    names: list[str] = arguments.measurement or list(MEASUREMENTS)
    for name in names:
        if name not in MEASUREMENTS:
            parser.error(f"there is no measurement {name}")
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    figures: list[Figure] = []
    for name in names:
        figures += uvloop.run(_measure(name, QUICK if arguments.quick else Size(), console))
    show(figures, console)
    console.print(f"kept in {keep(figures)}", style="dim", soft_wrap=True)


async def _measure(name: str, size: Size, console: Console) -> list[Figure]:
    folder = Path(tempfile.mkdtemp(prefix="inglenook-bench-"))
    try:
        measurement = importlib.import_module(f"bench.{name}")
        return await measurement.measure(size, folder, lambda what: console.print(f"{name}: {what} …", style="dim"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
