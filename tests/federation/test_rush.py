"""Many requests for the same thing at the same moment: see `rush`. `--backend` says how many processes answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import Town
from .people import Person
from .rush import RUSHES, is_whole


@pytest.mark.parametrize("rush", RUSHES, ids=lambda rush: rush.__name__)
def test_at_the_same_moment(town: Town, rush: Callable[[Person], None]) -> None:
    rush(town.alice)
    is_whole(town.alice)
