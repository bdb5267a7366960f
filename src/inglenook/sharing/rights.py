"""Who may read and who may write in a sharing (spec/04 §2.9, spec/05 §1)."""

from __future__ import annotations

from inglenook.kernel import rules as kernel_rules
from inglenook.sharing.documents import Sharing


def rules_are_read_only(sharing: Sharing) -> bool:
    """Whether nothing that a recipient changes ever comes back (never so for a drive)."""
    return not sharing.drive and kernel_rules.read_only(sharing.rules)


def is_read_only(sharing: Sharing, index: int) -> bool:
    """Whether the member at an index may only read: its own flag, or the rules."""
    return sharing.members[index].read_only or rules_are_read_only(sharing)


def i_am_read_only(sharing: Sharing) -> bool:
    """On a recipient, whether the local user may only read; the owner always writes."""
    if sharing.owner:
        return False
    me = sharing.me()
    return rules_are_read_only(sharing) or (me is not None and sharing.members[me].read_only)


def scope(sharing: Sharing, *, read_only: bool = False) -> str:
    """The scope of a token given to another server for this sharing; peers parse it (spec/04 trap 22)."""
    return f"io.cozy.sharings:{'GET' if read_only else 'ALL'}:{sharing.id}"
