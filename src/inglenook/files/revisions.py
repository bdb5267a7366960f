"""The revision that a request expects: `If-Match`, else the query parameter `rev` (spec/02 §9.2)."""

from __future__ import annotations

from inglenook.files.documents import Item
from inglenook.files.receiving import HttpRequest
from inglenook.kernel.errors import PreconditionFailed


def expected_revision(request: HttpRequest) -> str:
    """The revision that the document must have, empty: any."""
    return request.headers.get("if-match", "") or request.query_params.get("rev", "")


def check_revision(item: Item, expected: str) -> None:
    """Check the revision of an item, byte for byte. Raises PreconditionFailed."""
    if expected and expected != item.rev:
        raise PreconditionFailed("Revision does not match", parameter="If-Match")
