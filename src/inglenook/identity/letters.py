"""Mails that identity asks for: durable requests that the mail domain reads and sends (spec/07 §4.2).

A letter is a record of kind `letters`, written in the transaction of what it tells about, due at once:
`{"mode": "noreply", "template_name": …, "template_values": {…}, "to": [{"name", "email"}]}`. It carries secrets
(codes, reset links), so it is a record, which no client can read, and not a document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from inglenook.storage.documents.contract import Writer

LETTERS = "letters"


def post(
    tx: Writer,
    template: str,
    values: Mapping[str, Any],
    due: float,
    *,
    mode: Literal["noreply", "pending", "from"] = "noreply",
    to: Sequence[Mapping[str, str]] = (),
) -> str:
    """Ask for a mail; gives the id of the record. `due` is in seconds of Unix time; `to` only counts in mode `from`."""
    letter = {"mode": mode, "template_name": template, "template_values": dict(values), "to": [dict(one) for one in to]}
    return tx.put_record(LETTERS, tx.new_id(), letter, due=due).id
