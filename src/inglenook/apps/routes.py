"""The routes of apps."""

from __future__ import annotations

from typing import Any

from inglenook.apps import home_page, routes_apps, routes_intents

ROUTES: list[Any] = [*routes_apps.ROUTES, *routes_intents.ROUTES, *home_page.ROUTES]
