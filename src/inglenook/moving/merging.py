"""Adding an archive to what an instance has (`--into existing`, spec/12 §11): nothing that is there changes or goes.

What has the same id and the same content is left alone. A document of the same id and another content stays as it is; a
file of the same id and another content comes in beside it, as a conflict copy. A folder that has the name and the place
of one that is there is that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from inglenook.files import tree
from inglenook.files.documents import FILES, VERSIONS, Item
from inglenook.files.quota import check_room, quota_of
from inglenook.kernel.names import conflict_name
from inglenook.moving import placing
from inglenook.moving.placing import LeftAlone, Write

if TYPE_CHECKING:
    from inglenook.identity.instance import Instance
    from inglenook.moving.policy import Newcomer
    from inglenook.moving.units import Unit
    from inglenook.storage.contents import Received
    from inglenook.storage.documents.contract import Body, Writer

ANOTHER = "another one with this id is there already, and stays as it is"


class Merge:
    """The way in for an archive that is added to what is there."""

    def __init__(self, instance: Instance) -> None:
        self._quota = quota_of(instance)
        self._random = instance.env.random
        self._same_as: dict[str, str] = {}  # folders of the archive that are folders of the instance, by their ids

    def fixed(self, unit: Unit, body: Body) -> Write:
        """The root and the trash are there."""

        def leave(tx: Writer) -> None:
            raise LeftAlone

        return leave

    def document(self, unit: Unit, body: Body, to: Newcomer) -> Write:
        """Any document but files and versions."""

        def write(tx: Writer) -> None:
            present = tx.get(unit.doctype, unit.id)
            if present is None and body.get("me") is not True:
                placing.put(tx, unit.doctype, unit.id, unit.rev, body, unit.attachments)
            elif present is not None and present.body != body:
                raise LeftAlone(ANOTHER)
            else:
                raise LeftAlone

        return write

    def directory(self, id: str, rev: str, body: Body) -> Write:
        """A folder."""

        def write(tx: Writer) -> None:
            present = tree.get(tx, id)
            if present is not None:
                raise LeftAlone("" if present.is_directory and present.name == body["name"] else ANOTHER)
            placed = self._placed(body)
            there = tree.child(tx, str(placed["dir_id"]), str(placed["name"]))
            if there is not None and there.is_directory:
                self._same_as[id] = there.id
                raise LeftAlone
            placing.create(tx, id, rev, self._with_free_name(tx, placed, there))

        return write

    def file(self, id: str, rev: str, body: Body, received: Received) -> Write:
        """A file with its content."""

        def write(tx: Writer) -> None:
            placed = self._placed(body)
            present = tree.get(tx, id)
            there = tree.child(tx, str(placed["dir_id"]), str(placed["name"]))
            if any(one is not None and one.is_file and one.md5sum == body["md5sum"] for one in (present, there)):
                raise LeftAlone
            check_room(tx, self._quota, received.size)
            placed = self._with_free_name(tx, placed, there)
            if present is None:
                placing.create(tx, id, rev, placed)
                received.hold(tx, FILES, id)
            else:
                copy = self._random.file_id()
                placing.create(tx, copy, "", placed)
                received.hold(tx, FILES, copy)

        return write

    def version(self, unit: Unit, body: Body, received: Received) -> Write:
        """An old version of a file that is there."""

        def write(tx: Writer) -> None:
            if tx.get(VERSIONS, unit.id) is not None or tx.get(FILES, unit.id.partition("/")[0]) is None:
                raise LeftAlone
            check_room(tx, self._quota, received.size)
            placing.put(tx, VERSIONS, unit.id, unit.rev, body)
            received.hold(tx, VERSIONS, unit.id)

        return write

    def _placed(self, body: Body) -> Body:
        dir_id = str(body["dir_id"])
        return {**body, "dir_id": self._same_as.get(dir_id, dir_id)}

    def _with_free_name(self, tx: Writer, body: Body, there: Item | None) -> Body:
        if there is None:
            return body
        dir_id, is_file = str(body["dir_id"]), body["type"] == "file"
        name = conflict_name(str(body["name"]), is_file=is_file, taken=lambda other: tree.taken(tx, dir_id, other))
        return {**body, "name": name}
