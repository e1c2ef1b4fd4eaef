"""Images: a folder of them in the order of their names, or a single one."""

from __future__ import annotations

import re
from pathlib import Path

from common.arrays import ImageArray
from common.errors import UserError
from realtime.sources.animation import is_moving_png, is_moving_webp
from realtime.sources.clip import ClipSource
from realtime.sources.pixels import fit_into
from realtime.sources.stills import is_cut_short, pages_of, read_image, why_unreadable
from realtime.sources.timing import DEFAULT_FPS

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".jp2", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def is_image(path: Path) -> bool:
    """Whether the name of ``path`` is one of a still image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def _images_in(folder: Path) -> set[Path]:
    """The images in ``folder``, without files that the user never sees: macOS leaves a ``._name.jpg`` beside each
    ``name.jpg`` on other systems' disks. Raises OSError."""
    return {path for path in folder.iterdir() if is_image(path) and path.name[0] != "." and path.is_file()}


def natural_key(path: Path) -> tuple[tuple[int, int, str], ...]:
    """Sorts names as people count: image2 before image10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts)


class ImageSource(ClipSource):
    """Still images at a stated rate: ``path`` is a folder (its images in natural order of names) or one image. The pages of a
    TIFF are images of their own.

    The first image gives the size; others are fitted into it. One that cannot be read is left out, with a warning, and
    leaves a gap in the indexes. 16-bit, grey and transparent images become 8-bit BGR, upright as their EXIF data say.
    Images that come into the folder meanwhile are not played, which is said at the end.
    """

    def __init__(self, path: str | Path, fps: float | None = None) -> None:
        super().__init__(str(path))
        self._path = Path(path)
        self.fps = DEFAULT_FPS if fps is None else fps
        self._files: list[tuple[Path, int]] = []
        """Each image, and its page."""
        self._position = 0
        self._waiting: ImageArray | None = None
        self._present: ImageArray | None = None
        self._unreadable = 0
        self._size_noticed = self._cut_noticed = self._moving_noticed = False

    def _open(self) -> None:
        if not 0 < self.fps <= 1000:
            raise UserError(f"{self.fps:g} images a second is no rate: give --fps between 0 and 1000")
        try:
            # A single one, hidden or not, was asked for.
            files = [self._path] if self._path.is_file() else sorted(_images_in(self._path), key=natural_key)
        except OSError as error:
            raise UserError(f"the folder {self.name} cannot be read: {error.strerror}") from None
        self._files = [(path, page) for path in files for page in range(pages_of(path))]
        if not self._files:
            raise UserError(f"there are no images in {self.name}: it needs {', '.join(sorted(IMAGE_SUFFIXES))} files")
        self.frame_count = len(self._files)
        self._waiting = self._read_next()
        if self._waiting is None:
            first = self._files[0][0]
            why = f"{first} {why_unreadable(first)}"
            raise UserError(why if first == self._path else f"no image in {self.name} can be read: {why}")
        self.size = (self._waiting.shape[1], self._waiting.shape[0])

    def _release(self) -> None:
        self._waiting = self._present = None

    def _advance(self) -> tuple[int, float] | None:
        image = self._read_next() if self._waiting is None else self._waiting
        self._waiting = None
        if image is None:
            self._notice_the_end()
            return None
        self._present = image
        index = self._position - 1
        return index, index / self.fps

    def _render(self, buffer: ImageArray) -> None:
        assert self._present is not None, "advance comes first"
        height, width = self._present.shape[:2]
        if (width, height) != self.size and not self._size_noticed:
            self._size_noticed = True
            self._say(
                f"{self._files[self._position - 1][0]} is {width}x{height}; images of other sizes than the first are "
                f"fitted into {self.size[0]}x{self.size[1]}"
            )
        fit_into(self._present, buffer)

    def _read_next(self) -> ImageArray | None:
        while self._position < len(self._files) and not self._closed:
            path, page = self._files[self._position]
            self._position += 1
            image = read_image(path, page)
            if image is not None:
                self._notice(path)
                return image
            self._unreadable += 1
            if self._unreadable == 1 and path != self._path:
                self._say(f"{path} {why_unreadable(path)}, and is left out")
        return None

    def _notice_the_end(self) -> None:
        """Say how many images were not played."""
        if self._unreadable > 1:
            self._say(f"{self._unreadable} images in {self.name} could not be read")
        if not self._path.is_dir() or self._closed:
            return
        new = len(_images_in(self._path) - {path for path, _ in self._files})
        if new:
            self._say(f"{self.name} has {new} more images by now, which are not played: start anew for them")

    def _notice(self, path: Path) -> None:
        """Say once what an image of this kind loses."""
        if not self._cut_noticed and is_cut_short(path):
            self._cut_noticed = True
            self._say(f"{path} is cut short: what is missing of it is grey")
        if not self._moving_noticed and (is_moving_png(path) or is_moving_webp(path)):
            self._moving_noticed = True
            self._say(f"{path} is animated: in a folder only its first image counts; give it as --source to play it")
