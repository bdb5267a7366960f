"""What is remembered of the replication to one member: its phase, its last success and error, its retries."""

from __future__ import annotations

import msgspec

from inglenook.storage.documents.contract import Reader, Record, Writer

KIND = "sharing-link"
NUDGE = "sharing-nudge"


class LinkState(msgspec.Struct, omit_defaults=True):
    """The state of the line to a member. `phase` is `folders`, then `files`, then `steady`.

    Dates are RFC 3339, `next_try_at` and `shut_since` are Unix time in seconds. `shut` counts how often in a row the
    member's server has answered as if it did not know the sharing, `shut_since` is when it first did. `moved_on` tells,
    in memory only, whether anything has been taken since the last failure. `cause` is the code of why nothing is taken,
    where it is neither a server that is away nor a single document: `moved`, `access_ended`."""

    phase: str = "folders"
    last_success_at: str = ""
    last_error: str = ""
    last_error_at: str = ""
    next_try_at: float = 0.0
    cause: str = ""
    shut: int = 0
    shut_since: float = 0.0
    moved_on: bool = False

    def succeeded(self, now: str) -> None:
        """The member has taken something."""
        self.last_success_at = now
        self.next_try_at = self.shut_since = 0.0
        self.shut = 0
        self.cause = ""
        self.moved_on = True

    def failed(self, now: str, error: str) -> None:
        """The member has refused something, or could not be reached."""
        self.last_error = error
        self.last_error_at = now

    def found_shut(self, now: float) -> None:
        """The member's server has answered as if it did not know the sharing."""
        self.shut += 1
        self.shut_since = self.shut_since or now


class Retry(msgspec.Struct, omit_defaults=True):
    """Why a document has not been taken yet, and how often it was tried."""

    attempts: int = 0
    reason: str = ""

    @classmethod
    def of(cls, record: Record) -> Retry:
        """A retry as it is stored."""
        return msgspec.json.decode(record.raw, type=cls)


def load_state(view: Reader, sharing_id: str, index: int) -> LinkState:
    """The state of the line to a member; a fresh one when nothing was sent yet."""
    record = view.record(KIND, f"{sharing_id}/{index}")
    return msgspec.json.decode(record.raw, type=LinkState) if record else LinkState()


def save_state(tx: Writer, sharing_id: str, index: int, state: LinkState) -> None:
    """Remember the state of the line to a member."""
    tx.put_record(KIND, f"{sharing_id}/{index}", msgspec.to_builtins(state))


def nudge(tx: Writer, sharing_id: str, index: int) -> None:
    """Let the sender of a member try at once, in whichever process it runs."""
    tx.put_record(NUDGE, f"{sharing_id}/{index}", {})


def nudged(view: Reader, limit: int = 100) -> list[tuple[str, int]]:
    """The members whose sender shall try at once."""
    found = (record.id.rpartition("/") for record in view.records(NUDGE, limit=limit))
    return [(sharing_id, int(index)) for sharing_id, _, index in found]


def forget_nudge(tx: Writer, sharing_id: str, index: int) -> None:
    """The sender has been woken."""
    tx.delete_record(NUDGE, f"{sharing_id}/{index}")
