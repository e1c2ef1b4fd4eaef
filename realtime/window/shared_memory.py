"""The memory that the pipeline and the window's process share: three slots, one writer, newest wins, no locks.

A lock in shared memory would stay locked for ever when the process that holds it is killed, so there is none. Each slot
carries the number of the scene in it twice: written to ``begin`` before the scene and to ``end`` after it. The reader
copies a slot and compares the numbers again: where either has changed, the writer has overwritten the slot meanwhile, and
the copy is thrown away. With three slots this happens only to a reader that is slower than two whole scenes.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import shared_memory
from typing import Any, Final

import numpy as np

from common.arrays import AnyArray, FloatArray, ImageArray, Int64Array
from common.camera import Camera

_SLOTS: Final = 3
TEXT_BYTES: Final = 120
STATE_BYTES: Final = 240
DETAIL_BYTES: Final = 600
_TRIES: Final = 4
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Layout:
    """The size of a slot."""

    vertices: int
    """Number of vertices of each body."""
    height: int
    """Height of the image, pixels."""
    width: int
    """Height of the image, pixels."""
    people: int = 6
    """Most bodies in a scene."""

    @property
    def slot(self) -> np.dtype[Any]:
        """One slot as a numpy record."""
        return np.dtype(
            [
                ("begin", np.int64),
                ("end", np.int64),
                ("count", np.int64),
                ("text", np.uint8, (TEXT_BYTES,)),
                ("state", np.uint8, (STATE_BYTES,)),
                ("details", np.uint8, (DETAIL_BYTES,)),
                ("captured_ns", np.int64),
                ("world", np.float32, (4, 4)),
                ("camera", np.float64, (4,)),
                ("person", np.int64, (self.people,)),
                ("joints", np.float32, (self.people, 24, 3)),
                ("keypoints", np.float32, (self.people, 17, 3)),
                ("vertices", np.float32, (self.people, self.vertices, 3)),
                ("image", np.uint8, (self.height, self.width, 3)),
            ],
            align=True,
        )


@dataclass(frozen=True, slots=True, eq=False)
class SceneBody:
    """One person in a scene."""

    person: int
    """The person's number."""
    joints: FloatArray
    """float32 (24, 3) SMPL order, metres in the camera frame."""
    vertices: FloatArray
    """float32 (V, 3) as they are drawn, metres in the camera frame."""
    keypoints: FloatArray
    """float32 (17, 3) COCO order: image pixels and confidence 0..1."""


@dataclass(frozen=True, slots=True, eq=False)
class WindowScene:
    """All that the window shows at one time."""

    number: int
    """Counts scenes from 1."""
    image: ImageArray
    """uint8 (H, W, 3) BGR."""
    camera: Camera
    """Intrinsics of the image, pixels."""
    bodies: tuple[SceneBody, ...]
    """Everybody who is drawn."""
    text: str = ""
    """The line of figures."""
    state: str = ""
    """Lines about the state of the run."""
    details: str = ""
    """Lines about the stages."""
    captured_ns: int = 0
    """Monotonic clock at the grab of the image, 0 where it has been on the screen before."""
    world: FloatArray | None = None
    """float32 (4, 4) as in `realtime.records.WorldFrame`; None where it is not known."""


