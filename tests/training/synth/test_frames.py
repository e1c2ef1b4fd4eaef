"""All that is known of a frame agrees with itself."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from body.lbs_torch import TorchBody
from body.model import BodyArrays
from common.errors import UserError
from training.motion.bank import NONE, MotionBank
from training.motion.clip import Clip
from training.simulation.detector_noise import NoiseSampler, load_noise
from training.synth import contact_sheet
from training.synth.frames import OTHER_LABEL, decode_flow, encode_flow, generate_frames, generate_motion
from training.synth.render import ExactFlow
from training.synth.scene import SceneOptions, SceneSampler
from training.synth.shards import Sample, write_shard
from training.synth.windows import generate_pairs, generate_windows


@pytest.fixture(scope="module")
def maker(clips: list[Clip], arrays: BodyArrays, body: TorchBody) -> SceneSampler:
    return SceneSampler(MotionBank(clips, seed=8), arrays, body, 1, NONE, SceneOptions(box=0.4, second_person=0.3))


@pytest.fixture(scope="module")
def frames(maker: SceneSampler) -> list[Sample]:
    return list(generate_frames(maker, NoiseSampler(load_noise(), 1), np.random.default_rng(2), 8))


def image_in(sample: Sample, name: str) -> np.ndarray:
    data = sample[name]
    assert isinstance(data, bytes)
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


def test_flow_survives_its_file() -> None:
    rng = np.random.default_rng(0)
    field = rng.normal(0, 30, (20, 31, 2)).astype(np.float32)
    hidden = rng.random((20, 31)) < 0.3
    nothing = np.zeros((20, 31))
    got, mask = decode_flow(encode_flow(ExactFlow(field, hidden, nothing.astype(np.float32), nothing.astype(np.int32))))
    np.testing.assert_array_equal(mask, hidden)
    np.testing.assert_allclose(got, field, atol=0.5 / 64 + 1e-6)


def test_labels_agree(frames: list[Sample]) -> None:
    for sample in frames:
        parts, silhouette = image_in(sample, "parts.png"), image_in(sample, "silhouette.png")
        frame, depth = image_in(sample, "frame.jpg"), image_in(sample, "depth.png")
        field, hidden = decode_flow(bytes(sample["flow.png"]))
        assert frame.shape == (*parts.shape, 3)
        assert max(parts.shape) == 640
        assert parts.shape == silhouette.shape == depth.shape == hidden.shape == field.shape[:2]
        np.testing.assert_array_equal(silhouette == 255, (parts > 0) & (parts < OTHER_LABEL))
        assert set(np.unique(parts)) <= {*range(25), OTHER_LABEL}
        assert image_in(sample, "crop.jpg").shape == (128, 128, 3)
        assert (depth > 0).all()
        # The person's depth is about that of his pelvis.
        if (silhouette > 0).sum() > 50:
            away = np.median(depth[silhouette > 0]) / 1000
            assert abs(away - float(sample["pelvis"][2])) < 0.9


def test_seen_keypoints_lie_on_the_person_and_outside_ones_do_not(frames: list[Sample]) -> None:
    on, seen = 0, 0
    for sample in frames:
        parts = image_in(sample, "parts.png")
        person = cv2.dilate(((parts > 0) & (parts < OTHER_LABEL)).astype(np.uint8), np.ones((7, 7), np.uint8))
        place = sample["coco"] + sample["pelvis"]
        camera = np.asarray(sample["camera"])
        exact = place[:, :2] / place[:, 2:] * camera[:2] + camera[2:]
        np.testing.assert_allclose(sample["points"], exact, atol=0.05)
        for (x, y), state in zip(np.asarray(sample["points"]), np.asarray(sample["state"]), strict=True):
            inside = -0.5 <= x <= parts.shape[1] - 0.5 and -0.5 <= y <= parts.shape[0] - 0.5
            assert inside or state == 2
            if state == 0 and inside:
                on += int(person[min(round(float(y)), len(person) - 1), min(round(float(x)), person.shape[1] - 1)])
                seen += 1
    assert seen > 40
    assert on > 0.97 * seen


def test_motion_alone_moves_the_keypoints_as_the_flow_says(maker: SceneSampler) -> None:
    off, moved = [], []
    for sample in generate_motion(maker, NoiseSampler(load_noise(), 1), np.random.default_rng(3), 20):
        before, after = np.asarray(sample["points"])
        for keypoint in np.flatnonzero(np.asarray(sample["state"]) == 0):
            x, y = (round(float(value)) for value in before[keypoint])
            if 0 <= x < 128 and 0 <= y < 128 and sample["silhouette"][y, x] and not sample["hidden"][y, x]:
                truth = after[keypoint] - before[keypoint]
                off.append(np.linalg.norm(sample["flow"][y, x].astype(np.float32) - truth))
                moved.append(np.linalg.norm(truth))
    assert len(off) > 60
    # A keypoint lies inside of the body, the flow is of the skin before it.
    assert np.median(off) < 0.35 * np.median(moved)


def test_a_contact_sheet_of_every_kind(maker: SceneSampler, frames: list[Sample], tmp_path: Path) -> None:
    noise, rng = NoiseSampler(load_noise(), 1), np.random.default_rng(2)
    kinds = {
        "frames": frames[:2],
        "motion": list(generate_motion(maker, noise, rng, 2)),
        "windows": list(generate_windows(maker, noise, rng, 1)),
        "pairs": list(generate_pairs(maker, noise, rng, 1)),
    }
    for kind, samples in kinds.items():
        write_shard(tmp_path, kind, "train", 0, 0, samples)
        sheet = tmp_path / f"{kind}.png"
        contact_sheet.main(tmp_path, sheet, kind, "train", 4, 1)
        image = cv2.imread(str(sheet))
        assert image is not None
        assert image.shape[0] == len(samples) * (contact_sheet.SHEET_TILE + 4)
        assert image.std() > 10
    with pytest.raises(UserError, match="no finished"):
        contact_sheet.main(tmp_path / "nowhere", sheet, "frames", "train", 4, 1)
