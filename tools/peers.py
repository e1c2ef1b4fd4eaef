"""Other programs that find a body in a video, run on the same clip and machine as this one.

They live in environments of their own, whose packages would disagree with this project's. Nothing of them is shipped.
"""

from __future__ import annotations

import json
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from common.errors import UserError
from realtime.measure import WARM_UP

PEERS: Final = {"mediapipe-full": 1, "mediapipe-heavy": 2}
"""Peer ▶ its model's complexity. Both track the 3D keypoints of one person and give no mesh."""
INSTALL: Final = (
    "python3 -m venv peers && peers/bin/pip install mediapipe==0.10.21, then --peer-python peers/bin/python"
)

_PROGRAM = Path(__file__).with_name("mediapipe_pose.py")


class PeerError(UserError, RuntimeError):
    """A peer does not run here; the message says why."""


@dataclass(frozen=True, slots=True)
class PeerRun:
    """One run of another program."""

    version: str
    """The program's."""
    rate_hz: float
    """Results a second, after the warm-up."""
    first_s: float
    """Until the first result, seconds."""
    frames_lost: int
    """Frames without one."""
    cpu_s: float
    """Processor time in all, seconds."""


def run_peer(name: str, python: str, clip: Path, frames: int) -> PeerRun:
    """Run one of `PEERS` in the interpreter ``python`` on ``frames`` frames of ``clip``. Raises `PeerError`."""
    if name not in PEERS:
        raise PeerError(f"there is no peer '{name}': choose from {', '.join(PEERS)}")
    command = [python, str(_PROGRAM), str(clip), str(frames), str(PEERS[name])]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PeerError(f"{name}: cannot start {python} ({error.strerror}): {INSTALL}") from None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
        cure = f": {INSTALL}" if "No module named" in reason else ""
        raise PeerError(f"{name} does not run in {python} ({reason}){cure}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    times = answer["times_s"][WARM_UP:]
    if len(times) < 2:
        raise PeerError(f"{name} found nobody in {clip.name}")
    return PeerRun(
        answer["version"],
        (len(times) - 1) / (times[-1] - times[0]),
        answer["times_s"][0],
        answer["frames"] - len(answer["times_s"]),
        after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime,
    )


def why_no_peer(name: str, python: str, clip: Path) -> str:
    """Why `run_peer` cannot be used, in one line; empty where it can. A short run finds out, which also warms files up."""
    try:
        run_peer(name, python, clip, 30)
    except PeerError as error:
        return str(error)
    return ""
