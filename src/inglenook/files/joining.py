"""How files take part in the server: the first tree of a new instance, and how other domains show files."""

from __future__ import annotations

from inglenook.documents.changes import HIDDEN
from inglenook.documents.presenting import COMPUTED, PRESENTERS
from inglenook.files import fixed_directories, tree
from inglenook.files.documents import FILES
from inglenook.files.left_out import hidden
from inglenook.identity.instances import Instances
from inglenook.storage.documents.contract import Body


def join(instances: Instances) -> None:
    """Take part in the life of instances, and in what `/data` shows of `io.cozy.files`."""
    instances.on_created.append(fixed_directories.on_created)
    PRESENTERS[FILES] = tree.present
    COMPUTED[FILES] = {"path": _has_path}
    HIDDEN[FILES] = hidden


def _has_path(body: Body) -> bool:
    return body.get("type") == "directory"
