"""Notifications that sharings give to the local user: a document that apps can show, and a mail (spec/07 §5.4)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from inglenook.identity import letters
from inglenook.identity.instance import Instance
from inglenook.identity.translations import translate
from inglenook.storage.documents.contract import Document, Writer

NOTIFICATIONS = "io.cozy.notifications"


def notify(
    tx: Writer,
    instance: Instance,
    *,
    category: str,
    category_id: str,
    template: str,
    values: Mapping[str, object],
    slug: str,
    once: bool = False,
    by_mail: bool = True,
) -> Document | None:
    """Tell the local user of something in his language; `template` is that of the mail, `values` are its values.

    `once`: what was told under this category and id before is not told again (None then)."""
    clock = instance.env.clock
    now = clock.timestamp()
    id = hashlib.md5(f"{category}/{category_id}".encode(), usedforsecurity=False).hexdigest() if once else tx.new_id()
    if once and tx.get(NOTIFICATIONS, id) is not None:
        return None
    title = translate(instance.locale, f"mail.{template}.subject", **values)
    document = tx.put(
        NOTIFICATIONS,
        id,
        {
            "source_id": f"cozy/stack/{slug}/{category}/{category_id}",
            "originator": "stack",
            "slug": slug,
            "category": category,
            "category_id": category_id,
            "created_at": now,
            "last_sent": now,
            "title": title,
            "priority": "normal",
            "data": dict(values),
        },
    )
    if by_mail:
        letters.post(tx, template, values, clock.now().timestamp())
    return document
