"""Routes of lists, of many documents and of replication (spec/01 §6, §7)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, cast

from litestar import post, put, route

from inglenook import wire
from inglenook.documents import accounts, all_docs, answers, bodies, bulk, changes, local, query_parameters
from inglenook.documents.answers import HttpRequest
from inglenook.documents.databases import START_TIME
from inglenook.documents.routes_documents import DATABASE, FORWARDED, GUARDED, READING, vault_of
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel import doctypes
from inglenook.kernel.errors import BadDocument, UnsupportedMediaType
from inglenook.storage.documents.contract import Body
from inglenook.wire import Answer

# -- lists


@route(f"{DATABASE}/_all_docs", http_method=READING, opt=FORWARDED, status_code=200)
async def list_documents(doctype: str, request: HttpRequest, caller: Caller) -> Answer:
    """Documents by id."""
    await _may_read(caller, doctype)
    return await _list(request, caller.instance, doctype, {})


@post(f"{DATABASE}/_all_docs", opt=FORWARDED, status_code=200)
async def list_chosen_documents(doctype: str, request: HttpRequest, caller: Caller) -> Answer:
    """As `list_documents`, with parameters in the body: mostly `keys`."""
    await _may_read(caller, doctype)
    raw = await answers.bulk_body(request)
    body: Body = {}
    if raw.strip() and not _is_filtered(request):
        body = _object(await answers.aside(bodies.decode_strictly, raw))
    return await _list(request, caller.instance, doctype, body)


@route(f"{DATABASE}/_normal_docs", http_method=READING, opt=GUARDED, status_code=200)
async def list_normal_documents(doctype: str, request: HttpRequest, caller: Caller) -> Answer:
    """Documents without the design documents, page by page."""
    await _may_read(caller, doctype)
    query = request.query_params
    limit = query_parameters.normal_limit(query.get("limit"))
    skip = query_parameters.normal_skip(query.get("skip"))
    bookmark = query.get("bookmark", "")
    started = caller.instance.env.clock.monotonic()
    page = await caller.instance.store.read(
        lambda view: all_docs.normal_page(view, doctype, limit=limit, skip=skip, bookmark=bookmark)
    )
    answer = b'{"total_rows":%d,"rows":[%b],"bookmark":"%b"' % (
        page.total_rows, b",".join(page.rows), page.bookmark.encode()
    )  # fmt: skip
    if query_parameters.truth(query.get("execution_stats")):
        elapsed = round(1000 * (caller.instance.env.clock.monotonic() - started), 3)
        answer += b',"execution_stats":{"total_docs_examined":%d,"results_returned":%d,"execution_time_ms":%.3f}' % (
            len(page.rows), len(page.rows), elapsed
        )  # fmt: skip
    return wire.plain_json(answer + b"}\n")


async def _list(request: HttpRequest, instance: Instance, doctype: str, body: Body) -> Answer:
    query = dict(request.query_params)
    if _is_filtered(request):
        fields = [name for name in query.get("Fields", "").split(",") if name]
        range = query_parameters.filtered_range(query)
        designs = query.get("DesignDocs") != "false"
        chunks = all_docs.filtered_rows(instance.store, doctype, range, fields, designs=designs)
    else:
        chunks = all_docs.rows(instance.store, doctype, query_parameters.list_options(query, body))
    return await answers.in_pieces(cast("AsyncGenerator[bytes, None]", chunks))


def _is_filtered(request: HttpRequest) -> bool:
    return bool(request.query_params.get("Fields") or request.query_params.get("DesignDocs"))


# -- many documents


@post(f"{DATABASE}/_bulk_docs", opt=FORWARDED, status_code=201)
async def write_documents(doctype: str, request: HttpRequest, caller: Caller) -> Answer:
    """Write documents, as a client or as a replicator."""
    (await caller.permit()).require_type("POST", doctype)
    doctypes.check_writable(doctype)
    sent = await answers.aside(bulk.read_bulk, await answers.bulk_body(request))
    if sent is None:
        return wire.plain_json({"error": "code=400, message=request body is not valid JSON"}, 400)
    store = caller.instance.store
    if doctype != accounts.ACCOUNTS:
        return wire.plain_json(await bulk.write(store, doctype, sent), 201)
    vault, permit = vault_of(caller.instance), await caller.permit()
    metadata = await store.read(lambda view: accounts.fresh_metadata(view, caller.instance.env, permit))
    told = metadata if sent.new_edits else None
    return wire.plain_json(
        await bulk.write(store, doctype, sent, lambda document: accounts.incoming(vault, document, told)), 201
    )


@post(f"{DATABASE}/_bulk_get", opt=FORWARDED, status_code=200)
async def read_documents(doctype: str, request: HttpRequest, caller: Caller) -> Answer:
    """Read revisions of documents."""
    (await caller.permit()).require_type("GET", doctype)
    doctypes.check_readable(doctype)
    body = _object(await answers.aside(bodies.decode_strictly, await answers.bulk_body(request)))
    items = body.get("docs")
    if not isinstance(items, list):
        raise BadDocument("bad_request", "Missing JSON list of 'docs'.")
    query = request.query_params
    revs, latest = query.get("revs") == "true", query.get("latest") == "true"
    inline = query.get("attachments") == "true"
    chunks = bulk.get(caller.instance.store, doctype, cast("list[Any]", items), revs=revs, latest=latest, inline=inline)
    return await answers.in_pieces(cast("AsyncGenerator[bytes, None]", chunks))


@post(f"{DATABASE}/_revs_diff", opt=FORWARDED, status_code=200)
async def compare_revisions(doctype: str, request: HttpRequest, caller: Caller) -> Answer:
    """Which of the named revisions are not known here."""
    (await caller.permit()).require_type("GET", doctype)
    doctypes.check_readable(doctype)
    asked = await answers.aside(bodies.decode_strictly, await answers.bulk_body(request))
    return wire.plain_json(await caller.instance.store.read(lambda view: bulk.revs_diff(view, doctype, asked)))


# -- changes


@route(f"{DATABASE}/_changes", http_method=READING, opt=GUARDED, status_code=200)
async def read_changes(doctype: str, request: HttpRequest, caller: Caller) -> Answer:
    """The changes feed; waits with `feed=longpoll`."""
    options, waits = query_parameters.feed_options(request.query_params, posted=False)
    return await _changes(doctype, request, caller, options, waits)


@post(f"{DATABASE}/_changes", opt=GUARDED, status_code=200)
async def read_filtered_changes(doctype: str, request: HttpRequest, caller: Caller) -> Answer:
    """The changes feed, filtered by ids, by a selector, or to design documents."""
    options, waits = query_parameters.feed_options(request.query_params, posted=True)
    name = request.query_params.get("filter", "")
    raw = await answers.bulk_body(request)
    options = changes.filtered(options, await answers.aside(lambda raw: query_parameters.feed_filter(name, raw), raw))
    return await _changes(doctype, request, caller, options, waits)


async def _changes(doctype: str, request: HttpRequest, caller: Caller, options: changes.Options, waits: bool) -> Answer:
    await _may_read(caller, doctype)
    permit = await caller.permit()
    options = changes.seen_by(options, permit.client_id)
    if waits and not options.descending:
        patience = query_parameters.patience(request.query_params)
        chunks = changes.long_poll(caller.instance.store, doctype, options, patience)
        return wire.streamed(chunks, media_type=wire.JSON)
    chunks = changes.normal(caller.instance.store, doctype, options)
    return await answers.in_pieces(cast("AsyncGenerator[bytes, None]", chunks))


# -- what replicators keep


@route(f"{DATABASE}/_local/{{name:str}}", http_method=READING, opt=FORWARDED, status_code=200)
async def read_local(doctype: str, name: str, request: HttpRequest, caller: Caller) -> Answer:
    """A local document."""
    (await caller.permit()).require_type("GET", doctype)
    doctypes.check_readable(doctype)
    shown = await caller.instance.store.read(lambda view: local.read(view, doctype, name))
    return answers.revalidated_by_content(request, shown)


@put(f"{DATABASE}/_local/{{name:str}}", opt=FORWARDED, status_code=201)
async def write_local(doctype: str, name: str, request: HttpRequest, caller: Caller) -> Answer:
    """Write or remove a local document. The GET verb is enough."""
    (await caller.permit()).require_type("GET", doctype)
    doctypes.check_readable(doctype)
    body = _object(bodies.decode_strictly(await wire.read_body(request, answers.SINGLE_LIMIT)))
    written = await local.write(caller.instance.store, doctype, name, body)
    return wire.plain_json(
        {"ok": True, "id": f"_local/{name}", "rev": written}, 200 if written == local.REMOVED else 201
    )


@post(f"{DATABASE}/_ensure_full_commit", opt=FORWARDED, status_code=201)
async def ensure_full_commit(doctype: str, request: HttpRequest, caller: Caller) -> Answer:
    """Whatever was acknowledged is on the disk already."""
    (await caller.permit()).require_type("GET", doctype)
    doctypes.check_writable(doctype)
    if not request.headers.get("content-type", "").startswith(wire.JSON):
        raise UnsupportedMediaType("Content-Type must be application/json", title="bad_content_type")
    return wire.plain_json({"ok": True, "instance_start_time": START_TIME}, 201)


async def _may_read(caller: Caller, doctype: str) -> None:
    doctypes.check_readable(doctype)
    (await caller.permit()).require_type("GET", doctype)


def _object(value: object) -> Body:
    if not isinstance(value, dict):
        raise BadDocument("bad_request", "Request body must be a JSON object")
    return cast("Body", value)


ROUTES = [
    list_documents,
    list_chosen_documents,
    list_normal_documents,
    write_documents,
    read_documents,
    compare_revisions,
    read_changes,
    read_filtered_changes,
    read_local,
    write_local,
    ensure_full_commit,
]
