"""MediaPipe Pose on a video, measured: ``python tools/mediapipe_pose.py VIDEO FRAMES COMPLEXITY``.

`tools.peers` starts it in MediaPipe's own environment, so it imports nothing of this project; it prints one line of JSON.
Frames are decoded in a thread beside the network, as this project's program does it.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from typing import Any


def main(video: str, frames: int, complexity: int) -> None:
    """Track one person through ``frames`` frames of ``video`` with the model of ``complexity`` 0 (lite) to 2 (heavy)."""
    import cv2
    import mediapipe

    began = time.perf_counter()
    waiting: queue.Queue[Any] = queue.Queue(4)

    def decode() -> None:
        capture = cv2.VideoCapture(video)
        for _ in range(frames):
            there, image = capture.read()
            if not there:
                break
            waiting.put(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        waiting.put(None)

    times: list[float] = []
    seen = 0
    with mediapipe.solutions.pose.Pose(model_complexity=complexity) as pose:
        threading.Thread(target=decode, daemon=True).start()
        while (image := waiting.get()) is not None:
            seen += 1
            if pose.process(image).pose_world_landmarks is not None:
                times.append(time.perf_counter())
    print(
        json.dumps(
            {"version": mediapipe.__version__, "frames": seen, "times_s": [each - began for each in times]},
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
