"""What the network is shown and what it is asked."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
import roma  # noqa: E402

from body.joints import COCO_NAMES  # noqa: E402
from body.lbs_torch import TorchBody  # noqa: E402
from body.model import load_body  # noqa: E402
from training.motion.bank import NONE, Augmentation, MotionBank  # noqa: E402
from training.motion.clip import Clip  # noqa: E402
from training.simulation.batches import BatchMaker, FlowSource, contacts, keypoint_visibility, root_velocity  # noqa: E402
from training.simulation.cameras import draw_views  # noqa: E402
from training.simulation.detector_noise import NoiseSampler, load_noise  # noqa: E402
from training.simulation.flow_grid import FlowGrid  # noqa: E402
from training.simulation.flow_noise import FlowDegrader, load_flow_noise  # noqa: E402


@pytest.fixture(scope="module")
def body() -> TorchBody:
    return TorchBody(load_body())


def make(clips: list[Clip], body: TorchBody, how: Augmentation = NONE) -> BatchMaker:
    return BatchMaker(MotionBank(clips, seed=1), body, NoiseSampler(load_noise(), 2), how, occluders=0.0)


def test_detections_lie_around_the_projected_targets(clips: list[Clip], body: TorchBody) -> None:
    batch = make(clips, body).draw(128, 8, 30.0)
    place = batch.coco + batch.pelvis[:, :, None]
    exact = place[..., :2] / place[..., 2:] * batch.seen.camera[..., None, :2] + batch.seen.camera[..., None, 2:]
    share = (batch.seen.points - exact).norm(dim=-1) / (batch.size * batch.seen.camera[..., 0])[..., None]
    sure = batch.seen.confidence > 0.5
    # Where the focal length is assumed wrongly the target moves in depth; most of the error is the detector's all the same.
    assert float(share[sure].median()) < 0.05
    assert float(share[~sure].median()) > 2 * float(share[sure].median())


def test_the_targets_are_what_the_body_does_with_the_target_rotations(clips: list[Clip], body: TorchBody) -> None:
    batch = make(clips, body, Augmentation()).draw(4, 6)
    joints, coco = body.skeleton(batch.rotations, batch.betas[:, None].expand(4, 6, 10))
    torch.testing.assert_close(joints, batch.joints, atol=1e-5, rtol=0)
    torch.testing.assert_close(coco, batch.coco, atol=1e-5, rtol=0)


def test_people_are_in_front_of_the_camera_and_mostly_upright(clips: list[Clip], body: TorchBody) -> None:
    batch = make(clips, body).draw(256, 4, 30.0)
    assert float(batch.pelvis[..., 2].min()) > 0.4
    head_up = batch.joints[..., 15, 1] < 0  # y points down
    assert float(head_up.float().mean()) > 0.9


def test_close_views_cut_the_legs_off_often(clips: list[Clip], body: TorchBody) -> None:
    window = MotionBank(clips, seed=4).sample(512, 1, NONE, torch.full((512,), 30.0))
    views = draw_views(window, torch.Generator().manual_seed(0))
    root = views.rotation @ window.rotations[:, :, 0]
    rotations = torch.cat([root[:, :, None], window.rotations[:, :, 1:]], 2)
    _, coco = body.skeleton(rotations, torch.zeros(512, 1, 10))
    points = views.project(coco + views.pelvis[:, :, None])
    below = (points[..., 15:, 1] > views.size[:, None, None, 1]).all(-1)
    assert 0.15 < float(below.float().mean()) < 0.6


def test_the_far_side_is_hidden(body: TorchBody) -> None:
    """Somebody seen from the left: the left ear is seen, the right one is not, nor is a hand behind the trunk."""
    identity = torch.eye(3).expand(1, 1, 24, 3, 3).clone()
    turned = torch.tensor([[0.0, 0.0, -1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])  # facing right in the frame
    identity[:, :, 0] = turned
    joints, coco = body.skeleton(identity, torch.zeros(1, 1, 10))
    place = torch.tensor([0.0, 0.0, 4.0])
    coco = coco.clone()
    wrist = COCO_NAMES.index("right_wrist")
    coco[0, 0, wrist] = joints[0, 0, 6] + torch.tensor([0.0, 0.0, 0.25])
    points = (coco + place)[..., :2] / (coco + place)[..., 2:] * 500 + 250
    state = keypoint_visibility(joints + place, coco + place, points, torch.tensor([[500.0, 500.0]]))[0, 0]
    named = dict(zip(COCO_NAMES, state.tolist(), strict=True))
    assert named["left_ear"] == 0
    assert named["right_ear"] == 1
    assert named["right_wrist"] == 1
    assert named["left_shoulder"] == 0
    outside = keypoint_visibility(joints + place, coco + place, points + 600, torch.tensor([[500.0, 500.0]]))
    assert (outside == 2).all()


def test_clean_flow_carries_the_true_keypoints_along(clips: list[Clip], body: TorchBody) -> None:
    """Sampled where a visible keypoint was, the flow points to where it is now, within a cell's width of blur."""
    from training.networks.keypoint_filter import sample_flow

    maker = BatchMaker(
        MotionBank(clips, seed=1),
        body,
        NoiseSampler(load_noise(), 2),
        NONE,
        occluders=0.0,
        flow=FlowSource(FlowGrid(), FlowDegrader(load_flow_noise(), 3)),
        clean=True,
    )
    seen = maker.draw(64, 6, 30.0).seen
    assert bool((seen.flow_valid[:, 0] == 0).all() and (seen.flow_valid[:, 1:] == 1).all())
    before, now, box = seen.points[:, 3], seen.points[:, 4], seen.box[:, 4]
    cells = ((before - box[:, None, :2]) / box[:, None, 2:] + 0.5) * 32 - 0.5
    moved, inside = sample_flow(seen.flow[:, 4], cells)
    torso = [5, 6, 11, 12]
    left = (before + moved * box[:, None, 2:] - now).norm(dim=-1)[:, torso]
    travelled = (before - now).norm(dim=-1)[:, torso]
    used = (inside[:, torso] > 0) & (travelled > 0.01 * box[:, 2:])
    assert int(used.sum()) > 20
    assert float((left / travelled)[used].median()) < 0.35


