"""The route of transactions (spec/11 §6)."""

from __future__ import annotations

from litestar import post

from inglenook import wire
from inglenook.documents import accounts, answers, transaction
from inglenook.documents.answers import HttpRequest
from inglenook.documents.bodies import Incoming
from inglenook.documents.routes_documents import GUARDED, vault_of
from inglenook.identity.caller import Caller
from inglenook.wire import Answer


@post("/data/_transaction", opt=GUARDED, status_code=201)
async def write_together(request: HttpRequest, caller: Caller) -> Answer:
    """Write documents of any doctypes, all of them or none.

    The body is `{"docs": [...]}`: each document with its `_type`, `_id`, expected `_rev`, and `_deleted` to delete it.
    The answer has one result for each, in order. When one fails nothing is written, and each result tells why."""
    steps = await answers.aside(transaction.read, await answers.bulk_body(request))
    permit = await caller.permit()
    transaction.check(permit, steps)
    instance = caller.instance
    metadata = await instance.store.read(lambda view: accounts.fresh_metadata(view, instance.env, permit))
    vault = vault_of(instance)

    def completed(doctype: str, sent: Incoming) -> Incoming:
        return accounts.incoming(vault, sent, metadata) if doctype == accounts.ACCOUNTS else sent

    outcome = await transaction.write(instance.store, permit, steps, completed)
    return wire.plain_json(outcome.answer, outcome.status)


ROUTES = [write_together]
