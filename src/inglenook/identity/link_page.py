"""The page that asks for the password of a link, shown on the host of the app that the link opens (spec/03 §11.3)."""

from __future__ import annotations

from inglenook.identity import pages
from inglenook.identity.caller import Caller
from inglenook.wire import Answer


def link_password_page(caller: Caller, permission_id: str) -> Answer:
    """The 401 page; its form posts to the instance, whose static files it uses."""
    home = caller.url("").rstrip("/")
    return pages.page(
        caller, "link_password.html", status=401, origin=home, permission_id=permission_id,
        action=caller.url("/auth/share-by-link/password"),
    )  # fmt: skip
