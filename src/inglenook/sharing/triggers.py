"""What a sharing shows as its triggers (spec/04 §24, spec/05 §3.3).

The journal does the work that triggers do elsewhere; clients and checks still expect their ids, from the acceptance
until the end.
"""

from __future__ import annotations

from inglenook.environment import Randomness
from inglenook.sharing import rights
from inglenook.sharing.documents import Sharing


def show(sharing: Sharing, random: Randomness) -> None:
    """Show the triggers of an agreed sharing; the ones that are there stay. A reader replicates nothing."""
    if sharing.drive:
        return
    shown = sharing.triggers
    if not shown.get("track_ids") and not shown.get("track_id"):
        shown["track_ids"] = [random.document_id() for rule in sharing.rules if not rule.local]
    if rights.i_am_read_only(sharing):
        hide_sending(sharing)
        return
    shown.setdefault("replicate_id", random.document_id())
    if sharing.files_rule() is not None:
        shown.setdefault("upload_id", random.document_id())


def hide_sending(sharing: Sharing) -> None:
    """Show no trigger that sends: the local user may only read now."""
    sharing.triggers.pop("replicate_id", None)
    sharing.triggers.pop("upload_id", None)


def hide(sharing: Sharing) -> None:
    """Show no trigger: the sharing has ended."""
    sharing.triggers = {}
