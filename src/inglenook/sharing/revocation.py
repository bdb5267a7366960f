"""The end of a sharing: for one member, for all, by the recipient himself (spec/04 §19, spec/05 §19).

Everything here works inside a transaction, so that the end can be part of whatever causes it: a request, a folder
that goes to the trash, a removed document. The other servers are told by steps that wait as long as it takes; they
carry the credentials that the sharing itself forgets at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from inglenook.environment import Environment
from inglenook.files.stamps import Stamp
from inglenook.identity import clients, sessions
from inglenook.identity.instance import Instance
from inglenook.kernel.errors import BadRequest, NotFound
from inglenook.kernel.members import WAITING, Event, State, next_state
from inglenook.peers.peers import PeerLink, TokensChanged
from inglenook.sharing import (
    attempts,
    description,
    documents,
    folder,
    invitations,
    members,
    members_list,
    moved_away,
    notifications,
    organizations,
    preview,
    shortcuts,
    steps,
    tracking,
    triggers,
)
from inglenook.sharing.documents import DOCTYPE, NO_MEMBER, WRONG_STATE, Credentials, Sharing
from inglenook.sharing.steps import Claim, Outcome
from inglenook.storage.documents.contract import Writer
from inglenook.wire import JSON

REVOKE_NOTICE = "revoke-notice"
LEAVE_NOTICE = "leave-notice"
REFUSAL_NOTICE = "refusal-notice"
REST = 20.0


@dataclass(frozen=True, slots=True)
class Ending:
    """What ending needs to know of where it happens: the moment (RFC 3339), the language of the names that it writes.

    `in_trash`: the shared folder is on its way to the trash, which takes its reference and its name as they are.
    `rest`: the seconds that notices wait for the one who has asked for the end to send them himself."""

    now: str
    locale: str = "en"
    in_trash: bool = False
    rest: float = 0.0

    @classmethod
    def of(cls, instance: Instance, *, rest: float = REST) -> Ending:
        """That of an instance, whose route sends the notices; without rest they leave by themselves."""
        return cls(instance.env.clock.timestamp(), instance.locale, rest=rest)

    @property
    def stamp(self) -> Stamp:
        """Who writes, and when."""
        return Stamp(self.now, "")

    @property
    def seconds(self) -> float:
        """The moment in seconds of Unix time."""
        moment = sessions.moment(self.now)
        return moment.timestamp() if moment is not None else 0.0


def end_or_leave(tx: Writer, env: Environment, sharing_id: str, *, locale: str = "en") -> None:
    """What has to happen when what is shared is gone: the owner ends the sharing for all, a recipient leaves it.
    Nothing happens to a sharing that is not active."""
    stop_here(tx, Ending(env.clock.timestamp(), locale), sharing_id)


def stop_here(tx: Writer, ending: Ending, sharing_id: str) -> None:
    """End a sharing on the owner, leave it on a recipient. Nothing happens to one that is not active."""
    sharing = documents.get(tx, sharing_id)
    if sharing is None or not sharing.active:
        return
    if sharing.owner:
        end(tx, ending, sharing)
    else:
        leave(tx, ending, sharing)


# -- the owner's side


def end(tx: Writer, ending: Ending, sharing: Sharing) -> None:
    """End a sharing for everybody (spec/04 §19.3); a drive's document goes with it. Raises BadRequest on a
    recipient."""
    sharing.require_owner()
    for index in range(1, len(sharing.members)):
        _revoke(tx, ending, sharing, index, tell=True)
    _stop(tx, ending, sharing)
    preview.expire_codes(tx, ending.now, sharing.id)
    documents.save(tx, sharing)
    if sharing.drive and (ending.in_trash or not sharing.org_drive):
        tx.delete(DOCTYPE, sharing.id, sharing.rev)


def revoke_member(tx: Writer, instance: Instance, sharing: Sharing, index: int, *, rest: float = REST) -> None:
    """End a sharing for one member, whose server is told (`rest`: see `Ending`); the others learn of it (spec/04
    §19.2)."""
    sharing.require_owner()
    _check_index(sharing, index)
    ending = Ending.of(instance, rest=rest)
    _revoke(tx, ending, sharing, index, tell=True)
    _go_on_without(tx, instance, ending, sharing)


def take_leave_of(tx: Writer, instance: Instance, sharing: Sharing, index: int) -> None:
    """A member's server has told that he leaves (spec/04 §19.6): the same, without telling him. Who had not answered
    yet has declined."""
    sharing.require_owner()
    _check_index(sharing, index)
    ending = Ending.of(instance)
    if sharing.members[index].status in WAITING:
        sharing.members[index].declined_at = ending.now
    _revoke(tx, ending, sharing, index, tell=False)
    _go_on_without(tx, instance, ending, sharing)


def take_refusal_of(tx: Writer, instance: Instance, sharing: Sharing, index: int) -> None:
    """An invited person has declined (spec/08 §10.5): he is out, and his links and codes with him; the owner can
    invite him again."""
    sharing.require_owner()
    _check_index(sharing, index)
    ending = Ending.of(instance)
    preview.forget_preview_code(tx, instance, sharing, index)
    _revoke(tx, ending, sharing, index, tell=False)
    sharing.members[index].declined_at = ending.now
    _go_on_without(tx, instance, ending, sharing)


def lose_member(tx: Writer, instance: Instance, sharing: Sharing, index: int) -> None:
    """A member's server does not know the sharing any more (spec/08 §10.5): he is out, and the owner is told, who can
    invite him again."""
    sharing.require_owner()
    _check_index(sharing, index)
    member, ending = sharing.members[index], Ending.of(instance)
    _revoke(tx, ending, sharing, index, tell=False)
    member.unreachable = True
    _go_on_without(tx, instance, ending, sharing)
    slug = sharing.app_slug or "drive"
    values = {
        "MemberName": member.display_name or member.instance,
        "Description": sharing.description,
        "Link": instance.app_url(slug),
    }
    notifications.notify(
        tx, instance, category="sharing-member-lost", category_id=f"{sharing.id}/{index}",
        template="sharing_member_lost", values=values, slug=slug,
    )  # fmt: skip


def revoke_group(tx: Writer, instance: Instance, sharing: Sharing, group: int) -> None:
    """End a sharing for a group: who is there through it alone goes (spec/04 §19.4)."""
    sharing.require_owner()
    ending = Ending.of(instance)
    for index, member in enumerate(sharing.members):
        if members.leave_group(member, group):
            _revoke(tx, ending, sharing, index, tell=True)
    sharing.groups[group].revoked = True
    sharing.touch(ending.now)
    _go_on_without(tx, instance, ending, sharing)


def take_out_of_group(
    tx: Writer, instance: Instance, sharing: Sharing, group: int, index: int, *, rest: float = REST
) -> None:
    """A person is in a group no more; who was there through groups alone goes (spec/04 §17.6)."""
    _check_index(sharing, index)
    if members.leave_group(sharing.members[index], group):
        revoke_member(tx, instance, sharing, index, rest=rest)
    else:
        sharing.touch(instance.env.clock.timestamp())
        documents.save(tx, sharing)
        members_list.queue(tx, instance, sharing)


def _revoke(tx: Writer, ending: Ending, sharing: Sharing, index: int, *, tell: bool) -> None:
    member = sharing.members[index]
    if member.status == State.REVOKED:
        return
    credentials = sharing.credentials[index - 1]
    if tell:
        _queue_notice(tx, ending, sharing, index, REVOKE_NOTICE)
    for client_id in (credentials.inbound_client_id, credentials.next_client_id):
        if client_id:
            clients.delete_client(tx, client_id)
    preview.forget_interact_code(tx, sharing, index)
    organizations.remove_member(tx, sharing, index)
    member.status = next_state(member.status, Event.REVOKED)
    sharing.touch(ending.now)
    sharing.credentials[index - 1] = Credentials()
    steps.forget(tx, sharing.id, invitations.STEP, members_list.STEP, description.STEP, member=index)
    tracking.forget_member(tx, sharing.id, index)


def _go_on_without(tx: Writer, instance: Instance, ending: Ending, sharing: Sharing) -> None:
    """After somebody went: a sharing with nobody left rests; one that somebody may still join stays open."""
    nobody_ready = not any(member.status == State.READY for member in sharing.members)
    if sharing.drive:
        if all(member.status == State.REVOKED for member in sharing.members[1:]) and all(
            group.revoked for group in sharing.groups
        ):
            end(tx, ending, sharing)
            return
    elif nobody_ready and not any(_may_join(sharing, index) for index in range(1, len(sharing.members))):
        _stop(tx, ending, sharing)
    elif nobody_ready:
        triggers.hide(sharing)
        tracking.forget_sharing(tx, sharing.id)
    documents.save(tx, sharing)
    members_list.queue(tx, instance, sharing)


def _may_join(sharing: Sharing, index: int) -> bool:
    member = sharing.members[index]
    reachable = bool(member.email or member.instance)
    return member.status in (State.PENDING, State.SEEN) or (member.status == State.MAIL_NOT_SENT and reachable)


def _stop(tx: Writer, ending: Ending, sharing: Sharing) -> None:
    triggers.hide(sharing)
    sharing.active = False
    documents.save(tx, sharing)
    tracking.forget_sharing(tx, sharing.id)
    if not ending.in_trash:
        folder.remove_root_reference(tx, sharing, ending.stamp)


def _check_index(sharing: Sharing, index: int) -> None:
    if not 0 < index < len(sharing.members):
        raise NotFound(NO_MEMBER)


# -- the recipient's side


def leave(tx: Writer, ending: Ending, sharing: Sharing, *, state: str = "") -> None:
    """The local user leaves: the owner is told, the files stay (spec/04 §19.7). Who has not answered yet declines;
    `state` is that of the invitation, when it is at hand. Raises BadRequest on the owner."""
    if sharing.owner:
        raise BadRequest(WRONG_STATE)
    declines = sharing.unanswered
    if declines and (me := sharing.me()) is not None:
        sharing.members[me].declined_at = ending.now
    if declines and not sharing.drive:
        _queue_refusal(tx, ending, sharing, state)
    else:
        _queue_notice(tx, ending, sharing, 0, LEAVE_NOTICE)
    if sharing.members:
        sharing.members[0].status = State.REVOKED
    _forget_owner(tx, ending, sharing)


def end_by_notice(tx: Writer, ending: Ending, sharing: Sharing) -> None:
    """The owner's server tells that it is over (spec/04 §19.6). Raises BadRequest on the owner."""
    if sharing.owner:
        raise BadRequest(WRONG_STATE)
    _forget_owner(tx, ending, sharing)


