"""All routes below `/data` that this domain answers (spec/01 §4 to §8, spec/11 §6)."""

from __future__ import annotations

from inglenook.documents import routes_documents, routes_lists, routes_mango, routes_transaction

ROUTES = [
    *routes_documents.ROUTES,
    *routes_lists.ROUTES,
    *routes_mango.ROUTES,
    *routes_transaction.ROUTES,
]
