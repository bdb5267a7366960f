"""Play scenarios from the command line: `python -m tests.simulation --from 0 --count 300`.

Prints each broken seed with its story and the command that plays it again, in the order of the seeds, and in the end
how many of each kind were played and how many are broken; exit status 1 when there was one. All cores take part when
there is enough to do; on a terminal a line tells how far it is. Ctrl-C ends it with what was played until then.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field

from .play import KINDS
from .processes import Tale, in_turn, prepare, side_by_side

FEW = 8
"""Scenarios below which one process plays them all."""

STATUS = {"ended": 130, "broken": 1, "well": 0}


@dataclass
class Tally:
    """What was played: scenarios and broken ones, by kind."""

    total: int
    played: Counter[str] = field(default_factory=Counter[str])
    broken: Counter[str] = field(default_factory=Counter[str])

    def add(self, seed: str, failure: str | None) -> None:
        """One more."""
        self.played[kind_of(seed)] += 1
        if failure is not None:
            self.broken[kind_of(seed)] += 1
            clear_line()
            print(failure)
            print(f"replay: python -m tests.simulation --seed {seed}\n", flush=True)

    def show(self) -> None:
        """How far it is, on a terminal."""
        if sys.stderr.isatty():
            text = f"{self.played.total()} of {self.total} scenarios, {self.broken.total()} broken"
            print(f"\r{text}", end="", file=sys.stderr, flush=True)

    def tell(self, *, ended: bool) -> None:
        """The summary."""
        clear_line()
        for kind in sorted(self.played):
            broken = self.broken[kind]
            print(f"{kind:>8}: {self.played[kind]:6} scenarios, {f'{broken} broken' if broken else 'all well'}")
        played, broken = self.played.total(), self.broken.total()
        told = f"{played} scenarios, {f'{broken} broken' if broken else 'all well'}"
        print(f"{told}; ended before the other {self.total - played}" if ended else told)


def main() -> int:
    """Play the asked range of seeds."""
    options = arguments()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # the order of sets must not depend on chance
        words = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, words, {**os.environ, "PYTHONHASHSEED": "0"})
    seeds = seeds_of(options)
    prepare(verbose=options.verbose)
    talks = options.story or options.wire or options.verbose
    processes = 1 if talks or len(seeds) < FEW else min(options.processes or os.cpu_count() or 1, len(seeds) // 2)
    tally, ended = Tally(len(seeds)), False
    tale = Tale(options.story, options.wire)
    playing = in_turn(seeds, tale) if processes == 1 else side_by_side(seeds, processes)
    with closing(playing):
        tally.show()
        try:
            for seed, failure in playing:
                tally.add(seed, failure)
                tally.show()
                if failure is not None and not options.keep_going:
                    break
        except KeyboardInterrupt:
            ended = True
    tally.tell(ended=ended)
    return STATUS["broken" if tally.broken else "ended" if ended else "well"]


def arguments() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--seed", nargs="+", help="these seeds alone")
    parser.add_argument("--kind", choices=(*(kind_of(f"{kind}0") for kind in KINDS), "all"), default="all")
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("--processes", type=int, default=0, help="as many as there are cores, unless told")
    parser.add_argument("--story", action="store_true", help="print what happens")
    parser.add_argument("--wire", action="store_true", help="put the requests between servers in the story")
    parser.add_argument("--verbose", action="store_true", help="show the log of the servers")
    return parser.parse_args()


def seeds_of(options: argparse.Namespace) -> list[str]:
    """The seeds to play, in their order. `all` are folders, crowds and storms by turns, and a town now and then."""
    if options.seed:
        return list(options.seed)
    numbers = range(options.first, options.first + options.count)
    if options.kind != "all":
        kind = next(kind for kind in KINDS if kind_of(f"{kind}0") == options.kind)
        return [f"{kind}{number}" for number in numbers]
    return [f"town-{n}" if n % 10 == 9 else f"{KINDS[n % 3]}{n}" for n in numbers]


def kind_of(seed: str) -> str:
    """The name of the kind of a seed."""
    return seed.rpartition("-")[0] or "folder"


def clear_line() -> None:
    """Take away the line that tells how far it is."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
