"""Many requests for the same thing at the same moment, answered by two processes over PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.federation.people import Person
from tests.federation.rush import RUSHES, is_whole

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("rush", RUSHES, ids=lambda rush: rush.__name__)
def test_at_the_same_moment(alice: Person, rush: Callable[[Person], None]) -> None:
    rush(alice)
    is_whole(alice)
