"""What `check sharings` finds in a sharing as it is stored."""

from __future__ import annotations

from typing import Any

from tests.servers import Person

from inglenook.sharing import check, documents

RULE = {"title": "t", "doctype": "io.cozy.tests", "values": ["x"], "add": "sync", "update": "sync", "remove": "sync"}
OWNER = {"status": "owner", "instance": "https://alice.example"}


def faults(alice: Person, **changes: Any) -> set[tuple[str, int | None]]:
    body: dict[str, Any] = {
        "active": True, "owner": True, "rules": [RULE], "triggers": {}, "app_slug": "drive",
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        "members": [OWNER, {"status": "pending", "email": "bob@example.com"}], "credentials": [{}], **changes,
    }  # fmt: skip
    sharing = documents.parse(body)

    async def look(_: Any) -> list[dict[str, Any]]:
        return await alice.instance.store.read(lambda view: list(check.faults_of(view, sharing)))

    return {(found["type"], found.get("member")) for found in alice.server.do(look)}


def test_nothing_is_wrong_with_a_sharing_that_waits_for_somebody(alice: Person) -> None:
    assert faults(alice) == set()
    assert faults(alice, active=False, members=[]) == set()


def test_members(alice: Person) -> None:
    assert faults(alice, members=[OWNER]) == {("not_enough_members", None)}
    assert faults(alice, members=[OWNER, {"status": "lost"}]) == {("invalid_member_status", 1)}
    assert faults(alice, members=[OWNER, {"status": "mail-not-sent"}]) == {("mail_not_sent", 1)}
    assert faults(alice, members=[OWNER, {"status": "seen", "instance": "bob"}]) == {("invalid_instance_for_member", 1)}


def test_rules_and_credentials(alice: Person) -> None:
    assert faults(alice, rules=[{**RULE, "add": "maybe"}]) == {("invalid_rules", None)}
    assert faults(alice, credentials=[]) == {("invalid_number_of_credentials", None)}
    ready = [OWNER, {"status": "ready", "instance": "https://bob.example"}]
    lacking = {"missing_oauth_client", "missing_access_token", "missing_inbound_client_id"}
    assert faults(alice, members=ready) == {(type, 1) for type in lacking}
