"""The errors of the domain: one hierarchy, raised everywhere, mapped to HTTP and to exit codes in one place each.

An error says what is wrong in the words of the specification (spec/01 §3 and §15, spec/02 §9, spec/03 §2);
it knows nothing of HTTP. `web.errors` gives each class its status and body, `cli` its exit code.
"""

from __future__ import annotations


class DomainError(Exception):
    """Something the caller asked for cannot be done; nothing was changed.

    `detail` is for people and clients (some match on its text). `title` replaces the usual title of the class
    (the name of a store error, such as `not_found`). `parameter` and `pointer` name the faulty input.
    """

    def __init__(
        self,
        detail: str = "",
        *,
        title: str | None = None,
        parameter: str | None = None,
        pointer: str | None = None,
        code: str | None = None,
        related: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.title = title
        self.parameter = parameter
        self.pointer = pointer
        self.code = code
        self.related = related


class BadRequest(DomainError):
    """The request cannot be understood or makes no sense here."""


class NotFound(DomainError):
    """What the request names does not exist, or not any more."""


class Conflict(DomainError):
    """The state of the thing forbids it: a taken name, a revision that is not the last one."""


class Gone(DomainError):
    """The instance has moved; `related` is its new address."""


class PreconditionFailed(DomainError):
    """A header or parameter that guards the change does not hold (`parameter`)."""


class TooLarge(DomainError):
    """Over a quota or a limit of size."""


class TooSlow(DomainError):
    """What was announced did not arrive in time."""


class UnsupportedMediaType(DomainError):
    """The body is not of a type that is read here."""


class InvalidParameter(DomainError):
    """A parameter has an impossible value (`parameter`)."""


class InvalidAttribute(DomainError):
    """An attribute of the sent document has an impossible value (`pointer`)."""


class Blocked(DomainError):
    """The antivirus of the server forbids it (`code`)."""


class TooManyRequests(DomainError):
    """A limit of frequency is reached; try again later."""


class Unavailable(DomainError):
    """The server cannot serve this now: blocked instance, storage out of reach."""


class OutOfSpace(Unavailable):
    """The disk of the server is full; nothing was changed."""


class UpstreamFailed(DomainError):
    """Another server, needed for this request, could not be reached or refused."""


class Denied(DomainError):
    """Another server, whose matter it is, does not allow it; `detail` are its words."""


class Unprocessed(DomainError):
    """A fault that the wire calls "Unqualified error" (status 500), expected by peers in a few named places."""


# -- who is calling (the "plain" family of spec/03 §2.2: never JSON:API)


class AuthError(DomainError):
    """The caller is not known or not allowed."""


class NoToken(AuthError):
    """The request carries no token."""

    def __init__(self) -> None:
        super().__init__("No token in request")


class InvalidToken(AuthError):
    """The token cannot be verified, or what it stands for has ended."""

    challenges = True
    """Whether the answer tells a client to come back with another token (`WWW-Authenticate`)."""

    def __init__(self, detail: str = "Invalid JWT token") -> None:
        super().__init__(detail)


class ClosedCode(InvalidToken):
    """The code is right, and opens nothing: its password was not given, or its member was revoked. Said in the words of
    `InvalidToken`, without the header (spec/03 §2.4)."""

    challenges = False


class ExpiredToken(AuthError):
    """The token was right once."""

    challenges = True
    """As for `InvalidToken`."""

    def __init__(self) -> None:
        super().__init__("Expired token")


class ExpiredCode(ExpiredToken):
    """The end of a link is past, or what it was made for is gone: said in the same words, without the header."""

    challenges = False


class Forbidden(AuthError):
    """The caller is known, and may not do this."""

    def __init__(self, detail: str = "Forbidden") -> None:
        super().__init__(detail)


class Unreadable(AuthError):
    """A body of a server-to-server request that cannot be read: 400 in the plain family (spec/05 §12.0)."""


class BadCredentials(AuthError):
    """Refused in the plain family with 400: a scope that cannot be read, an audience of the wrong kind."""


# -- the document store


class DocumentNotFound(NotFound):
    """No live document: `detail` is `missing`, `deleted`, `wrong_doctype` or `Database does not exist.`."""

    def __init__(self, reason: str = "missing") -> None:
        super().__init__(reason, title="not_found")


class DocumentConflict(Conflict):
    """The given revision is not a live leaf of the document, or the document exists already."""

    def __init__(self) -> None:
        super().__init__("Document update conflict.", title="conflict")


class BadDocument(BadRequest):
    """A document or revision that the store refuses; `title` is the store's name of the error."""

    def __init__(self, title: str, reason: str) -> None:
        super().__init__(reason, title=title)


class DocumentTooLarge(TooLarge):
    """A document over the limit of size; `detail` is its id."""

    def __init__(self, doc_id: str) -> None:
        super().__init__(doc_id, title="document_too_large")
