"""The ablation compares what it says, on synthetic windows and on video."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer

torch = pytest.importorskip("torch")

import roma  # noqa: E402

from body.joints import COCO_MIRROR  # noqa: E402
from body.lbs_torch import TorchBody  # noqa: E402
from body.model import load_body  # noqa: E402
from training.ablation import commands as ablation  # noqa: E402
from training.ablation.commands import VARIANTS  # noqa: E402
from training.ablation.errors import (  # noqa: E402
    ConstantRegressor,
    NetworkErrors,
    evaluate_clip,
    evaluate_synthetic,
    facing_errors,
    twist,
)
from training.ablation.fitting import (  # noqa: E402
    EncodedWindows,
    Schedule,
    encode_windows,
    encoders_of,
    make_batch,
    mirror_batch,
    new_encoder,
    region_coordinates,
    train_encoder,
    train_regressor,
)
from training.ablation.real_clips import observe_video  # noqa: E402
from training.ablation.report import draw_plot, markdown_tables  # noqa: E402
from training.evaluation.reference import Reference  # noqa: E402
from training.motion.bank import NONE, MotionBank  # noqa: E402
from training.motion.clip import Clip  # noqa: E402
from training.networks.inputs import Observation  # noqa: E402
from training.networks.lifter import Lifter  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402
from training.networks.outputs import Lifted  # noqa: E402
from training.simulation.batches import BatchMaker, FlowSource  # noqa: E402
from training.simulation.detector_noise import NoiseSampler, load_noise  # noqa: E402
from training.simulation.flow_grid import FlowGrid  # noqa: E402
from training.simulation.flow_noise import FlowDegrader, load_flow_noise  # noqa: E402
from training.synth.dataset import Windows  # noqa: E402

CLIP = Path(__file__).parents[3] / "assets" / "synthetic_walk.mp4"


@pytest.fixture(scope="module")
def windows(clips: list[Clip]) -> Windows:
    """Twelve windows of twelve frames, their images grey."""
    source = FlowSource(FlowGrid(), FlowDegrader(load_flow_noise(), 3))
    maker = BatchMaker(
        MotionBank(clips, seed=1), TorchBody(load_body()), NoiseSampler(load_noise(), 2), NONE, flow=source
    )
    batch = maker.draw(12, 12, 30.0)
    seen, count = batch.seen, 12
    camera = seen.camera[:, 0].numpy()
    state = (np.arange(17) % 2)[None, None].repeat(count, 0).repeat(12, 1).astype(np.uint8)
    arrays = {
        "points": seen.points.numpy(),
        "confidence": seen.confidence.numpy(),
        "camera": camera,
        "true_camera": camera,
        "dt": seen.dt.numpy(),
        "flow": seen.flow.numpy().astype(np.float16),
        "box": seen.box.numpy(),
        "extent": (batch.size * seen.camera[..., 0]).numpy(),
        "state": state,
        "rgb": np.full((count, 12, 64, 64, 3), 128, np.uint8),
    }
    targets = {name: getattr(batch, name).numpy() for name in ("rotations", "betas", "joints", "coco", "pelvis")}
    return Windows(arrays | targets)


def test_a_window_becomes_the_record_that_it_was(windows: Windows) -> None:
    batch = make_batch(windows, np.array([3, 5]))
    np.testing.assert_allclose(batch.seen.flow.numpy(), windows["flow"][[3, 5]].astype(np.float32))
    assert batch.seen.image is not None
    assert float(batch.seen.image.max()) == pytest.approx(128 / 255)
    torch.testing.assert_close(batch.size * batch.seen.camera[..., 0], torch.from_numpy(windows["extent"][[3, 5]]))


def test_a_mirrored_window_is_seen_as_its_body_would_be(windows: Windows) -> None:
    batch = make_batch(windows, np.arange(12))
    image = torch.rand(12, 12, 3, 64, 64)
    batch = replace(batch, seen=replace(batch.seen, image=image))
    other = mirror_batch(batch)
    # The mirrored rotations pose the same body where the mirror shows it.
    joints, coco = TorchBody(load_body()).skeleton(other.rotations, other.betas[:, None].expand(12, 12, 10))
    torch.testing.assert_close(joints, other.joints, atol=1e-5, rtol=0)
    torch.testing.assert_close(coco, other.coco, atol=1e-5, rtol=0)
    # What was seen is where the mirrored body is, as it was before.
    swapped = region_coordinates(batch)[:, :, list(COCO_MIRROR)] * torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(region_coordinates(other), swapped, atol=1e-5, rtol=0)
    again = mirror_batch(other)
    assert again.seen.image is not None
    for one, two in (
        (again.seen.points, batch.seen.points),
        (again.seen.flow, batch.seen.flow),
        (again.seen.image, image),
    ):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=0)
    assert other.seen.image is not None
    torch.testing.assert_close(other.seen.image[..., 0], image[..., -1])


@pytest.mark.parametrize("variant", ["keypoint_motion_rgb", "flow", "keypoints"])
def test_a_variant_trains_alike_for_a_seed_and_is_scored(variant: str, windows: Windows) -> None:
    config = replace(VARIANTS[variant], width=32, blocks=1, memory=16, encoding=16)
    frames, schedule = windows.frames(4), Schedule().times(0.002)
    encoders = {name: train_encoder(name, 16, 1, frames, schedule) for name in encoders_of(config).values()}
    people = EncodedWindows(
        windows.without("rgb"), {name: encode_windows(encoder, windows, 1) for name, encoder in encoders.items()}
    )
    first, second = (train_regressor(config, 1, encoders, people, schedule) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    # Encodings are small and have zero mean.
    for name, encoder in encoders.items():
        vectors = encode_windows(encoder, frames, 1).vectors[0].flatten(0, 1)
        if name != "image":  # of which every window is seen in a light of its own
            torch.testing.assert_close(vectors.mean(0), torch.zeros(16), atol=1e-3, rtol=0)
            torch.testing.assert_close(vectors.std(0), torch.full((16,), 0.3), atol=1e-2, rtol=0)
    # The network that comes back has its encoders, which say what they said in training.
    for part, name in encoders_of(config).items():
        assert getattr(first, part) is encoders[name]
        if name != "image":
            said = first(make_batch(windows, np.arange(2)).seen, first.start_state(2)).rotations
            assert said.shape == (2, 12, 24, 3, 3)
    errors = evaluate_synthetic(NetworkErrors(variant, 1), first, windows, TorchBody(load_body()))
    assert 0 < errors.synthetic_pa <= errors.synthetic_mpjpe < 3000
    assert 0 < errors.synthetic_pa_arms <= errors.synthetic_rooted_arms
    assert 0 <= errors.synthetic_facing <= 180
    assert 0 < errors.synthetic_twist <= 180
    assert np.isnan(errors.real_pa_arms)


def test_flow_is_encoded_in_training_as_it_is_afterwards(windows: Windows) -> None:
    encoder = new_encoder("flow_median", 16).eval()
    said = encode_windows(encoder, windows, 0)
    seen = make_batch(windows, np.arange(12)).seen
    vectors, behind = encoder(seen.flow.flatten(0, 1), seen.flow_valid.flatten(), seen.dt.flatten())
    torch.testing.assert_close(said.vectors[0].flatten(0, 1), vectors, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(said.behind[0].flatten(0, 1), behind)
    assert float((said.vectors[1] - said.vectors[0]).abs().max()) > 1e-3
    # Single frames of what was said are those of single frames.
    torch.testing.assert_close(
        said.frames(4).vectors, encode_windows(encoder, windows.frames(4), 0).vectors, atol=1e-5, rtol=1e-4
    )


def test_the_true_body_has_no_errors(windows: Windows) -> None:
    class Oracle(Lifter):
        """Answers with the truth."""

        def forward(self, seen: Observation, state: torch.Tensor, alone: bool = False) -> Lifted:
            truth = make_batch(windows, np.arange(len(seen.dt)))
            blank = torch.zeros(*seen.dt.shape, 24)
            betas = truth.betas[:, None].expand(*seen.dt.shape, 10)
            return Lifted(
                truth.rotations, betas, truth.pelvis, seen.points, *[blank] * 3, truth.up, *[blank] * 2, state
            )

    errors = evaluate_synthetic(
        NetworkErrors("keypoints", 0), Oracle(LifterConfig(32, 1, 16, 16)), windows, TorchBody(load_body())
    )
    found = {name: value for name, value in asdict(errors).items() if name.startswith("synthetic") and value == value}
    assert set(found) >= {"synthetic_pa", "synthetic_depth", "synthetic_twist", "synthetic_facing"}
    assert max(found.values()) < 0.1  # float32


def test_one_body_for_all_turns_with_the_region_and_is_better_than_another(windows: Windows) -> None:
    body, seen = TorchBody(load_body()), make_batch(windows, np.arange(12)).seen
    constant = ConstantRegressor(windows, body, 60)
    lifted = constant(seen, constant.start_state(12))
    # It stands in the middle of its region, at a sensible distance.
    drawn = lifted.pelvis[..., :2] / lifted.pelvis[..., 2:] * seen.camera[..., :2] + seen.camera[..., 2:]
    torch.testing.assert_close(drawn, seen.box[..., :2], atol=1e-2, rtol=1e-4)
    assert 0.3 < float(lifted.pelvis[..., 2].median()) < 30
    other = ConstantRegressor(windows, body, 60)
    other.rotations = roma.random_rotmat(24)
    mine, theirs = (
        evaluate_synthetic(NetworkErrors("nothing", 0), one, windows, body).synthetic_mpjpe for one in (constant, other)
    )
    assert mine < theirs


def test_twist_is_the_turn_about_the_bone_alone() -> None:
    axis = torch.tensor([0.0, 2.0, 0.0])
    truth = roma.random_rotmat(4)
    about = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.5, 0.0]))
    across = roma.rotvec_to_rotmat(torch.tensor([0.7, 0.0, 0.0]))
    torch.testing.assert_close(twist(truth @ about, truth, axis), torch.full((4,), np.degrees(0.5)), atol=0.05, rtol=0)
    assert float(twist(truth @ across, truth, axis).max()) < 0.1


def test_training_goes_on_where_it_stopped(
    windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablation, "_SMALL", LifterConfig(32, 1, 16, 16, residual=True))
    monkeypatch.setattr(ablation, "VARIANTS", {"flow": LifterConfig(32, 1, 16, 16, keypoints=False, residual=True)})
    monkeypatch.setattr(ablation, "load_windows", lambda *_args, **_kinds: windows)
    ablation.train(tmp_path, runs=tmp_path, steps=0.001, seeds=1, variants="flow")
    made = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")}
    assert set(made) == {"encoder-flow_median.pt", "flow-0.pt"}
    ablation.train(tmp_path, runs=tmp_path, steps=0.001, seeds=2, variants="flow")
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in made} == made
    assert (tmp_path / "flow-1.pt").exists()
    with pytest.raises(typer.BadParameter, match="choose from flow"):
        ablation.train(tmp_path, runs=tmp_path, steps=0.001, seeds=1, variants="smell")
    ablation.evaluate_networks(tmp_path, runs=tmp_path, camera=[], clip=[])
    ablation.report(tmp_path, tmp_path / "plot.png")
    assert "| flow | 2 |" in capsys.readouterr().out


def test_a_video_is_seen_as_the_program_sees_it() -> None:
    (clip,) = observe_video(CLIP, max_frames=14)
    seen = clip.seen
    assert seen.points.shape == (1, 14, 17, 2)
    assert clip.frames.tolist() == list(range(14))
    assert seen.flow_valid[0].tolist() == [0.0] + [1.0] * 13
    torch.testing.assert_close(seen.dt[0, 1:], torch.full((13,), 1 / 30), atol=2e-3, rtol=0)
    assert float(seen.flow[0, 1:].abs().amax((1, 2, 3)).min()) > 3e-4  # the person walks
    assert seen.image is not None
    assert float(seen.image.std()) > 0.02
    # The region holds the confident detections.
    inside = (seen.points - seen.box[:, :, None, :2]).abs() < seen.box[:, :, None, 2:] / 2
    assert float(inside[seen.confidence > 0.4].float().mean()) > 0.95
    network = Lifter(LifterConfig(32, 1, 16, 16)).eval()
    share, shake = evaluate_clip(network, clip, TorchBody(load_body()))
    assert 0 < share < 1
    assert shake >= 0


def test_the_report_has_a_row_for_each_variant_and_an_image(tmp_path: Path) -> None:
    errors = [
        NetworkErrors(name, seed, synthetic_pa_arms=60.0 + seed, real_pa_arms=50.0 + 2 * seed, real_reprojection=0.02)
        for name in ("keypoint_motion_flow", "rgb")
        for seed in (0, 1)
    ]
    gaps, whole, subsets = (table.splitlines() for table in markdown_tables(errors).split("\n\n"))
    assert len(gaps) == len(whole) == 4
    assert gaps[2].startswith("| RGB |")
    assert gaps[3].startswith("| keypoint motion + flow | 2 | 60.5 ± 0.5 | 51.0 ± 1.0 | -9.5 |")
    assert "| 2.0 ± 0.0 |" in whole[3]
    assert "moving man" not in whole[0]  # nobody was scored
    assert subsets[0] == "| input | seeds |"
    moving = markdown_tables([replace(errors[0], moving_pa=44.0)]).split("\n\n")[1]
    assert "moving man PA-MPJPE, mm" in moving
    draw_plot(errors, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_the_shoulders_of_the_reference_say_where_he_faces() -> None:
    points = np.zeros((3, 2, 3))
    points[:, 0, 0], points[:, 1, 0] = 0.2, -0.2
    points[2] = np.nan
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.5, 0.0])).numpy()
    names = ("left_shoulder", "right_shoulder")
    eye, nothing = np.eye(3)[None], np.zeros((1, 3))
    reference = Reference(names, points, np.array([0, 5, 10]), eye, nothing, eye, np.zeros((1, 5)), None)
    joints = np.zeros((12, 24, 3), np.float32)
    joints[:, 16], joints[:, 17] = turn @ [0.2, 0, 0], turn @ [-0.2, 0, 0]
    motion = SimpleNamespace(frame=np.arange(12), joints_m=joints)
    angles = facing_errors(reference, 0, motion)  # type: ignore[arg-type]
    np.testing.assert_allclose(angles[:2], np.degrees(0.5), atol=1e-3)
    assert np.isnan(angles[2])
