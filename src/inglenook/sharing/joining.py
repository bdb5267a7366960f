"""How sharings take part in the life of instances."""

from __future__ import annotations

from inglenook.identity import pages
from inglenook.identity.instance import Instance
from inglenook.identity.instances import Instances
from inglenook.sharing import documents, preview, revocation
from inglenook.sharing.documents import DOCTYPE, Sharing
from inglenook.sharing.handshake import give_notice
from inglenook.sharing.revocation import Ending
from inglenook.storage.documents.contract import Reader, Writer

PAGE = 200

pages.extend("inglenook.sharing")


def join(instances: Instances) -> None:
    """Let sharings know of codes that are used, and of instances that go."""
    instances.sharing_members = preview.greet_member
    instances.on_destroyed.append(tell_members)


async def tell_members(instance: Instance) -> None:
    """Before an instance is deleted, tell the members of its sharings that it is over (spec/10 §3)."""

    def concerned(view: Reader) -> list[Sharing]:
        found: list[Sharing] = []
        start = ""
        while page := view.all_docs(DOCTYPE, start=start, limit=PAGE):
            found += [documents.of_document(document) for document in page]
            start = page[-1].id + "\0"
        return [sharing for sharing in found if sharing.active or sharing.unanswered]

    for sharing in await instance.store.scan(concerned):

        def finish(tx: Writer, sharing_id: str = sharing.id) -> None:
            current = documents.load(tx, sharing_id)
            ending = Ending.of(instance)
            if current.owner:
                revocation.end(tx, ending, current)
            else:
                revocation.leave(tx, ending, current)

        await instance.store.write(finish)
        await give_notice(instance, sharing.id)
