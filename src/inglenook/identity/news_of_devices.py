"""Mails that tell the owner of what he may not have done himself: a login from software that was never seen here, an
OAuth client that was allowed (spec/03 §6.5; spec/07 §4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inglenook.identity import letters, sessions
from inglenook.identity.sessions import Visitor
from inglenook.storage.documents.contract import Document, Writer

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance

KNOWN = "login-software"
"""Records: the systems and browsers that logins came from, by their names."""
_MOST_KNOWN = 200


def note_login(tx: Writer, instance: Instance, who: Visitor, at: float) -> None:
    """Remember what a login came from, and tell of it when it is new. The first login of all tells nobody anything.

    `at` is in seconds of Unix time."""
    system, browser = sessions.software(who.user_agent)
    name = f"{system}\x00{browser}"
    if tx.record(KNOWN, name) is not None:
        return
    known = tx.records(KNOWN, limit=_MOST_KNOWN)
    tx.put_record(KNOWN, name, {"since": at})
    if not known or len(known) == _MOST_KNOWN:
        return
    values = {
        "IPAddress": who.ip, "Browser": browser, "OS": system,
        "ChangePassphraseLink": instance.app_url("settings", fragment="/profile/password"),
    }  # fmt: skip
    letters.post(tx, "new_connection", values, at)


def note_client(tx: Writer, instance: Instance, client: Document, at: float) -> None:
    """Tell of an OAuth client that the owner has just allowed for the first time."""
    if not client.body.get("pending"):
        return
    values: dict[str, Any] = {
        "DeviceName": client.body.get("client_name", ""),
        "DevicesLink": instance.app_url("settings", fragment="/connectedDevices"),
    }
    letters.post(tx, "new_registration", values, at)
