"""How an exchange with another server can fail (spec/05 §20, spec/04 §26).

Texts name the host only: no path, query, token or body of an exchange ever appears in an error or a log line.
"""

from __future__ import annotations

from inglenook.kernel.errors import UpstreamFailed


class PeerUnreachable(UpstreamFailed):
    """No connection to the other server could be made, or it was cut: unknown name, refused, reset, bad certificate."""


class PeerTimeout(UpstreamFailed):
    """The other server did not answer, or did not go on, in the time allowed."""


class PeerGarbage(UpstreamFailed):
    """What the other server sent is no answer: not HTTP, cut in the middle, larger than allowed, not JSON."""


class PeerForbiddenAddress(UpstreamFailed):
    """The address must not be contacted from here: not http(s), not public, not the usual port, too many redirects."""


class PeerCircuitOpen(UpstreamFailed):
    """The other server failed lately and was not asked again; try after `retry_after` seconds."""

    def __init__(self, host: str, retry_after: float) -> None:
        super().__init__(f"{host} does not answer at the moment")
        self.retry_after = retry_after


class PeerBusy(UpstreamFailed):
    """The other server asked to come back after `retry_after` seconds (RFC 9110 §10.2.3, RFC 6585 §4)."""

    def __init__(self, host: str, retry_after: float) -> None:
        super().__init__(f"{host} asks for patience")
        self.retry_after = retry_after


class PeerRefusedTokens(UpstreamFailed):
    """The other server gave no new access token: what was agreed with it has probably ended. `status` is its answer."""

    def __init__(self, host: str, status: int) -> None:
        super().__init__(f"{host} refused to renew the access ({status})")
        self.status = status