class SceneMemory:
    """The shared slots. The process that gives no ``name`` makes them, writes, and removes them at ``close``."""

    def __init__(self, layout: Layout, name: str | None = None) -> None:
        """Raises ``OSError`` when there is no room (``/dev/shm`` full) or, given a ``name``, no such memory."""
        self.layout = layout
        self._owner = name is None
        slot = layout.slot
        size = 64 + _SLOTS * slot.itemsize
        self._memory = shared_memory.SharedMemory(name=name, create=self._owner, size=size if self._owner else 0)
        # Fresh shared memory is zero: scene 0 means that nothing was written yet.
        self._newest: Int64Array | None = np.ndarray((1,), np.int64, self._memory.buf)
        self._slots: AnyArray | None = np.ndarray((_SLOTS,), slot, self._memory.buf, offset=64)

    @property
    def name(self) -> str:
        """The name by which another process opens this memory."""
        return self._memory.name

    def write(
        self,
        image: ImageArray,
        camera: Camera,
        bodies: Sequence[SceneBody],
        text: str = "",
        state: str = "",
        details: str = "",
        captured_ns: int = 0,
        world: FloatArray | None = None,
    ) -> int:
        """Put a scene in; fields as in ``WindowScene``. Bodies beyond the layout's are left out, text is cut.

        Returns its number. Never waits. Raises ``ValueError`` for arrays that do not fit the layout, or after
        ``close``.
        """
        newest, slots = self._open()
        number = int(newest[0]) + 1
        slot = slots[number % _SLOTS]
        bodies = bodies[: self.layout.people]
        if image.shape != slot["image"].shape:
            raise ValueError(f"the window was made for images {slot['image'].shape}, got {image.shape}")
        slot["begin"] = number
        _fence()
        slot["image"][...] = image
        slot["camera"][...] = camera.fx, camera.fy, camera.cx, camera.cy
        slot["count"] = len(bodies)
        for field, line in (("text", text), ("state", state), ("details", details)):
            size = len(slot[field])
            slot[field][...] = np.frombuffer(line.encode("ascii", "replace")[:size].ljust(size), np.uint8)
        slot["captured_ns"] = captured_ns
        slot["world"][...] = np.nan if world is None else world
        for index, body in enumerate(bodies):
            slot["person"][index] = body.person
            slot["joints"][index] = body.joints
            slot["keypoints"][index] = body.keypoints
            slot["vertices"][index] = body.vertices
        _fence()
        slot["end"] = number
        newest[0] = number
        return number

    def read(self, seen: int) -> WindowScene | None:
        """A copy of the newest scene, or None when there is none after number ``seen``, or when the writer overtook
        every try: then there will be a newer one at once. Raises ``ValueError`` after ``close``."""
        newest, slots = self._open()
        for _ in range(_TRIES):
            number = int(newest[0])
            if number <= seen:
                return None
            slot = slots[number % _SLOTS]
            _fence()
            scene = self._copy(number, slot)
            _fence()
            if int(slot["begin"]) == number and int(slot["end"]) == number:
                return scene
        return None

    def _copy(self, number: int, slot: Any) -> WindowScene:
        # A slot that is being overwritten may hold anything: nothing in it may be trusted as an index.
        count = min(max(int(slot["count"]), 0), self.layout.people)
        vertices, joints = slot["vertices"][:count].copy(), slot["joints"][:count].copy()
        keypoints = slot["keypoints"][:count].copy()
        bodies = tuple(SceneBody(int(slot["person"][i]), joints[i], vertices[i], keypoints[i]) for i in range(count))
        text, state, details = (
            slot[name].tobytes().decode("ascii", "replace").rstrip() for name in ("text", "state", "details")
        )
        world = slot["world"].copy()
        return WindowScene(
            number,
            slot["image"].copy(),
            Camera(*slot["camera"].tolist()),
            bodies,
            text,
            state,
            details,
            int(slot["captured_ns"]),
            world if np.isfinite(world).all() else None,
        )

    def close(self) -> None:
        """Let go of the memory; its owner also removes it. May be called twice."""
        if self._slots is None:
            return
        self._newest = self._slots = None  # views must go first: memory with views cannot be closed
        self._memory.close()
        if self._owner:
            self._memory.unlink()

    def _open(self) -> tuple[Int64Array, AnyArray]:
        if self._newest is None or self._slots is None:
            raise ValueError("the shared memory is closed")
        return self._newest, self._slots


def _fence() -> None:
    """Keep memory accesses before and after apart, for processors that reorder them (ARM): what precedes a release
    stays before it, what follows an acquire stays after it, and a release and the next acquire keep their order."""
    with _lock:
        pass
    with _lock:
        pass
