"""What a server that was stopped still has to tell the others (DESIGN, idea 3)."""

from __future__ import annotations

from pathlib import Path

from tests.api.sharing_town import ALL, Scripted, contact, eventually, member, people, share
from tests.servers import RunningServer

from inglenook.sharing import documents, invitations, steps
from inglenook.storage.documents.contract import Writer


def test_a_notice_that_waited_when_the_server_stopped_is_sent_by_the_next_one(tmp_path: Path) -> None:
    first = RunningServer(tmp_path).start()
    alice = first.add("alice")
    carol2 = Scripted("carol2")
    try:
        sharing = share(alice, people(contact(alice, "carol2", email=carol2.email, url=carol2.url)))
        carol2.join(alice, sharing)
        carol2.on("DELETE", f"/sharings/{sharing}$", (503, None))
        assert alice.delete(f"/sharings/{sharing}/recipients", *ALL).status_code == 204
        carol2.got("DELETE", f"/sharings/{sharing}$")
        first.stop()
        sent = carol2.count("DELETE", f"/sharings/{sharing}$")
        carol2.script.clear()
        second = RunningServer(tmp_path, port=first.port).start()
        try:
            told = carol2.got("DELETE", f"/sharings/{sharing}$", sent + 1)
        finally:
            second.stop()
        assert told.headers["authorization"] == "Bearer a-token"
    finally:
        carol2.stop()


def test_an_invitation_whose_request_was_cut_off_goes_out_by_itself(tmp_path: Path) -> None:
    """What a crash between the commit of the creation and the sending leaves behind."""
    server = RunningServer(tmp_path).start()
    carol2 = Scripted("carol2")
    try:
        alice = server.add("alice")
        sharing = share(
            alice, people(contact(alice, "other"), contact(alice, "carol2", email=carol2.email, url=carol2.url))
        )
        carol2.got("PUT", f"/sharings/{sharing}$")

        def not_sent_yet(tx: Writer) -> None:
            known = documents.load(tx, sharing)
            known.members[2].status = "mail-not-sent"
            documents.save(tx, known)
            steps.queue(tx, 0.0, invitations.STEP, sharing, 2, instance=carol2.url)

        server.do(lambda _: alice.instance.store.write(not_sent_yet))
        assert carol2.got("PUT", f"/sharings/{sharing}$", 2).query["shortcut"] == "true"
        eventually(lambda: member(alice, sharing, 2)["status"] == "pending")
    finally:
        carol2.stop()
        server.stop()
