"""Single frames of synthetic video with full annotation, and motion-only crops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from common.arrays import AnyArray, BoolArray, FloatArray, Int32Array, Int64Array
from common.camera import Camera
from realtime.records import Box
from realtime.stages.crops import Cropper
from realtime.stages.flow.crop_flow import FLOW_SIZE
from training.simulation.detector_noise import NoiseSampler
from training.synth.observations import RegionRenderer, rendered_visibility, simulate_tracking
from training.synth.render import ExactFlow, Renderer, Sensor, Viewport, crop_viewport, region_viewport
from training.synth.scene import SceneSampler
from training.synth.shards import Sample

_LONGEST: Final = 640
"""Longer side of a full frame, px."""
SCENE: Final = 5
"""Frames of a scene that become samples. The scene has one more, so that each has flow to the next."""
FRAMES_FPS: Final = 30.0
OTHER_LABEL: Final = 255
"""Part label of occluders and other people; 0 is the room, 1 + joint a part of the person."""
_BATCH: Final = 8
FLOW_SCALE, FLOW_ZERO = 64.0, 32768.0


def labels(renderer: Renderer, ids: Int32Array) -> NDArray[np.uint8]:
    """Part labels (H, W) uint8: 0 room, 1 + joint for the person, `OTHER_LABEL` for everything else."""
    mesh = renderer.scene.mesh
    table = np.where(mesh.owner == 0, mesh.parts + 1, OTHER_LABEL)
    return np.append(table, 0).astype(np.uint8)[ids]


def encode_flow(flow: ExactFlow) -> bytes:
    """A flow field as KITTI stores it (Geiger et al. 2012).

    A 16-bit PNG of u and v in 1/64 px about 2^15, and a third channel that is 1 where the point is visible in the next
    frame.
    """
    packed = np.empty((*flow.hidden.shape, 3), np.uint16)
    packed[..., 2:0:-1] = np.clip(np.rint(flow.field * FLOW_SCALE + FLOW_ZERO), 0, 65535)  # OpenCV stores BGR
    packed[..., 0] = ~flow.hidden
    return _png(packed)


def decode_flow(data: bytes) -> tuple[FloatArray, BoolArray]:
    """``field`` (H, W, 2) float32 px and ``hidden`` (H, W) bool, from `encode_flow`."""
    packed = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    return ((packed[..., 2:0:-1] - FLOW_ZERO) / FLOW_SCALE).astype(np.float32), packed[..., 0] == 0


def _png(image: AnyArray) -> bytes:
    return bytes(cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 93])[1])


def generate_frames(maker: SceneSampler, noise: NoiseSampler, rng: np.random.Generator, count: int) -> Iterator[Sample]:
    """Generate ``count`` fully annotated frames.

    Of the full image, `_LONGEST` px on its longer side: ``frame.jpg``; ``silhouette.png``, 255 on the person;
    ``parts.png`` of `labels`; ``depth.png``, 16 bits, mm (65535: further away), room included; ``flow.png`` of
    `encode_flow`, to the next frame, which is ``dt`` (1,) s later. ``crop.jpg`` is the 128² crop of ``box`` (3,):
    centre x, y and side, px.

    ``camera`` (4,) fx, fy, cx, cy in px of this image; ``world_to_camera`` (3, 4); ``joints_px`` (24, 2); ``points``
    (17, 2) COCO keypoints, px; ``state`` (17,) 0 visible, 1 hidden, 2 outside. ``rotations`` (24, 3, 3) local, the
    root's to the camera frame; ``betas`` (10,); ``pelvis`` (3,) camera frame, m; ``joints`` (24, 3) and ``coco`` (17,
    3) relative to the pelvis, camera axes, m.
    """
    done = 0
    while done < count:
        renderers = [Renderer(scene) for scene in maker.sample(_scenes(count - done), SCENE + 1, FRAMES_FPS)]
        for renderer, found in zip(renderers, simulate_tracking(renderers, noise), strict=True):
            if found is None:
                continue
            sensor = Sensor.sample(rng)
            for frame in range(SCENE):
                yield _frame(renderer, frame, found.boxes[frame], found.states[frame], sensor, rng)
                done += 1
                if done == count:
                    return


def _scenes(frames: int) -> int:
    """Number of scenes to sample in one batch when ``frames`` more frames are needed."""
    return min(_BATCH, -(-frames // SCENE))


def full_viewport(renderer: Renderer) -> tuple[Viewport, float]:
    """The viewport of the full image, and its scale."""
    scene = renderer.scene
    scale = min(1.0, _LONGEST / max(scene.size))
    return region_viewport(scene, 0, 0, round(scene.size[0] * scale), round(scene.size[1] * scale), scale), scale


def _frame(
    renderer: Renderer, frame: int, box: Box, states: Int64Array, sensor: Sensor, rng: np.random.Generator
) -> Sample:
    scene, (view, scale) = renderer.scene, full_viewport(renderer)
    shift = (scale - 1) / 2
    flow = renderer.flow(frame, view)
    parts = labels(renderer, flow.ids)
    joints = scene.joints[frame] + scene.pelvis[frame]
    region_renderer = RegionRenderer(renderer, [box], sensor)
    part = region_renderer.render_region(frame, [box], rng)
    crop = Cropper(FLOW_SIZE)(part.image, part.to_region(region_renderer.scale_box(box)))
    camera = np.array(view.camera, np.float32)
    depth = np.rint(1000 / np.maximum(flow.inverse_depth, 1000 / 65535)).astype(np.uint16)
    world = np.concatenate([scene.rotation[frame], -(scene.rotation[frame] @ scene.centre[frame])[:, None]], 1)
    return {
        "frame.jpg": _jpeg(sensor(renderer.render(frame, view), rng)),
        "crop.jpg": _jpeg(crop),
        "silhouette.png": _png(np.where((parts > 0) & (parts < OTHER_LABEL), 255, 0).astype(np.uint8)),
        "parts.png": _png(parts),
        "depth.png": _png(depth),
        "flow.png": encode_flow(flow),
        "dt": scene.dt[frame + 1 : frame + 2],
        "box": np.array([box.x * scale + shift, box.y * scale + shift, box.size * scale], np.float32),
        "camera": camera,
        "world_to_camera": world.astype(np.float32),
        "joints_px": Camera.from_array(camera).project_clamped(joints).astype(np.float32),
        "points": (scene.points[frame] * np.float32(scale) + np.float32(shift)).astype(np.float32),
        "state": states.astype(np.uint8),
        "rotations": scene.rotations[frame],
        "betas": scene.betas,
        "pelvis": scene.pelvis[frame],
        "joints": scene.joints[frame],
        "coco": scene.coco[frame],
    }


def generate_motion(maker: SceneSampler, noise: NoiseSampler, rng: np.random.Generator, count: int) -> Iterator[Sample]:
    """Generate ``count`` motion-only crops of 128² px.

    ``flow`` (128, 128, 2) float16, exact, to the next frame, px of the crop; ``hidden`` and ``silhouette`` (128, 128)
    uint8; ``points`` (2, 17, 2) COCO keypoints, px of the crop, in both frames; ``state`` (17,); ``dt`` (1,) s; targets
    as in `generate_frames`. Nothing is textured and no detector is simulated: the box is the person's own, perturbed by
    a few per cent.
    """
    del noise
    done = 0
    while done < count:
        for scene in maker.sample(_scenes(count - done), SCENE + 1, FRAMES_FPS, textured=False):
            renderer = Renderer(scene)
            for frame in range(SCENE):
                yield motion_crop(renderer, frame, rng)
                done += 1
                if done == count:
                    return


def motion_crop(renderer: Renderer, frame: int, rng: np.random.Generator) -> dict[str, AnyArray]:
    """One sample of `generate_motion`."""
    scene = renderer.scene
    points = scene.points[frame : frame + 2]
    seen = points[0].clip(0, np.array(scene.size, np.float32) - 1)
    low, high = seen.min(0), seen.max(0)
    side = max(float((high - low).max()) * rng.uniform(1.2, 1.45), 32.0)
    x, y = (low + high) / 2 + rng.normal(0, 0.03, 2) * side
    view = crop_viewport(scene, Box(float(x), float(y), side), FLOW_SIZE)
    flow = renderer.flow(frame, view)
    owner = np.append(scene.mesh.owner, -1)
    silhouette = owner[flow.ids] == 0
    return {
        "flow": flow.field.astype(np.float16),
        "hidden": flow.hidden.astype(np.uint8),
        "silhouette": silhouette.astype(np.uint8),
        "points": (((points - [x, y]) / side + 0.5) * FLOW_SIZE - 0.5).astype(np.float32),
        "state": rendered_visibility(renderer, frame).astype(np.uint8),
        "dt": scene.dt[frame + 1 : frame + 2],
        "camera": np.array(view.camera, np.float32),
        "rotations": scene.rotations[frame],
        "betas": scene.betas,
        "pelvis": scene.pelvis[frame],
        "joints": scene.joints[frame],
        "coco": scene.coco[frame],
    }
