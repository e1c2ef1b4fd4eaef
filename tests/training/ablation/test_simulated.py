"""Simulated people stand in for rendered ones where nobody needs their pixels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer

torch = pytest.importorskip("torch")

from body.joints import COCO_NAMES, JOINT_NAMES  # noqa: E402
from body.lbs_torch import TorchBody  # noqa: E402
from body.model import load_body  # noqa: E402
from common.camera import Camera  # noqa: E402
from training.ablation import commands as ablation  # noqa: E402
from training.ablation.errors import NetworkErrors, evaluate_moving  # noqa: E402
from training.ablation.fitting import make_batch, region_coordinates  # noqa: E402
from training.ablation.real_clips import RealClip  # noqa: E402
from training.ablation.simulated import simulate_windows  # noqa: E402
from training.evaluation.mocap_reference import MocapReference  # noqa: E402
from training.motion.clip import Clip  # noqa: E402
from training.motion.pack import save_motion_pack  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402
from training.networks.outputs import Lifted  # noqa: E402
from training.synth.windows import FRAMES  # noqa: E402

SIZES = LifterConfig(32, 1, 16, 16, residual=True)


@pytest.fixture(scope="module")
def motion(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack with people to learn from and one to test on."""
    path = tmp_path_factory.mktemp("simulated") / "motion.npz"
    people = [
        replace(clip, rest="canonical", split="val" if number == 5 else "train") for number, clip in enumerate(clips)
    ]
    save_motion_pack(path, people)
    return path


def test_windows_are_of_the_seed_and_every_frame_has_flow(motion: Path) -> None:
    windows, again = (simulate_windows(motion, "train", 70, 3) for _ in range(2))
    other = simulate_windows(motion, "train", 70, 3, seed=1)
    assert len(windows) == 70
    for name in windows.arrays:
        np.testing.assert_array_equal(windows[name], again[name])
    assert not np.array_equal(windows["points"], other["points"])
    # The second draw of 64 is another one than the first.
    assert not np.array_equal(windows["betas"][:6], windows["betas"][64:])
    assert (np.abs(windows["flow"]).max((2, 3, 4)) > 0).all()
    batch = make_batch(windows, np.arange(70))
    seen = region_coordinates(batch)[batch.seen.confidence > 0.4]
    assert float((seen.abs() < 0.5).float().mean()) > 0.9
    assert simulate_windows(motion, "val", 2, 4)["dt"] == pytest.approx(1 / 30)


def test_train_and_test_need_no_rendered_people(
    motion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablation, "_SMALL", SIZES)
    monkeypatch.setattr(ablation, "_TESTED", 4)
    monkeypatch.setattr(ablation, "_AVERAGED", 4)
    variants = {"rgb": replace(SIZES, keypoints=False, flow=False, image=True), "flow": replace(SIZES, keypoints=False)}
    monkeypatch.setattr(ablation, "VARIANTS", variants)
    ablation.train(motion=motion, runs=tmp_path, steps=0.001, seeds=1, variants="flow", people=8, bfloat16=True)
    ablation.evaluate_networks(motion=motion, runs=tmp_path)
    found = {row["variant"]: row for row in json.loads((tmp_path / "errors.json").read_text())}
    assert set(found) == {"nothing", "flow"}
    assert 0 < found["flow"]["synthetic_pa"] <= found["flow"]["synthetic_mpjpe"]
    assert np.isnan(found["flow"]["synthetic_hidden"])
    ablation.report(tmp_path, tmp_path / "plot.png")
    printed = capsys.readouterr().out
    assert "| flow | 1 |" in printed
    assert "nan" not in printed.partition("\n\n")[2]


@pytest.mark.parametrize(
    ("options", "remark"),
    [
        ({}, "either --data"),
        ({"data": Path("rendered"), "motion": Path("packed")}, "either --data"),
        ({"motion": Path("packed"), "variants": "rgb"}, "no pixels for rgb"),
    ],
)
def test_people_come_from_one_place(options: dict[str, Path | str], remark: str, tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=remark):
        ablation.train(**{"variants": "flow", **options}, runs=tmp_path)  # type: ignore[arg-type]


def test_motion_capture_needs_its_video(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="--film"):
        ablation.evaluate_networks(motion=tmp_path, moving=tmp_path / "reference.npz")


def test_a_moving_person_is_scored_after_one_rotation(motion: Path) -> None:
    windows, body = simulate_windows(motion, "val", 1, FRAMES), TorchBody(load_body())
    batch = make_batch(windows, np.arange(1))
    lens = batch.seen.camera[0, 0].numpy()
    camera = Camera(*map(float, lens))
    clip = RealClip("walk", camera, 30.0, np.arange(FRAMES), batch.seen)

    class Oracle:
        """Answers with the truth."""

        def start_state(self, batch: int) -> torch.Tensor:
            return torch.zeros(batch, 1)

        def __call__(self, seen: object, state: torch.Tensor) -> Lifted:
            blank = torch.zeros(1, FRAMES, 24)
            betas = batch.betas[:, None].expand(1, FRAMES, 10)
            return Lifted(
                batch.rotations, betas, batch.pelvis, batch.seen.points, *[blank] * 3, batch.up, *[blank] * 2, state
            )

    names = tuple(COCO_NAMES[5:])
    joints = (batch.joints + batch.pelvis[:, :, None])[0, :, [JOINT_NAMES.index(name) for name in names]].double()
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).double()
    truth = (joints @ turn.mT).numpy()
    pixels = camera.project(joints.numpy())
    reference = MocapReference(names, truth, pixels, {}, np.arange(FRAMES), 30.0)
    errors = evaluate_moving(NetworkErrors("flow", 0), Oracle(), [clip], reference, body)
    assert errors.moving_pa == pytest.approx(0, abs=0.1)
    assert errors.moving_mpjpe == pytest.approx(0, abs=0.1)
    larger = replace(reference, truth=truth * 1.1)
    scaled = evaluate_moving(NetworkErrors("flow", 0), Oracle(), [clip], larger, body)
    assert scaled.moving_pa == pytest.approx(0, abs=0.1)
    assert scaled.moving_mpjpe > 20
