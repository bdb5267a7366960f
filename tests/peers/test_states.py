"""What several processes know of other servers, as one list (spec/10 §3)."""

from __future__ import annotations

from datetime import UTC, datetime

from inglenook.peers.states import PeerState, joined

NINE, TEN = (datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (9, 10))


def test_the_worst_state_and_the_latest_news_are_told() -> None:
    well = PeerState("b.example", "ok", 2, latency_ms=10.0, last_success=TEN, waiting=1, extensions={"batch": 1})
    ill = PeerState("b.example", "open", 0, 30.0, failures=4, last_success=NINE, last_error="gone", last_error_at=NINE)
    alone = PeerState("a.example", "ok", 0)
    [first, both] = joined([well, ill, alone])
    assert first == alone
    assert both == PeerState(
        "b.example", "open", 2, 20.0, failures=4, last_success=TEN, last_error="gone", last_error_at=NINE, waiting=1,
        extensions={"batch": 1},
    )  # fmt: skip
