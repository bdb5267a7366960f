"""JSON:API documents (spec/01 §15)."""

from __future__ import annotations

import pytest

from inglenook.kernel import jsonapi
from inglenook.kernel.errors import BadRequest


def test_a_resource_keeps_id_and_revision_out_of_its_attributes() -> None:
    built = jsonapi.resource("io.cozy.things", "t1", {"_id": "t1", "_rev": "1-x", "name": "x"}, rev="1-x")
    assert built == {"type": "io.cozy.things", "id": "t1", "attributes": {"name": "x"}, "meta": {"rev": "1-x"}}


def test_a_resource_without_revision_has_an_empty_meta() -> None:
    assert jsonapi.resource("t", "1", {})["meta"] == {}


def test_empty_links_are_written_and_absent_ones_are_not() -> None:
    assert jsonapi.document(None, links={}) == {"data": None, "links": {}}
    assert jsonapi.document([], included=[]) == {"data": []}


def test_a_list_counts_what_it_sends_unless_told_the_total() -> None:
    assert jsonapi.listing([])["meta"] == {"count": 0}
    assert jsonapi.listing([{"id": "a"}], count=7)["meta"] == {"count": 7}


def test_a_relationship_always_has_data() -> None:
    assert jsonapi.relationship(None, links={"self": "/x"}) == {"links": {"self": "/x"}, "data": None}


def test_an_error_writes_its_status_as_text_and_always_a_source() -> None:
    assert jsonapi.error_object(404, "Not Found", "gone") == {
        "status": "404",
        "title": "Not Found",
        "detail": "gone",
        "source": {},
    }
    error = jsonapi.error_object(410, "Moved", code="moved", related="https://x", pointer="/data")
    assert (error["code"], error["links"], error["source"]) == ("moved", {"related": "https://x"}, {"pointer": "/data"})


def test_a_document_is_read_leniently() -> None:
    got = jsonapi.parse_document(b'{"data":{"type":"t","id":"1","meta":{"rev":"1-a"},"attributes":{"n":1},"x":2}}')
    assert (got.type, got.id, got.rev, got.attributes, got.relationships) == ("t", "1", "1-a", {"n": 1}, {})
    assert jsonapi.parse_document(b'{"data":{"attributes":null}}').attributes == {}


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b'{"data":null}', b'{"data":[]}', b'{"data":"x"}', b'{"data":{"attributes":[]}}',
     b'{"data":{"id":1}}', b'{"data":', b'{"data":{"type":"\xff"}}', b'{"data":{"attributes":' + b'{"a":' * 100_000],
)  # fmt: skip
def test_a_malformed_document_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        jsonapi.parse_document(body)
    assert caught.value.detail == "JSON input is malformed or is missing mandatory fields"


def test_attributes_can_be_demanded() -> None:
    assert jsonapi.parse_attributes(b'{"data":{"attributes":{}}}') == {}
    with pytest.raises(BadRequest):
        jsonapi.parse_attributes(b'{"data":{"type":"t"}}')


def test_references_come_alone_or_in_a_list() -> None:
    assert jsonapi.parse_references(b'{"data":{"id":"a","type":"t"}}') == [jsonapi.Reference("t", "a")]
    assert [r.id for r in jsonapi.parse_references(b'{"data":[{"id":"a"},{"id":"b","type":"t"}]}')] == ["a", "b"]
    for body in (b"{}", b'{"data":null}', b'{"data":[1]}', b'{"data":{"id":1}}'):
        with pytest.raises(BadRequest):
            jsonapi.parse_references(body)
