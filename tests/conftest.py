"""What all tests know: the backend that their servers keep data in, and the patience of the property tests."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
from tests import backend

hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


TESTS = Path(__file__).parent
LONG_FIRST = (
    "simulation", "distributed", "federation", "cli", "contract", "clients", "browser", "attacks", "fuzz", "docs",
)  # fmt: skip
"""The order of the folders. Files go to the processes one after the other: what takes long must not be the last."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option `--backend`."""
    parser.addoption("--backend", choices=backend.NAMES, default="embedded", help="where servers keep their data")


def pytest_configure(config: pytest.Config) -> None:
    """Choose it before the first server starts."""
    backend.choose(config.getoption("--backend"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the folders whose files take long go first."""
    places = {name: place for place, name in enumerate(LONG_FIRST)}
    items.sort(key=lambda item: places.get(item.path.relative_to(TESTS).parts[0], len(places)))


def pytest_unconfigure() -> None:
    """End what it has started."""
    backend.chosen.stop()
