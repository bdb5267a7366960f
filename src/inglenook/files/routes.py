"""All routes of files and directories (spec/02 §13–§20)."""

from __future__ import annotations

from typing import Any

from inglenook.files import (
    routes_archive,
    routes_download,
    routes_find,
    routes_modify,
    routes_read,
    routes_references,
    routes_thumbnails,
    routes_trash,
    routes_upload,
    routes_usage,
    routes_versions,
)

ROUTES: list[Any] = [
    *routes_upload.ROUTES,
    *routes_read.ROUTES,
    *routes_download.ROUTES,
    *routes_modify.ROUTES,
    *routes_versions.ROUTES,
    *routes_trash.ROUTES,
    *routes_references.ROUTES,
    *routes_find.ROUTES,
    *routes_archive.ROUTES,
    *routes_thumbnails.ROUTES,
    *routes_usage.ROUTES,
]
