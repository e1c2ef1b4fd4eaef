"""What is measured on video is what the detections there were drawn with."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.arrays import DoubleArray, FloatArray

torch = pytest.importorskip("torch")

from body.joints import COCO_NAMES  # noqa: E402
from body.lbs import NumpyBody  # noqa: E402
from body.model import load_body  # noqa: E402
from formats.motion import Motion  # noqa: E402
from training.evaluation.reference import Reference  # noqa: E402
from training.noise_measurement import real_video  # noqa: E402
from training.simulation.detector_noise import NoiseSampler, load_noise  # noqa: E402

FRAMES, FOCAL, WIDTH, HEIGHT, DISTANCE = 600, 800.0, 1280, 1000, 3.0


def drawn_with(seed: int = 0, **real: object) -> tuple[Motion, DoubleArray]:
    """A recording of somebody who stands still, of 600 frames in windows of 40, and his keypoints in space (17, 3) m."""
    first = load_noise()[0]
    noise = NoiseSampler([replace(first, swap_rate=(0.0, 0.0), real=replace(first.real, **real))], seed)
    body = NumpyBody(load_body())
    turn = np.array([np.pi, 0, 0], np.float32)  # rest pose: y up; upright in an image is y down
    pose, place = np.zeros((23, 3), np.float32), np.array([0, 0.1, DISTANCE], np.float32)
    body.set_shape(np.zeros(10, np.float32))
    coco = body.coco(body.pose(turn, pose, place)[0]).astype(np.float64)
    truth = coco[:, :2] / coco[:, 2:] * FOCAL + [WIDTH / 2, HEIGHT / 2]
    windows = FRAMES // 40
    points, confidence = noise(
        torch.from_numpy(truth).float().expand(windows, 40, 17, 2),
        torch.zeros(windows, 40, 17, dtype=torch.long),
        torch.tensor([[float(WIDTH), float(HEIGHT)]]).expand(windows, 2),
        torch.full((windows, 40), 1 / 30),
    )

    def repeat(value: FloatArray) -> FloatArray:
        return np.repeat(value[None].astype(np.float32), FRAMES, 0)

    motion = Motion(
        frame=np.arange(FRAMES),
        time_s=np.arange(FRAMES) / 30,
        person=np.zeros(FRAMES, np.int64),
        joints_m=repeat(np.zeros((24, 3), np.float32)),
        joints_px=repeat(np.zeros((24, 2), np.float32)),
        keypoints_px=points.reshape(FRAMES, 17, 2).numpy(),
        keypoint_confidence=confidence.reshape(FRAMES, 17).numpy(),
        global_orient=repeat(turn),
        body_pose=repeat(pose),
        betas=repeat(np.zeros(10, np.float32)),
        transl=repeat(place),
        camera_matrix=np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]]),
        fps=30.0,
        source="drawn.mp4",
        body_sha256=load_body().sha256,
        version=1,
    )
    return motion, coco


@pytest.mark.parametrize("difficulty", [0.25, 0.5, 0.8])
def test_it_finds_how_easy_somebody_is(difficulty: float) -> None:
    motion, _ = drawn_with(difficulty=(difficulty, difficulty))
    (person,) = real_video.people_in(motion)
    assert person.visible.mean() > 0.9  # he faces the camera, in full view
    found = real_video.fit_difficulty(load_noise()[0], real_video.confidences_of(person))
    assert found == pytest.approx(difficulty, abs=0.08)


def test_it_finds_how_much_keypoints_shake() -> None:
    found = []
    for jitter in (0.08, 0.25):
        motion, _ = drawn_with(difficulty=(0.3, 0.3), jitter=jitter)
        (person,) = real_video.people_in(motion)
        found.append(real_video.fit_jitter(load_noise()[0], real_video.still_jitter(person)))
    assert found[0] == pytest.approx(0.08, rel=0.6)
    assert found[1] == pytest.approx(0.25, rel=0.6)
    assert found[1] > 1.8 * found[0]


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_it_finds_how_large_errors_are(share: float) -> None:
    motion, coco = drawn_with(difficulty=(0.3, 0.3), error=share)
    reference = Reference(
        COCO_NAMES, np.repeat(coco[None], FRAMES, 0), np.arange(FRAMES), np.eye(3)[None], np.zeros((1, 3)),
        motion.camera_matrix[None], np.zeros((1, 5)), 30.0,
    )  # fmt: skip
    found = real_video.errors_against(reference, 0, motion)
    assert len(found.length) > 0.9 * FRAMES * 17
    assert real_video.fit_error(load_noise()[0], found)[0] == pytest.approx(share, abs=0.1)


def test_too_little_is_not_a_person() -> None:
    few = [np.full(10, 0.7)] * 9
    assert np.isnan(real_video.fit_difficulty(load_noise()[0], few))
    assert np.isnan(real_video.fit_jitter(load_noise()[0], few))


def test_a_missing_recording_is_told_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.noise_measurement.real_video", str(tmp_path / "none.npz")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "none.npz" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
