"""Optical flow of a person's crop between two frames: DIS (Kroeger et al. 2016) on the CPU."""

from __future__ import annotations

import cv2
import numpy as np

from realtime.crops import Cropper
from realtime.records import Box, Flow, Frame, ImageArray

SIZE = 128
"""Side of the flow field, px."""


class DisFlow:
    """DIS tuned for small crops: its fast preset, one scale finer, without variational refinement. Used by one thread."""

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._dis.setFinestScale(1)
        self._dis.setVariationalRefinementIterations(0)
        self._crop = Cropper(size, cv2.BORDER_REPLICATE)
        self._field = np.zeros((size, size, 2), np.float32)
        self._grey: list[ImageArray] = [np.empty((size, size), np.uint8), np.empty((size, size), np.uint8)]

    def __call__(self, previous: Frame, current: Frame, box: Box) -> Flow:
        """Flow from ``previous`` to ``current`` inside ``box``, which both are cut with.

        Raises ``ValueError`` unless ``current`` is later than ``previous``: a frame read twice would be zero motion.
        """
        dt = current.time_s - previous.time_s
        if current.sequence <= previous.sequence or dt <= 0:
            raise ValueError(f"flow wants two frames in order, got {previous.sequence} and {current.sequence}")
        for frame, grey in ((previous, self._grey[0]), (current, self._grey[1])):
            cv2.cvtColor(self._crop(frame.image, box), cv2.COLOR_BGR2GRAY, grey)
        field = np.asarray(self._dis.calc(self._grey[0], self._grey[1], self._field), np.float32).copy()
        return Flow(current.sequence, previous.sequence, dt, box, field)
