"""A circuit breaker: a server that fails again and again is left alone for a while (DESIGN, idea 4).

While the circuit is closed everything passes. After some failures in a row it opens: requests fail at once, until
a delay has passed. Then one request, the probe, may try; its failure opens the circuit for longer, any success
closes it. No I/O and no clock of its own: `now` is given, in seconds.
"""

from __future__ import annotations

from inglenook.peers.backoff import delay

THRESHOLD = 3
"""Failures in a row that open the circuit."""

CEILING = 30.0
"""Seconds between two probes, at most."""


class Circuit:
    """The circuit of one host."""

    __slots__ = ("_probing", "failures", "next_try", "openings")

    def __init__(self) -> None:
        self.failures = 0
        self.openings = 0
        self.next_try = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether the host is being left alone."""
        return self.openings > 0

    def wait(self, now: float) -> float:
        """Seconds until a request may pass; 0 when it may pass now."""
        if not self.is_open:
            return 0.0
        if self._probing:
            return max(self.next_try - now, 1.0)
        return max(self.next_try - now, 0.0)

    def enter(self) -> bool:
        """A request passes (`wait` said 0); True when it is the probe."""
        if not self.is_open:
            return False
        self._probing = True
        return True

    def succeeded(self) -> None:
        """An exchange worked: the circuit is closed."""
        self.failures = 0
        self.openings = 0
        self.next_try = 0.0
        self._probing = False

    def failed(self, now: float, jitter: float, *, probe: bool) -> None:
        """An exchange failed. Those that were on their way when the circuit opened say nothing new."""
        self.failures += 1
        if probe:
            self._probing = False
        if probe or (not self.is_open and self.failures >= THRESHOLD):
            self.next_try = now + delay(self.openings, jitter, ceiling=CEILING)
            self.openings += 1

    def abandoned(self, *, probe: bool) -> None:
        """The exchange was given up by the one who wanted it: nothing is learned, another may probe."""
        if probe:
            self._probing = False

    def allow_now(self) -> None:
        """Let the next request through as a probe, without waiting any longer."""
        self.next_try = 0.0
