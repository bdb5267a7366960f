"""What one listener wants to hear of (spec/07 §2.4)."""

from __future__ import annotations


class Subscriptions:
    """Doctypes as a whole, and single ids."""

    def __init__(self) -> None:
        self._whole: set[str] = set()
        self._ids: dict[str, set[str]] = {}

    def add(self, doctype: str, id: str) -> None:
        """Listen to one id, or to the whole doctype when it is empty."""
        if id:
            self._ids.setdefault(doctype, set()).add(id)
        else:
            self._whole.add(doctype)

    def remove(self, doctype: str, id: str) -> None:
        """Listen no more to one id; with an empty one to nothing of the doctype."""
        if id:
            self._ids.get(doctype, set()).discard(id)
        else:
            self._whole.discard(doctype)
            self._ids.pop(doctype, None)

    def want(self, doctype: str, id: str) -> bool:
        """Whether an event of this document is to be told."""
        return doctype in self._whole or id in self._ids.get(doctype, ())

    def __len__(self) -> int:
        return len(self._whole) + sum(len(ids) for ids in self._ids.values())