def test_missing_flow_is_marked_and_empty(clips: list[Clip], body: TorchBody) -> None:
    source = FlowSource(FlowGrid(), FlowDegrader(load_flow_noise(), 3), dropout=0.5)
    maker = BatchMaker(MotionBank(clips, seed=1), body, NoiseSampler(load_noise(), 2), NONE, flow=source)
    seen = maker.draw(64, 6, 30.0).seen
    gone = seen.flow_valid == 0
    assert 0.3 < float(gone[:, 1:].float().mean()) < 0.9
    assert float(seen.flow[gone].abs().max()) == 0
    assert float(seen.flow[~gone].abs().amax((1, 2, 3)).min()) > 0


def test_heels_and_toes_stand_where_they_stay_low(body: TorchBody) -> None:
    rotations = torch.eye(3).expand(1, 8, 24, 3, 3).clone()
    dt = torch.full((1, 8), 1 / 30)
    views = torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(1, 8, 3, 3)
    rotations[:, :, 0] = views
    still = torch.zeros(1, 8, 3)

    def standing(rotations: torch.Tensor, pelvis: torch.Tensor) -> torch.Tensor:
        turned, joints, _ = body.frames(rotations, torch.zeros(1, 8, 10))
        return contacts(turned, joints, views, pelvis, dt)

    assert bool((standing(rotations, still) == 1).all())
    walking = still.clone()
    walking[0, :, 0] = torch.arange(8) * 0.05  # 1.5 m/s
    assert bool((standing(rotations, walking) == 0).all())
    lifted = rotations.clone()
    lifted[:, :, 4] = roma.rotvec_to_rotmat(torch.tensor([1.2, 0.0, 0.0]))  # the left knee
    assert standing(lifted, still)[0, 4].tolist() == [0, 0, 1, 1]
    tiptoe = rotations.clone()
    tiptoe[:, :, [7, 8]] = roma.rotvec_to_rotmat(torch.tensor([0.7, 0.0, 0.0]))
    assert standing(tiptoe, still)[0, 4].tolist() == [0, 1, 0, 1]


def test_the_pelvis_velocity_is_in_the_root_s_axes() -> None:
    views = roma.random_rotmat(1)[None].expand(1, 4, 3, 3)
    heading = roma.random_rotmat(1)[None].expand(1, 4, 3, 3)
    ahead = torch.tensor([0.3, -0.1, 1.2])  # m/s, of the person
    times = torch.arange(4) / 25
    pelvis = (heading[0, 0] @ ahead) * times[None, :, None]
    found = root_velocity(views @ heading, views, pelvis, torch.full((1, 4), 1 / 25))
    torch.testing.assert_close(found, ahead.expand(1, 4, 3), atol=1e-4, rtol=0)


def test_up_is_where_upright_people_s_heads_are(clips: list[Clip], body: TorchBody) -> None:
    batch = make(clips, body).draw(128, 4, 30.0)
    spine = batch.joints[:, :, 15]
    assert float((torch.cosine_similarity(spine, batch.up, -1) > 0.85).float().mean()) > 0.8
    torch.testing.assert_close(batch.up.norm(dim=-1), torch.ones(128, 4))


def test_a_draw_follows_from_its_number_alone(clips: list[Clip], body: TorchBody) -> None:
    flow = FlowSource(FlowGrid(), FlowDegrader(load_flow_noise(), 3))
    maker = BatchMaker(MotionBank(clips, seed=1), body, NoiseSampler(load_noise(), 2), Augmentation(), flow=flow)
    maker.seed(11)
    first = maker.draw(6, 5)
    maker.draw(2, 3)
    maker.seed(11)
    again = maker.draw(6, 5)
    assert torch.equal(first.seen.points, again.seen.points)
    assert torch.equal(first.seen.flow, again.seen.flow)
    assert torch.equal(first.rotations, again.rotations)
    maker.seed(12)
    assert not torch.equal(maker.draw(6, 5).rotations, again.rotations)


def test_who_is_in_full_view_has_all_keypoints_in_the_frame(clips: list[Clip], body: TorchBody) -> None:
    batch = make(clips, body).draw(128, 6)
    points = batch.true_rays * batch.seen.camera[..., None, :2] + batch.seen.camera[..., None, 2:]
    size = 2 * batch.seen.camera[:, :, None, 2:]
    inside = ((points >= 0) & (points <= size)).flatten(1).all(1)
    assert torch.equal(batch.in_full_view, inside)
    assert 0.2 < inside.float().mean() < 0.9  # near views show a part of the person
    assert bool(batch.joints_in_frame[inside].float().mean() > 0.95)  # of a hand the wrist is the keypoint
    assert 0.1 < batch.joints_in_frame[~inside].float().mean() < 0.95
    whole = batch.people(inside)
    assert len(whole.betas) == len(whole.seen.points) == int(inside.sum())
    assert bool(whole.in_full_view.all())
    torch.testing.assert_close(whole.frames(2, 5).joints, batch.joints[inside, 2:5])
