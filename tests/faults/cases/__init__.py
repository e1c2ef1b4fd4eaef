"""What goes wrong, and what must be on the disk and on the last line afterwards; a module for each subject."""

from tests.faults.cases import films, outputs, rtsp, signals, stages, streams, surroundings, window  # noqa: F401  (they register cases)
from tests.faults.cases.case import CASES, Case, Skipped

__all__ = ["CASES", "Case", "Skipped"]
