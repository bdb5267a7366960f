"""What all tests know: the backend that their servers keep data in."""

from __future__ import annotations

import pytest
from tests import backend


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option `--backend`."""
    parser.addoption("--backend", choices=backend.NAMES, default="embedded", help="where servers keep their data")


def pytest_configure(config: pytest.Config) -> None:
    """Choose it before the first server starts."""
    backend.choose(config.getoption("--backend"))


def pytest_unconfigure() -> None:
    """End what it has started."""
    backend.chosen.stop()
