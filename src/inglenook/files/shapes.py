"""How the items of an instance are shown (see `present.Shape`)."""

from __future__ import annotations

from inglenook.files.present import Shape
from inglenook.files.thumbnail_secrets import ThumbnailSecrets
from inglenook.identity.instance import Instance


def shape_of(instance: Instance, drive_id: str = "") -> Shape:
    """The shape of answers of an instance, seen through a drive when its id is given."""
    return Shape(ThumbnailSecrets(instance.doc.session_secret, instance.env.clock), drive_id)
