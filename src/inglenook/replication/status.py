"""What people can see of a sharing: who has what, what waits, why, and what to do (spec/11 §4).

Read from durable state alone, so that any process can tell it: the tracking records behind each member's checkpoint,
the state of the line to him, the documents that he has refused, the steps and mails that wait. A member's server may
be of another make; what is told is what this side knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from inglenook.identity.instance import Instance
from inglenook.identity.translations import translate
from inglenook.kernel.members import WAITING, State
from inglenook.mail import outbox as mails
from inglenook.replication import outbox
from inglenook.replication.initial import KIND as INITIAL
from inglenook.replication.link_state import LinkState, Retry, load_state
from inglenook.sharing import documents, rights, steps, tracking
from inglenook.sharing.documents import Member, Sharing
from inglenook.sharing.invitation_mail import TEMPLATE
from inglenook.sharing.steps import Claim
from inglenook.storage.documents.contract import Reader, Record

TYPE = "io.cozy.sharings.status"
PAGE = 500
MOST = 2000
"""Documents that are looked at for one member; beyond, they are only counted."""
SHOWN = 20
"""Documents with their reasons that are told for one member."""
PATIENT = 3
"""Attempts after which a refused document needs somebody's attention."""

WAITING_FOR_ACCEPTANCE = "waiting_for_acceptance"
INITIAL_COPY = "initial_copy"
UP_TO_DATE = "up_to_date"
BEHIND = "behind"
UNREACHABLE = "unreachable"
NEEDS_ATTENTION = "needs_attention"
REVOKED = "revoked"


class Pending(msgspec.Struct, kw_only=True):
    """What waits to be sent: documents, and the bytes of the contents of those that were looked at."""

    documents: int = 0
    bytes: int = 0


class Progress(msgspec.Struct, kw_only=True):
    """How far a first copy is, in documents."""

    done: int
    total: int


class Trouble(msgspec.Struct, kw_only=True):
    """Why something waits: a code, a sentence in the language of the instance, and when (RFC 3339)."""

    code: str
    message: str
    at: str | None = None


class Held(msgspec.Struct, kw_only=True):
    """One thing that waits: a document or a message to the member's server, with the reason and the next try."""

    what: str
    reason: str
    attempts: int
    next_try_at: str | None = None


