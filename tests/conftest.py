"""What all tests know: the backend that their servers keep data in, and the patience of the property tests."""

from __future__ import annotations

import hypothesis
import pytest
from tests import backend

hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option `--backend`."""
    parser.addoption("--backend", choices=backend.NAMES, default="embedded", help="where servers keep their data")


def pytest_configure(config: pytest.Config) -> None:
    """Choose it before the first server starts."""
    backend.choose(config.getoption("--backend"))


def pytest_unconfigure() -> None:
    """End what it has started."""
    backend.chosen.stop()
