"""Notifications that sharings give to the local user: a document that apps can show, and a mail (spec/07 §5.4)."""

from __future__ import annotations

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
    values: Mapping[str, str],
    slug: str,
) -> Document:
    """Tell the local user of something in his language; `template` is that of the mail, `values` are its values."""
    clock = instance.env.clock
    now = clock.timestamp()
    title = translate(instance.locale, f"mail.{template}.subject", **values)
    document = tx.put(
        NOTIFICATIONS,
        tx.new_id(),
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
    letters.post(tx, template, values, clock.now().timestamp())
    return document
