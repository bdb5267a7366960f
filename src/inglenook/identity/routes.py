"""All routes of identity."""

from __future__ import annotations

from typing import Any

from inglenook.identity import (
    client_routes,
    confirm_routes,
    flagship_routes,
    login_routes,
    oauth_routes,
    passphrase_routes,
    permission_routes,
    public_routes,
    settings_routes,
)

ROUTES: list[Any] = [
    *login_routes.ROUTES,
    *passphrase_routes.ROUTES,
    *confirm_routes.ROUTES,
    *client_routes.ROUTES,
    *oauth_routes.ROUTES,
    *flagship_routes.ROUTES,
    *permission_routes.ROUTES,
    *settings_routes.ROUTES,
    *public_routes.ROUTES,
]
