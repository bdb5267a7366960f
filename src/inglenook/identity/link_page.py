"""The page that asks for the password of a link, shown on the host of the app that the link opens (spec/03 §11.3)."""

from __future__ import annotations

from inglenook.identity import pages
from inglenook.identity.caller import Caller
from inglenook.wire import Answer


def link_password_page(caller: Caller, permission_id: str, back: str, *, status: int = 401, error: str = "") -> Answer:
    """The page; its form posts to the instance, whose static files it uses. `back` is the address of the page that the
    link opens: where a browser without scripts goes after the right password."""
    home = caller.url("").rstrip("/")
    return pages.page(
        caller, "link_password.html", status=status, origin=home, permission_id=permission_id, back=back, error=error,
        action=caller.url("/auth/share-by-link/password"),
    )  # fmt: skip
