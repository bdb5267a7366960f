"""Where things lie in an archive (spec/12 §2)."""

from __future__ import annotations

DATA = "My Cozy/Data/"
CONTENTS = "My Cozy/Files/"
MANIFEST = "My Cozy/manifest.json"
INSTANCE = DATA + "instance.json"