def _forget_owner(tx: Writer, ending: Ending, sharing: Sharing) -> None:
    me = sharing.me()
    if me is not None:
        sharing.members[me].status = State.REVOKED
    for credentials in sharing.credentials:
        for client_id in (credentials.inbound_client_id, credentials.next_client_id):
            if client_id:
                clients.delete_client(tx, client_id)
    sharing.credentials = []
    sharing.touch(ending.now)
    sharing.active = False
    sharing.initial_sync = False
    sharing.initial_number_of_files_to_sync = 0
    triggers.hide(sharing)
    shortcuts.remove(tx, sharing)
    documents.save(tx, sharing)
    tracking.forget_sharing(tx, sharing.id)
    organizations.remove_received(tx, sharing)
    if not ending.in_trash:
        folder.keep_after_end(tx, sharing, ending.stamp, ending.locale)


# -- notices between servers (spec/04 §19.6)


def _queue_notice(tx: Writer, ending: Ending, sharing: Sharing, index: int, step: str) -> None:
    member, credentials = sharing.members[index] if sharing.members else None, sharing.credentials_for(index)
    where = documents.origin_of(member.instance) if member is not None else ""
    if member is None or credentials is None or not where:
        return
    data: dict[str, Any]
    if sharing.drive:
        token = preview.existing_interact_code(tx, sharing, index) if sharing.owner else credentials.drive_token
        if not token:
            return
        data = {"instance": where, "access_token": token}
    elif (
        credentials.client is None
        or credentials.access_token is None
        or (sharing.owner and member.status != State.READY)
    ):
        return
    else:
        data = {
            "instance": where,
            "access_token": credentials.access_token.access_token,
            "refresh_token": credentials.access_token.refresh_token,
            "client_id": credentials.client.client_id,
            "client_secret": credentials.client.client_secret,
        }
    mark = sharing.rev  # each end of a membership is told once, in its own step
    steps.queue(tx, ending.seconds, step, sharing.id, index, instance=where, rest=ending.rest, mark=mark, data=data)


