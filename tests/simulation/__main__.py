"""Play scenarios from the command line: `PYTHONHASHSEED=0 python -m tests.simulation --from 0 --count 300`.

Prints each broken seed with its story and the command that plays it again; exit status 1 when there was one.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys

import structlog

from .play import KINDS, play


def main() -> int:
    """Play the asked range of seeds."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--seed", nargs="+", help="these seeds alone")
    parser.add_argument("--kind", choices=("folder", "crowd", "storm", "mixed", "town", "all"), default="all")
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("--story", action="store_true", help="print what happens")
    parser.add_argument("--wire", action="store_true", help="put the requests between servers in the story")
    parser.add_argument("--verbose", action="store_true", help="show the log of the servers")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # the order of sets must not depend on chance
        words = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, words, {**os.environ, "PYTHONHASHSEED": "0"})
    numbers = range(options.first, options.first + options.count)
    kinds = {
        "folder": KINDS[:1],
        "crowd": KINDS[1:2],
        "storm": KINDS[2:3],
        "mixed": KINDS[3:4],
        "town": KINDS[4:],
        "all": KINDS[:3],
    }[options.kind]
    named = [f"{kinds[n % len(kinds)]}{n}" for n in numbers]
    seeds: list[str] = options.seed or named
    if not options.verbose:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    gc.freeze()  # what all scenarios have in common is not looked through again and again
    gc.set_threshold(50_000, 20, 100)
    broken = 0
    for seed in seeds:
        failure = play(seed, story=options.story, wire=options.wire)
        if failure is None:
            continue
        broken += 1
        print(failure, flush=True)
        print(f"replay: python -m tests.simulation --seed {seed}\n")
        if not options.keep_going:
            break
    print(f"{len(seeds)} scenarios, {broken} broken" if broken else f"{len(seeds)} scenarios, all well")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
