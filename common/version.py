"""The version of the project."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """The installed version; "source" in a checkout that was never installed."""
    try:
        return metadata.version("motionmesh")
    except metadata.PackageNotFoundError:
        return "source"
