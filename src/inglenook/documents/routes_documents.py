"""Routes of the root, of a database and of one document (spec/01 §4, §5, §12)."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import delete, post, put, route
from litestar.types import Method

from inglenook import wire
from inglenook.documents import accounts, answers, databases, single
from inglenook.documents.answers import HttpRequest
from inglenook.documents.single import RevisionOptions
from inglenook.identity.caller import Caller
from inglenook.identity.instance import Instance
from inglenook.kernel import doctypes
from inglenook.kernel.errors import BadRequest, NotFound, PreconditionFailed
from inglenook.storage.documents.contract import Document, Writer
from inglenook.wire import PUBLIC, TOKEN, Answer

GUARDED = {"guard": TOKEN}
FORWARDED = {**GUARDED, "errors": "store"}
"""Routes whose errors have the store's own form, `{"error", "reason"}` (spec/01 §3); the state of one request can say
the same."""
REFUSING = {**GUARDED, "refuses": True}
"""Routes that only refuse what is no request at all: not part of the described API."""
READING: tuple[Method, ...] = ("GET", "HEAD")
DATABASE = "/data/{doctype:str}"
DOCUMENT = "/data/{doctype:str}/{docid:str}"


# -- the root


@route("/data", http_method=READING, opt={"guard": PUBLIC}, status_code=200)
async def welcome() -> Answer:
    """`GET /data/`: anybody is welcome."""
    return wire.plain_json({"message": "welcome to a cozy API"})


@route("/data/_all_doctypes", http_method=READING, opt=GUARDED, status_code=200)
async def all_doctypes(caller: Caller) -> Answer:
    """The doctypes that have a database and may be read."""
    (await caller.permit()).require_type("GET", "io.cozy.doctypes")
    return wire.plain_json(await caller.instance.store.read(databases.readable_doctypes) or None)


# -- a database


@route(DATABASE, http_method=READING, opt=GUARDED, status_code=200)
async def database_status(doctype: str, caller: Caller) -> Answer:
    """Counts and the current sequence. 404 without a database."""
    (await caller.permit()).require_type("GET", doctype)
    doctypes.check_readable(doctype)
    return wire.plain_json(
        await caller.instance.store.read(lambda view: databases.status(view, caller.instance.prefix, doctype))
    )


@put(DATABASE, opt=FORWARDED, status_code=201)
async def create_database(doctype: str, caller: Caller) -> Answer:
    """Make the database. 412 when it is there."""
    (await caller.permit()).require_type("POST", doctype)
    doctypes.check_writable(doctype)
    if not await caller.instance.store.write(lambda tx: tx.create_doctype(doctype)):
        raise PreconditionFailed("The database could not be created, the file already exists.", title="file_exists")
    return wire.plain_json({"ok": True}, 201)


@delete(DATABASE, opt=GUARDED, status_code=200)
async def delete_database(doctype: str, caller: Caller) -> Answer:
    """Remove the database with all its documents."""
    doctypes.check_writable(doctype)
    (await caller.permit()).require_type("DELETE", doctype)
    await caller.instance.store.write(lambda tx: databases.drop(tx, doctype))
    return wire.plain_json({"ok": True, "deleted": True})


# -- a document


@route(DOCUMENT, http_method=READING, opt=GUARDED, status_code=200)
async def read_document(doctype: str, docid: str, request: HttpRequest, caller: Caller) -> Answer:
    """The winning revision, or with `revs=true` what the other parameters ask for."""
    if doctype == accounts.ACCOUNTS:
        return await _read_account(docid, request, caller)
    doctypes.check_readable(doctype)
    single.require_id(docid)
    permit = await caller.permit()
    query = request.query_params
    if query.get("revs") == "true":
        request.scope["state"]["errors"] = "store"
        options = RevisionOptions.of(query.get)
        shown = await caller.instance.store.read(
            lambda view: single.read_revisions(view, permit, doctype, docid, options)
        )
        return answers.revalidated_by_content(request, shown)
    rev, body = await caller.instance.store.read(lambda view: single.read(view, permit, doctype, docid))
    return answers.revalidated(request, rev, body + b"\n")


@post(DATABASE, opt=GUARDED, status_code=201)
async def create_document(doctype: str, request: HttpRequest, caller: Caller) -> Answer:
    """Create a document under a generated id."""
    body = await answers.document_body(request)
    doctypes.check_writable(doctype)
    permit = await caller.permit()
    permit.require_document("POST", doctype, "", body)
    if doctype == accounts.ACCOUNTS:
        single.check_new(body)
        vault = vault_of(caller.instance)
        metadata = await caller.instance.store.read(
            lambda view: accounts.fresh_metadata(view, caller.instance.env, permit)
        )
        body = accounts.completed(vault, body, metadata)
    document = await single.create(caller.instance.store, doctype, body)
    return wire.plain_json(single.written(document), 201)


@put(DOCUMENT, opt=GUARDED, status_code=200)
async def put_document(doctype: str, docid: str, request: HttpRequest, caller: Caller) -> Answer:
    """Create a document under a chosen id, or replace it."""
    body = await answers.document_body(request, docid)
    body.pop("_type", None)
    doctypes.check_writable(doctype)
    permit = await caller.permit()
    if not single.is_update(docid, body):
        permit.require_document("POST", doctype, docid, body)
        if doctype == accounts.ACCOUNTS:
            body = vault_of(caller.instance).encrypt(body)
        document = await single.create_with_id(caller.instance.store, doctype, docid, body)
        return wire.plain_json(single.written(document))
    rev = body["_rev"]
    if doctype != accounts.ACCOUNTS:
        document = await single.update(caller.instance.store, permit, doctype, docid, rev, body)
        return wire.plain_json(single.written(document))
    vault = vault_of(caller.instance)
    metadata: dict[str, Any] | None = None
    if "cozyMetadata" not in body:
        metadata = await caller.instance.store.read(
            lambda view: accounts.fresh_metadata(view, caller.instance.env, permit)
        )
    body = accounts.completed(vault, body, metadata)
    document = await single.update(caller.instance.store, permit, doctype, docid, rev, body)
    if accounts.sees_secrets(permit, None):
        shown = vault.decrypt(document.body)
        document = Document(doctype, docid, document.rev, msgspec.json.encode(shown), deleted=document.deleted)
    return wire.plain_json(single.written(document))


@delete(DOCUMENT, opt=GUARDED, status_code=200)
async def delete_document(doctype: str, docid: str, request: HttpRequest, caller: Caller) -> Answer:
    """Delete a document; its revision comes in `If-Match` or in the query."""
    header, parameter = request.headers.get("if-match", ""), request.query_params.get("rev", "")
    if header and parameter and header != parameter:
        raise BadRequest("If-Match Header and rev query parameters mismatch")
    rev = header or parameter
    if not rev:
        raise BadRequest("delete without revision")
    doctypes.check_writable(doctype)
    permit = await caller.permit()
    return wire.plain_json(single.deleted(await single.delete(caller.instance.store, permit, doctype, docid, rev)))


def vault_of(instance: Instance) -> accounts.Vault:
    """What encrypts the accounts of an instance."""
    return accounts.Vault(instance.doc.oauth_secret or instance.session_key, instance.env.random.bytes)


@route(f"{DOCUMENT}/{{attachment:str}}", http_method=READING, opt=FORWARDED, status_code=200)
async def read_attachment(doctype: str, docid: str, attachment: str, request: HttpRequest, caller: Caller) -> Answer:
    """The bytes of an attachment of a document, or with `rev` of a leaf of it."""
    doctypes.check_readable(doctype)
    permit, rev = await caller.permit(), request.query_params.get("rev")
    stub, data = await caller.instance.store.read(
        lambda view: single.read_attachment(view, permit, doctype, docid, attachment, rev)
    )
    tag = f'"{stub["digest"]}"'
    # they are of any type, and this is not the place for pages
    headers = {"etag": tag, "content-disposition": "attachment", "content-security-policy": "sandbox"}
    if wire.lists_tag(request.headers.get("if-none-match", ""), tag):
        return Answer(status=304, headers=headers)
    return Answer(data, media_type=stub["content_type"], headers=headers)


async def _read_account(docid: str, request: HttpRequest, caller: Caller) -> Answer:
    single.require_id(docid)
    permit = await caller.permit()
    query = request.query_params
    rev = query.get("rev")
    document = await caller.instance.store.read(lambda view: accounts.read(view, permit, docid, rev))
    vault = vault_of(caller.instance)
    if not rev and accounts.has_plain_secrets(document.body):

        def encrypt(tx: Writer) -> Document:
            return accounts.encrypt_stored(tx, vault, document)

        document = await caller.instance.store.write(encrypt)
    in_clear = accounts.sees_secrets(permit, query.get("include"))
    shown = accounts.shown(vault, document, in_clear=in_clear) + b"\n"
    return answers.revalidated(request, document.rev, shown, variant="-clear" if in_clear else "")


# -- names that are operations with another method


@route(
    [
        f"{DATABASE}/{name}"
        for name in ("_find", "_index", "_bulk_docs", "_bulk_get", "_revs_diff", "_ensure_full_commit")
    ]
    + [f"{DATABASE}/_design", f"{DATABASE}/_local"],
    http_method=["GET", "HEAD", "PUT", "DELETE"],
    opt=REFUSING,
    status_code=200,
)
async def not_a_document(request: HttpRequest) -> Answer:
    """An id that starts with an underscore is never one of a document."""
    single.require_id(request.url.path.rpartition("/")[2])
    raise NotFound


@route(
    [f"{DATABASE}/{name}" for name in ("_all_docs", "_normal_docs", "_changes", "_design_docs")],
    http_method=["PUT", "DELETE"],
    opt=REFUSING,
    status_code=200,
)
async def not_to_be_written(request: HttpRequest) -> Answer:
    """As `not_a_document`, for what can be read."""
    single.require_id(request.url.path.rpartition("/")[2])
    raise NotFound


ROUTES = [
    welcome,
    all_doctypes,
    database_status,
    create_database,
    delete_database,
    read_document,
    create_document,
    put_document,
    delete_document,
    read_attachment,
    not_a_document,
    not_to_be_written,
]
