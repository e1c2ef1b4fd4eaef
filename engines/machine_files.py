"""Files that belong to this user of this machine: where they are, how they are read and written, and how they are signed."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from common.files import cache_folder, expanded, write_bytes_atomically
from engines.engine import EngineError

ENGINES_ENVIRONMENT = "MOTIONMESH_ENGINES"
"""The environment variable that names another folder for TensorRT plans."""

_SECRET_BYTES = 32


def plans_folder() -> Path:
    """Where TensorRT plans are kept: the folder that `ENGINES_ENVIRONMENT` names, or ``engines`` in the user's cache."""
    named = os.environ.get(ENGINES_ENVIRONMENT)
    return expanded(named) if named else cache_folder() / "engines"


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write ``path`` so that it is there with all of ``data`` or not at all; its folder is made when missing.

    Raises `EngineError` when it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, data, mode)
    except OSError as error:
        raise EngineError(
            f"cannot write {path}: {error.strerror or error}; set {ENGINES_ENVIRONMENT} to a folder that can be written"
        ) from error


def read_whole(path: Path) -> bytes:
    """The contents of ``path``. Raises `EngineError` when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise EngineError(f"{path.name} is missing") from None
    except OSError as error:
        raise EngineError(f"cannot read {path}: {error.strerror or error}") from error


class Signature:
    """Signs with a secret that is kept in ``file``, and made there when first needed."""

    def __init__(self, file: Path) -> None:
        """Remember where the secret is kept; nothing is read or written yet."""
        self._file = file

    def sign(self, data: bytes) -> str:
        """The signature of ``data``, in hexadecimal. Raises `EngineError` when the secret cannot be kept."""
        secret = self._secret()
        if not secret:
            write_whole(self._file, secrets.token_bytes(_SECRET_BYTES), 0o600)
            secret = self._secret()
        return hmac.new(secret, data, hashlib.sha256).hexdigest()

    def verify(self, data: bytes, signature: str) -> bool:
        """Whether ``signature`` was made of ``data`` with this secret."""
        secret = self._secret()
        return bool(secret) and hmac.compare_digest(hmac.new(secret, data, hashlib.sha256).hexdigest(), signature)

    def _secret(self) -> bytes:
        try:
            secret = self._file.read_bytes()
        except OSError:
            return b""
        return secret if len(secret) == _SECRET_BYTES else b""


def machine_signature() -> Signature:
    """Signs for this user of this machine. The secret lies outside the folder of plans, so copied plans do not bring it
    along."""
    return Signature(cache_folder() / "machine.key")
