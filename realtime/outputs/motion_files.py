"""Every ``--save`` of a run: one motion file that is written as it goes, and the other formats made from it at the end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from body.model import BodyArrays
from common.camera import Camera
from common.errors import UserError
from common.files import check_writable
from formats.endings import MeshLook, ReferenceFrame, ending_of
from formats.motion import load_motion
from realtime.outputs.motion_writer import MotionWriter
from realtime.records import Result

_LOG = logging.getLogger(__name__)


def check_paths(paths: Sequence[Path]) -> None:
    """Raise `UserError` unless each of ``paths`` has an ending that names a format, and all are different."""
    for path in paths:
        ending_of(path)
    try:
        names = [path.absolute() for path in paths]
    except OSError:
        raise UserError("the current folder is gone: go to another one, and start anew") from None
    for path in paths:
        if names.count(path.absolute()) > 1:
            raise UserError(f"--save {path} is given twice: give each file once")


class MotionFiles:
    """Writes ``paths``, each in the format that its ending names.

    The first .npz is written as it goes by `writer`; where there is none, a hidden one beside the first path stands in for
    it, and is removed once all others are made of it. Raises UserError where a path cannot be written.

    Args:
        paths: at least one.
        camera: of the frames.
        fps: nominal rate of the source.
        source: its name.
        arrays: the body that is estimated.
        frame: of reference of the other formats, see `formats.save.save_as`.
        look: of meshes in them.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        camera: Camera,
        fps: float,
        source: str,
        arrays: BodyArrays,
        frame: ReferenceFrame | None = None,
        look: MeshLook = "suit",
    ) -> None:
        check_paths(paths)
        for path in paths:
            check_writable(path)
        own = [path for path in paths if ending_of(path) == ".npz"]
        self._own = own[0] if own else paths[0].with_name(f".{paths[0].name}.motion.npz")
        self._hidden = not own
        self._others = [path for path in paths if path != self._own]
        self._arrays, self._frame, self._look = arrays, frame, look
        self.unwritten: set[Path] = set()
        """From `close` on: those of the paths that could not be written, or had nobody in them."""
        self.writer = MotionWriter(self._own, camera, fps, source, arrays.sha256)

    @property
    def fps(self) -> float:
        """Nominal rate of the source; it may be corrected until `close`."""
        return self.writer.fps

    @fps.setter
    def fps(self, fps: float) -> None:
        self.writer.fps = fps

    @property
    def unfinished(self) -> Path | None:
        """Where the motion is before `close`; None as long as nothing is on the disk."""
        return self.writer.unfinished

    @property
    def frames(self) -> int:
        """Frames written so far."""
        return self.writer.frames

    def write(self, result: Result) -> None:
        """Add one frame. Does nothing after `close`."""
        self.writer.write(result)

    def close(self) -> None:
        """Finish every file. Does nothing the second time. Raises UserError when one could not be written, once all others
        are."""
        elsewhere = ""
        try:
            self.writer.close()
        except UserError as error:
            elsewhere = str(error)
        others, self._others = self._others, []
        made_from = self.writer.saved_at
        if not self._hidden and made_from != self._own:
            self.unwritten.add(self._own)
        failures: list[str] = []
        if made_from is None:
            self.unwritten.update(others)
        elif others:
            failures = self._make(others, made_from)
        if self._hidden and made_from is not None and not failures:
            made_from.unlink(missing_ok=True)  # nobody asked for it, wherever it was
        elif elsewhere or failures:
            where = elsewhere or f"the motion is in {self._own}"
            rest = ", python -m formats.convert makes the rest of it" if failures else ""
            raise UserError(": ".join([*(["; ".join(failures)] if failures else []), where + rest]))

    def _make(self, paths: Sequence[Path], made_from: Path) -> list[str]:
        """Write ``paths`` in their formats from the motion file ``made_from``. Returns why some could not be."""
        from formats.save import save_as  # loads scipy, so only on demand

        motion = load_motion(made_from)
        failures = []
        fault: Exception | None = None
        for path in paths:
            if not motion.people:
                _LOG.warning(f"nobody was seen: {path} is not written")
                self.unwritten.add(path)
                continue
            try:
                for line in save_as(motion, path, self._arrays, self._frame, look=self._look).lines:
                    _LOG.info(line)
            except UserError as error:
                self.unwritten.add(path)
                failures.append(str(error))
            except Exception as error:  # a fault of the program in one format costs no other
                self.unwritten.add(path)
                fault = fault or error
        if fault is not None:
            raise fault
        return failures
