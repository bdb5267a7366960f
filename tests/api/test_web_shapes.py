"""What threads decode is ready before they do: else msgspec reads what another thread has not written yet."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

RACE = """
    import sys, threading
    import msgspec
    from inglenook.web import shapes

    sys.setswitchinterval(1e-6)
    FIELDS = range(40)
    raw = b"{" + b",".join(b'"f%d":{"a":[{"x":1}]}' % n for n in FIELDS) + b"}"
    source = "import msgspec\\nclass Part(msgspec.Struct):\\n  x: int\\nclass Whole(msgspec.Struct):\\n"
    source += "".join(f"  f{n}: dict[str, list[Part]] | None = None\\n" for n in FIELDS)

    def decode(struct, together):
        together.wait()
        assert msgspec.json.decode(raw, type=struct).f0["a"][0].x == 1

    for turn in range(200):
        names = {"__name__": "inglenook.made_up"}
        exec(source, names)
        shapes.make_ready()
        together = threading.Barrier(4)
        threads = [threading.Thread(target=decode, args=(names["Whole"], together)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
"""

SERVED = """
    import importlib, pkgutil
    import inglenook
    from inglenook.environment import Config, Environment
    from inglenook.web import shapes
    from inglenook.web.app import create_routing
    from inglenook.web.runtime import Runtime
    from inglenook.web import parts
    from pathlib import Path

    parts.background(Runtime(Environment(Config(data=Path({folder!r})))))
    create_routing()
    known = shapes.make_ready()
    # commands, and what makes pictures: processes of their own, or one after the other
    commands = ("inglenook.cli", "inglenook.demo", "inglenook.web.backup", "inglenook.web.restore")
    others = (*commands, "inglenook.files.rendering_process")
    for module in pkgutil.walk_packages(inglenook.__path__, "inglenook."):
        if not module.name.startswith(others) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    assert shapes.make_ready() == known, "a module with structs is imported later than the server starts"
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: it may crash."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False, timeout=120,
        env=dict(os.environ),
    )  # fmt: skip


def test_threads_that_decode_the_same_struct_for_the_first_time_do_not_crash() -> None:
    done = run(RACE)
    assert done.returncode == 0, (done.returncode, done.stderr)


def test_every_struct_of_the_server_is_known_when_it_starts(tmp_path: Path) -> None:
    done = run(SERVED.format(folder=str(tmp_path)))
    assert done.returncode == 0, done.stderr
