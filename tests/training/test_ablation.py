"""The ablation compares what it says, on synthetic windows and on video."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from body.lbs_torch import TorchBody  # noqa: E402
from body.model import load_body  # noqa: E402
from training import ablation  # noqa: E402
from training.ablation import Outcome, batch_of, fit, on_clip, on_synthetic  # noqa: E402
from training.ablation_report import draw, markdown  # noqa: E402
from training.bank import NONE, MotionBank  # noqa: E402
from training.batches import BatchMaker, FlowSource  # noqa: E402
from training.motion.clip import Clip  # noqa: E402
from training.networks.lifter import Lifter, LifterConfig  # noqa: E402
from training.noise import NoiseSampler, load_noise  # noqa: E402
from training.real_clips import watch  # noqa: E402
from training.synth.dataset import Windows  # noqa: E402
from training.synth.flow_grid import FlowGrid  # noqa: E402
from training.synth.flow_noise import FlowDegrader, load_flow_noise  # noqa: E402

CLIP = Path(__file__).parents[2] / "assets" / "synthetic_walk.mp4"


@pytest.fixture(scope="module")
def windows(clips: list[Clip]) -> Windows:
    """Twelve windows of twelve frames, their pictures grey."""
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
    batch = batch_of(windows, np.array([3, 5]))
    np.testing.assert_allclose(batch.seen.flow.numpy(), windows["flow"][[3, 5]].astype(np.float32))
    assert batch.seen.image is not None
    assert float(batch.seen.image.max()) == pytest.approx(128 / 255)
    torch.testing.assert_close(batch.size * batch.seen.camera[..., 0], torch.from_numpy(windows["extent"][[3, 5]]))


@pytest.mark.parametrize("variant", ["rgb", "keypoint_motion_flow"])
def test_a_variant_trains_alike_for_a_seed_and_is_scored(
    variant: str, windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(ablation.VARIANTS[variant], width=32, blocks=1, memory=16, encoding=16)
    monkeypatch.setitem(ablation.VARIANTS, variant, small)
    first, second = (fit(variant, 1, windows, 3, batch=4) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    pa, mpjpe, acceleration, hidden, fast = on_synthetic(first, windows, TorchBody(load_body()))
    assert 0 < pa <= mpjpe < 3000
    assert all(np.isfinite([acceleration, hidden]))
    assert fast > 0 or np.isnan(fast)


def test_a_video_is_seen_as_the_program_sees_it() -> None:
    (clip,) = watch(CLIP, most=14)
    seen = clip.seen
    assert seen.points.shape == (1, 14, 17, 2)
    assert clip.frames.tolist() == list(range(14))
    assert seen.flow_valid[0].tolist() == [0.0] + [1.0] * 13
    torch.testing.assert_close(seen.dt[0, 1:], torch.full((13,), 1 / 30), atol=2e-3, rtol=0)
    assert float(seen.flow[0, 1:].abs().amax((1, 2, 3)).min()) > 1e-3  # the person walks
    assert seen.image is not None
    assert float(seen.image.std()) > 0.02
    # The region holds the confident detections.
    inside = (seen.points - seen.box[:, :, None, :2]).abs() < seen.box[:, :, None, 2:] / 2
    assert float(inside[seen.confidence > 0.4].float().mean()) > 0.95
    network = Lifter(LifterConfig(32, 1, 16, 16)).eval()
    share, shake = on_clip(network, clip, TorchBody(load_body()))
    assert 0 < share < 1
    assert shake >= 0


def test_the_report_has_a_row_for_each_variant_and_a_picture(tmp_path: Path) -> None:
    outcomes = [
        Outcome(name, seed, 60.0 + seed, 90.0, 8.0, 120.0, 130.0, 50.0 + 2 * seed, 80.0, 0.02, 6.0)
        for name in ("rgb", "keypoint_motion_flow")
        for seed in (0, 1)
    ]
    table = markdown(outcomes).splitlines()
    assert len(table) == 4
    assert "| keypoint motion + flow | 2 | 60.5 ± 0.5 |" in table[3]
    assert "51.0 ± 1.0" in table[3]
    assert "| 2.0 ± 0.0 |" in table[3]
    draw(outcomes, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000
