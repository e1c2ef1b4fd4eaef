"""Rows of a folder's manifest.json, which says of every file where it is from, its licence, hash and command."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from common.files import write_text_atomically


def add_rows(folder: Path, abouts: Mapping[str, Mapping[str, str]], command: str) -> None:
    """Write rows of the files named by ``abouts``, which are in ``folder``, into its manifest; other rows stay.

    ``abouts``: ``origin`` and ``licence`` of each file by its path in ``folder``; ``command``: what made them.
    """
    manifest = folder / "manifest.json"
    rows = json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else {}
    for name, about in abouts.items():
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        rows[name] = {**about, "sha256": digest, "command": command}
    write_text_atomically(manifest, json.dumps(dict(sorted(rows.items())), indent=2) + "\n")
