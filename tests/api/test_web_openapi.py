"""The OpenAPI document describes every route, and says who may call it."""

from __future__ import annotations

from inglenook.web import parts
from inglenook.web.openapi import WHO, document
from inglenook.wire import GUARDS


def test_every_route_is_described_with_a_summary_and_its_caller() -> None:
    described = document()["paths"]
    operations = [operation for path in described.values() for operation in path.values()]
    assert len(operations) >= len(parts.routes())
    assert not [operation["operationId"] for operation in operations if not operation["summary"]]
    assert all(any(who in operation["description"] for who in WHO.values()) for operation in operations)


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for path in document()["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


def test_every_guard_can_be_explained() -> None:
    assert set(WHO) == GUARDS


def test_path_parameters_are_declared() -> None:
    described = document()["paths"]
    upload = described["/sharings/{sharing_id}/io.cozy.files/{file_id}/metadata"]["put"]
    assert [p["name"] for p in upload["parameters"]] == ["sharing_id", "file_id"]
    assert upload["security"] == [{"bearer": []}]