class MemberStatus(msgspec.Struct, kw_only=True):
    """One member. `state` is None for somebody of whom only the owner's server knows.

    `summary` says in a sentence what is the case, `advice` what can be done (empty: nothing to do)."""

    index: int
    name: str
    status: str
    state: str | None
    read_only: bool
    pending: Pending
    progress: Progress | None = None
    last_success_at: str | None = None
    last_error: Trouble | None = None
    next_try_at: str | None = None
    waiting: list[Held] = []
    summary: str = ""
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What everything is told from: the sharing, what waits for it, the language, the moment (Unix time)."""

    sharing: Sharing
    waiting: Sequence[Claim]
    failed: Sequence[mails.Failure]
    letters: Sequence[mails.Waiting]
    locale: str
    now: float

    def say(self, key: str, member: Member | None = None, /, **values: object) -> str:
        """A text of the status page."""
        name = member.display_name or member.instance if member is not None else ""
        name = name or translate(self.locale, "sharing.status.somebody")
        return translate(self.locale, f"sharing.status.{key}", name=name, **values)

    def count(self, key: str, member: Member, waiting: int, /, **values: object) -> str:
        """A text about so many things that wait: there is one for a single thing, and one for none or more."""
        return self.say(f"{key}.one" if waiting == 1 else key, member, waiting=waiting, **values)


def of_sharing(view: Reader, instance: Instance, sharing: Sharing) -> list[MemberStatus]:
    """The status of all members of a sharing, in their order."""
    told = Told(
        sharing,
        steps.of_sharing(view, sharing.id),
        mails.failures(view),
        mails.waiting(view),
        instance.locale,
        instance.env.clock.now().timestamp(),
    )
    return [_of_member(view, told, index) for index in range(len(sharing.members))]


def _of_member(view: Reader, told: Told, index: int) -> MemberStatus:
    sharing, member = told.sharing, told.sharing.members[index]
    found = MemberStatus(
        index=index,
        name=member.display_name,
        status=member.status,
        state=UP_TO_DATE,
        read_only=bool(index) and rights.is_read_only(sharing, index),
        pending=Pending(),
        waiting=[_held(told, claim) for claim in told.waiting if claim.waiting.member == index],
    )
    if sharing.owner and index == 0:
        found.summary = told.say("owner")
    elif not sharing.owner and not sharing.active and _ended(sharing):
        _tell_ended(told, found, member)
    elif member.status == State.REVOKED:
        _tell_revoked(told, found, member)
    elif sharing.owner and member.status in WAITING:
        _tell_invited(told, found, member)
    elif sharing.owner:
        _tell_line(view, told, found, member)
    else:
        _tell_as_recipient(view, told, found, member)
    return found


def _ended(sharing: Sharing) -> bool:
    me = sharing.me()
    return me is not None and sharing.members[me].status == State.REVOKED


# -- members who are not in


def _tell_ended(told: Told, found: MemberStatus, member: Member) -> None:
    """On a recipient, after the end."""
    sharing = told.sharing
    found.state = REVOKED
    if found.index == sharing.me():
        found.summary = told.say("you_are_out")
    elif found.index == 0:
        found.summary = told.say("you_are_out_of", member)
    else:
        found.state = REVOKED if member.status == State.REVOKED else None
        found.summary = told.say("elsewhere", member, owner=sharing.members[0].display_name)
    if found.waiting:
        _take_error(found, found.waiting[0], "not_told", told.say("not_told", member))


def _tell_revoked(told: Told, found: MemberStatus, member: Member) -> None:
    found.state = REVOKED
    declined = member.declined_at
    key = "declined" if declined else "lost" if member.unreachable else "revoked"
    found.summary = told.say(key, member, at=declined[:10])
    if told.sharing.owner:
        found.advice = told.say("advice.invite_again", member)
    if found.waiting:
        _take_error(found, found.waiting[0], "not_told", told.say("not_told", member))


def _tell_invited(told: Told, found: MemberStatus, member: Member) -> None:
    found.state = WAITING_FOR_ACCEPTANCE
    found.summary = told.say("seen" if member.status == State.SEEN else "invited", member)
    found.advice = told.say("advice.remind", member)
    failure = next((f for f in told.failed if f.what == TEMPLATE and member.email in f.to), None)
    letter = next((one for one in told.letters if one.what == TEMPLATE and member.email in one.to), None)
    if member.status == State.MAIL_NOT_SENT and not (member.email or member.instance):
        found.state = NEEDS_ATTENTION
        found.summary = told.say("no_address", member)
        found.advice = told.say("advice.address", member)
        found.last_error = Trouble(code="no_address", message=found.summary)
    elif found.waiting and found.waiting[0].attempts:
        _take_error(found, found.waiting[0], "unreachable", told.say("unreachable", member))
    elif letter is not None and letter.last_error:
        message = told.say("mail_waits", member, error=letter.last_error)
        found.last_error = Trouble(code="mail_waits", message=message)
    elif failure is not None:
        found.state = NEEDS_ATTENTION
        found.summary = told.say("mail_failed", member, error=failure.error)
        found.advice = told.say("advice.mail", member)
        found.last_error = Trouble(code="mail_failed", message=found.summary, at=_moment(failure.at))
    elif member.status == State.MAIL_NOT_SENT:
        found.summary = told.say("being_invited", member)
        found.advice = ""


# -- members who are in


def _tell_line(view: Reader, told: Told, found: MemberStatus, member: Member) -> None:
    """The line from this side to a member (on a recipient: to the owner)."""
    sharing = told.sharing
    if sharing.drive:
        found.summary = told.say("drive", member)
        return
    line = load_state(view, sharing.id, found.index)
    retries = view.records(tracking.retry_kind(sharing.id, found.index), limit=MOST)
    found.pending, total = _count(view, sharing, found.index, retries, first=line.phase != "steady")
    found.last_success_at = line.last_success_at or None
    held = [_refused(view, record) for record in retries[:SHOWN]]
    found.waiting = [*held, *found.waiting]
    if line.next_try_at:
        found.next_try_at = _moment(line.next_try_at)
    elif due := view.next_due(tracking.retry_kind(sharing.id, found.index)):
        found.next_try_at = _moment(due)
    _judge(told, found, member, line, retries)
    if found.state == INITIAL_COPY or (line.phase != "steady" and found.state != UP_TO_DATE):
        found.progress = Progress(done=max(total - found.pending.documents, 0), total=total)
    if found.state == INITIAL_COPY:
        assert found.progress is not None
        progress = found.progress
        found.summary = told.say("initial_copy", member, done=progress.done, total=progress.total)


def _judge(told: Told, found: MemberStatus, member: Member, line: LinkState, retries: Sequence[Record]) -> None:
    waiting, size = found.pending.documents, _size(found.pending.bytes)
    stubborn = [retry for record in retries if (retry := Retry.of(record)).attempts >= PATIENT or _final(retry.reason)]
    if line.next_try_at and line.cause:
        found.state = NEEDS_ATTENTION
        found.summary = told.count(line.cause, member, waiting)
        found.advice = told.say("advice.moved" if line.cause == "moved" else "advice.invite_anew", member)
        found.last_error = Trouble(code=line.cause, message=found.summary, at=line.last_error_at or None)
    elif line.next_try_at:
        found.state = UNREACHABLE
        found.summary = told.count("unreachable_with", member, waiting, size=size)
        found.advice = told.say("advice.unreachable", member)
        message = told.say("unreachable", member)
        found.last_error = Trouble(code="unreachable", message=message, at=line.last_error_at or None)
    elif stubborn:
        code, key = _code_of(stubborn[0].reason)
        found.state = NEEDS_ATTENTION
        found.summary = told.count("refused", member, len(retries))
        found.advice = told.say(f"advice.{key}", member)
        message = told.say(key, member, reason=_words(stubborn[0].reason))
        found.last_error = Trouble(code=code, message=message, at=line.last_error_at or None)
    elif line.phase != "steady":
        found.state = INITIAL_COPY
    elif waiting:
        found.state = BEHIND
        found.summary = told.count("behind", member, waiting, size=size)
        if retries:
            reason = Retry.of(retries[0]).reason
            code, key = _code_of(reason)
            message = told.say(key, member, reason=_words(reason))
            found.last_error = Trouble(code=code, message=message, at=line.last_error_at or None)
    else:
        found.summary = told.say("up_to_date", member)


def _tell_as_recipient(view: Reader, told: Told, found: MemberStatus, member: Member) -> None:
    sharing = told.sharing
    if found.index == sharing.me():
        _tell_myself(view, told, found)
    elif found.index == 0 and sharing.active:
        if rights.i_am_read_only(sharing):
            found.summary = told.say("only_reading", member)
        else:
            _tell_line(view, told, found, member)
    elif found.index == 0:
        found.summary = told.say("offers", member)
    elif member.status in WAITING:
        found.state = WAITING_FOR_ACCEPTANCE
        found.summary = told.say("invited", member)
    else:
        found.state = None
        found.summary = told.say("elsewhere", member, owner=sharing.members[0].display_name)


def _tell_myself(view: Reader, told: Told, found: MemberStatus) -> None:
    sharing = told.sharing
    if not sharing.active:
        found.state = WAITING_FOR_ACCEPTANCE
        found.summary = told.say("your_answer", sharing.members[0])
        found.advice = told.say("advice.answer")
    elif sharing.initial_sync:
        record = view.record(INITIAL, sharing.id)
        done, total = int(record.body["count"]) if record else 0, sharing.initial_number_of_files_to_sync
        found.state = INITIAL_COPY
        found.progress = Progress(done=done, total=total)
        found.summary = told.say("coming", sharing.members[0], done=done, total=total)
    else:
        found.summary = told.say("yours")


# -- counting


def _count(
    view: Reader, sharing: Sharing, index: int, retries: Sequence[Record], *, first: bool
) -> tuple[Pending, int]:
    """What waits for a member; and, for a first copy, how many documents there are in all."""
    credentials = sharing.credentials_for(index)
    key = credentials.xor_key if credentials is not None else b""
    cursor = view.checkpoint(tracking.checkpoint_of(sharing.id, index))
    ids = {record.id for record in retries}
    size = 0
    while key:
        page = outbox.read_page(view, sharing, index, key, cursor, PAGE)
        ids.update(f"{change.doctype}/{change.id}" for change in (*page.bulk, *page.removals))
        ids.update(f"{documents.FILES}/{file.id}" for file in page.files)
        size += sum(file.content.size for file in page.files if file.content is not None)
        cursor = page.last
        if not page.more or len(ids) >= MOST:
            break
    for record in retries[:SHOWN]:
        held = outbox.read_one(view, sharing, index, key, record.id) if key else None
        size += sum(file.content.size for file in held.files if file.content is not None) if held is not None else 0
    beyond = _records(view, sharing.id, cursor) if len(ids) >= MOST else 0
    total = _records(view, sharing.id, 0) if first else 0
    return Pending(documents=len(ids) + beyond, bytes=size), total


def _records(view: Reader, sharing_id: str, since: int) -> int:
    count = 0
    while page := view.record_feed(tracking.SHARED, sharing_id, since=since, limit=PAGE):
        count += len(page)
        since = page[-1].seq
    return count


# -- words


def _held(told: Told, claim: Claim) -> Held:
    waiting = claim.waiting
    return Held(
        what=told.say(f"step.{waiting.step}"),
        reason=waiting.last_error,
        attempts=waiting.attempts,
        next_try_at=_moment(waiting.next),
    )


def _refused(view: Reader, record: Record) -> Held:
    retry = Retry.of(record)
    doctype, _, id = record.id.partition("/")
    document = view.get(doctype, id)
    name = document.body.get("name") if document is not None and doctype == documents.FILES else None
    return Held(what=str(name or record.id), reason=retry.reason, attempts=retry.attempts)


def _take_error(found: MemberStatus, held: Held, code: str, message: str) -> None:
    found.next_try_at = held.next_try_at
    if held.attempts:
        found.last_error = Trouble(code=code, message=message)


def _final(reason: str) -> bool:
    """Whether a refusal will stay the same until somebody does something."""
    return reason.startswith("refused with ") and reason[13:16] in ("403", "413", "422")


def _code_of(reason: str) -> tuple[str, str]:
    if reason.startswith("refused with 413"):
        return "no_room", "no_room"
    return "refused", "refused_because"


def _words(reason: str) -> str:
    return reason.partition(": ")[2] or reason


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _size(count: int) -> str:
    """Bytes as people read them."""
    amount = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