def _queue_refusal(tx: Writer, ending: Ending, sharing: Sharing, state: str) -> None:
    """Tell the owner's server that the local user declines; what proves it is in the invitation."""
    where = documents.origin_of(sharing.members[0].instance)
    proof = {"state": state} if state else shortcuts.secrets_of(tx, sharing)
    if where and proof:
        steps.queue(
            tx, ending.seconds, REFUSAL_NOTICE, sharing.id, 0, instance=where, rest=ending.rest, mark=sharing.rev,
            data={"instance": where, "proof": proof},
        )  # fmt: skip


async def send_refusal(instance: Instance, claim: Claim) -> Outcome:
    """Tell the owner's server that the local user has declined. A server of another make does not know of it: its
    user goes on seeing the invitation as unanswered."""
    told = claim.waiting.data
    response, _ = await moved_away.request(
        instance,
        told["instance"],
        "POST",
        f"/sharings/{claim.waiting.sharing}/refusal",
        headers={"Accept": JSON, "Content-Type": JSON},
        body=msgspec.json.encode(told["proof"]),
    )
    return attempts.judge(response.status)


async def send_notice(instance: Instance, claim: Claim) -> Outcome:
    """Tell the other server that it is over."""
    waiting = claim.waiting
    own = waiting.data

    async def keep(changed: TokensChanged) -> None:
        own.update(instance=changed.instance, access_token=changed.access_token, refresh_token=changed.refresh_token)
        await instance.store.write(lambda tx: steps.remember(tx, claim.id, own))

    link = PeerLink(
        instance=own["instance"],
        access_token=own["access_token"],
        refresh_token=own.get("refresh_token", ""),
        client_id=own.get("client_id", ""),
        client_secret=own.get("client_secret", ""),
        save=keep,
    )
    path = f"/sharings/{waiting.sharing}" + ("/answer" if waiting.step == LEAVE_NOTICE else "")
    response = await instance.peers.authorized(link, "DELETE", path, refresh=bool(link.refresh_token))
    return attempts.judge(response.status)


REVOKE_LINE = steps.Step(
    send_notice,
    on_refused="the member's server takes nothing from us any more",
    on_given_up="the member keeps an active copy whose credentials are dead",
)
LEAVE_LINE = steps.Step(
    send_notice,
    on_refused="the owner's server takes nothing from us any more",
    on_given_up="the owner still lists the local user as a member",
)
REFUSAL_LINE = steps.Step(
    send_refusal,
    give_up_after=7 * steps.DAY,
    on_refused="the owner goes on waiting for an answer",
    on_given_up="the owner goes on waiting for an answer",
)
