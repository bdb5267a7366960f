"""The indexes that identity needs in every instance's store."""

from __future__ import annotations

from inglenook.identity.clients import CLIENT_INDEXES
from inglenook.identity.permission_documents import PERMISSION_INDEXES

INDEXES = (*CLIENT_INDEXES, *PERMISSION_INDEXES)
