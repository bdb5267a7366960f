"""Telling the owner that the space is nearly used up: the notification `disk-quota` (spec/02 §11, spec/07 §5).

It is told when the usage reaches nine tenths of the quota, by mail at most once a week; when it falls below again,
that is noted and nobody is disturbed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from inglenook.environment import rfc3339
from inglenook.files.quota import disk_usage, quota_of
from inglenook.identity import letters
from inglenook.identity.instance import Instance
from inglenook.storage.documents.contract import Reader, Writer

NOTIFICATIONS = "io.cozy.notifications"
SOURCE = "cozy/stack//disk-quota/"
RECORD = "disk-quota-alert"
SHARE = 0.9
LEAST_BETWEEN_MAILS = timedelta(days=7)
TITLES = {"en": "Your space is nearly full", "fr": "Votre espace est presque plein"}


def is_nearly_full(view: Reader, instance: Instance) -> bool:
    """Whether nine tenths of the quota are used."""
    quota = quota_of(instance)
    return bool(quota) and disk_usage(view).total >= SHARE * quota


def is_news(view: Reader, instance: Instance) -> bool:
    """Whether the state is another one than the one that was told last."""
    return is_nearly_full(view, instance) != _told(view).get("state", False)


def tell(tx: Writer, instance: Instance) -> None:
    """Note the state when it is another one, and ask for a mail when the space has become nearly full."""
    state, told = is_nearly_full(tx, instance), _told(tx)
    if state == told.get("state", False):
        return
    now = instance.env.clock.now()
    last = str(told.get("last_sent", ""))
    mails = state and (not last or now - datetime.fromisoformat(last) >= LEAST_BETWEEN_MAILS)
    if mails:
        last = rfc3339(now)
        values = {"CozyDriveLink": instance.app_url("drive"), "InstanceURL": instance.url()}
        letters.post(tx, "notifications_diskquota", values, now.timestamp())
    tx.put_record(RECORD, "state", {"state": state, "last_sent": last})
    title = TITLES.get(instance.locale, TITLES["en"])
    notification: dict[str, Any] = {
        "source_id": SOURCE,
        "originator": "stack",
        "slug": "",
        "category": "disk-quota",
        "category_id": "",
        "created_at": rfc3339(now),
        "last_sent": last or "0001-01-01T00:00:00Z",
        "title": title,
        "message": title,
        "priority": "normal",
        "state": state,
        "data": {},
    }
    tx.put(NOTIFICATIONS, tx.new_id(), notification)


def _told(view: Reader) -> dict[str, Any]:
    record = view.record(RECORD, "state")
    return {} if record is None else record.body
