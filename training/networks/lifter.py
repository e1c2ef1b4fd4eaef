"""The regressor: moving COCO-17 keypoints and optical flow in, a moving SMPL body out, one frame at a time.

Geometry is exact and outside of what is learned: keypoints become rays, rays are turned into a virtual camera that looks
straight at the person (so that global orientation is right off-centre; the idea of CLIFF, Li et al. 2022, carried out as
a rotation), divided by the person's angular size, and the answer is turned back. Flow enters twice: it carries keypoints from
frame to frame (`keypoint_filter`), and as a field, where it shows the motion of what has no keypoint (`encoders`). A per-frame
residual network reads all that; a recurrent one remembers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from body.joints import JOINT_NAMES
from training.networks.encoders import FlowEncoder, ImageEncoder, ResidualFlowEncoder, ResidualImageEncoder
from training.networks.geometry import look_at, rotation_from_6d
from training.networks.inputs import Observation
from training.networks.keypoint_filter import KEYPOINTS, KeypointFilter, KeypointTrack, reliability, spread
from training.networks.refinement import Mechanics, Refinement, Sight

JOINTS, BETAS = len(JOINT_NAMES), 10
FEET = 2
_MEAN_DEPTH = 1.2
"""Depth in metres of a person whose keypoints spread over a unit angle: what the predicted log-depth is relative to."""
_BOX_SPREAD = 0.22
"""Angular size of a person over the side of the region that a tracker cuts: where no keypoints are read."""


@dataclass(frozen=True, slots=True)
class LifterConfig:
    """What a `Lifter` reads, and its sizes: ``width`` of the per-frame network, ``blocks`` its depth, ``memory`` of the
    recurrent one.

    ``keypoints``, ``flow`` and ``image`` choose its inputs. ``motion`` False takes filter and memory away: every frame is
    answered by itself. ``compensation`` is how camera motion leaves the flow (see `FlowEncoder`). ``rounds`` of refinement,
    of ``correction`` units each, need keypoints. ``residual`` encoders of flow and image see more and cost more.
    """

    width: int = 448
    blocks: int = 2
    memory: int = 320
    encoding: int = 64
    keypoints: bool = True
    flow: bool = True
    image: bool = False
    motion: bool = True
    compensation: str = "median"
    rounds: int = 0
    correction: int = 320
    residual: bool = False

    def __post_init__(self) -> None:
        if not (self.keypoints or self.flow or self.image):
            raise ValueError("a regressor needs at least one input: keypoints, flow or image")
        if self.rounds and not self.keypoints:
            raise ValueError("refinement lays the body over keypoints: this regressor reads none")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Lifted(NamedTuple):
    """``rotations`` (..., 24, 3, 3), the first one global (rest to camera frame); ``betas`` (..., 10); ``pelvis`` (..., 3)
    metres in the camera frame; ``rays`` (..., 17, 2) the steadied keypoints, x/z and y/z; ``joint_error`` (..., 24)
    the logarithm of the joint's expected error in metres; ``contact`` (..., 2) logits of left and right foot standing
    on something; ``state`` to hand to the next step."""

    rotations: Tensor
    betas: Tensor
    pelvis: Tensor
    rays: Tensor
    joint_error: Tensor
    contact: Tensor
    state: Tensor


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Lifter(nn.Module):
    """Lift observations to a body.

    A live stream is T = 1 with the state handed on. A state of zeros starts a new person.
    """

    def __init__(self, config: LifterConfig) -> None:
        super().__init__()
        self.config = config
        width, memory = config.width, config.memory
        outputs = JOINTS * 6 + BETAS + 3
        features = 7
        if config.keypoints:
            features += KEYPOINTS * 4 + (KEYPOINTS * 5 if config.motion else 0)
            self.filter = KeypointFilter(config.flow) if config.motion else None
        else:
            self.filter = None
        if config.flow:
            flow_encoder = ResidualFlowEncoder if config.residual else FlowEncoder
            self.flow_encoder = flow_encoder(config.encoding, config.compensation)
            features += config.encoding + 6
        if config.image:
            self.image_encoder = (ResidualImageEncoder if config.residual else ImageEncoder)(config.encoding)
            features += config.encoding
        self.frame = nn.Sequential(
            nn.Linear(features, width), *[_Block(width) for _ in range(config.blocks)], nn.LayerNorm(width)
        )
        self.frame_head = nn.Linear(width, outputs)
        self.extra_head = nn.Linear(width, JOINTS + FEET)
        if config.motion:
            self.into_memory = nn.Linear(width, memory)
            self.recurrent = nn.GRU(memory, memory, batch_first=True)
            self.merge = nn.Sequential(nn.Linear(memory + width, width), nn.GELU(), nn.Linear(width, outputs))
        if config.rounds:
            self.mechanics = Mechanics()
            self.context = nn.Linear(memory + width if config.motion else width, config.correction)
            self.refinements = nn.ModuleList(
                Refinement(config.correction, config.correction) for _ in range(config.rounds)
            )
        with torch.no_grad():
            self.frame_head.weight.mul_(0.1)
            self.frame_head.bias.zero_()
            self.frame_head.bias[: JOINTS * 6] = torch.tensor([1.0, 0, 0, 0, 1.0, 0]).repeat(JOINTS)
            # An upright person facing the camera: half a turn about x.
            self.frame_head.bias[:6] = torch.tensor([1.0, 0, 0, 0, -1.0, 0])
            self.extra_head.bias[:JOINTS] = -3.0  # 5 cm
            if config.motion:
                last = self.merge[2]
                assert isinstance(last, nn.Linear)
                last.weight.zero_()  # temporal correction starts from nothing
                last.bias.zero_()

    @property
    def state_size(self) -> int:
        """M, the length of one person's state."""
        if not self.config.motion:
            return 1
        return self.config.memory + (self.filter.STATE if self.filter is not None else 0)

    def start_state(self, batch: int) -> Tensor:
        """The state (B, M) of a person never seen before."""
        return torch.zeros(batch, self.state_size, device=self.frame_head.weight.device)

    def _steady(self, seen: Observation, state: Tensor) -> tuple[KeypointTrack, Tensor]:
        """Run the filter over all frames: what it says of each (B, T, ...), and the packed track after the last one."""
        rays = (seen.points - seen.camera[..., None, 2:]) / seen.camera[..., None, :2]
        if self.filter is None:
            still = torch.zeros_like(rays)
            return KeypointTrack(rays, still, seen.confidence, still, torch.ones_like(seen.dt)[..., None]), state[:, :0]
        track = self.filter.unpack(state)
        tracks = []
        for t in range(rays.shape[1]):
            track = self.filter.step(
                track,
                rays[:, t],
                seen.confidence[:, t],
                seen.camera[:, t],
                seen.dt[:, t],
                seen.flow[:, t],
                seen.box[:, t],
                seen.flow_valid[:, t],
            )
            tracks.append(track)
        every = KeypointTrack(*(torch.stack(part, 1) for part in zip(*tracks, strict=True)))
        return every, self.filter.pack(track)

    def _features(self, seen: Observation, track: KeypointTrack) -> tuple[Tensor, Tensor, Sight]:
        """Input (B, T, F) of the per-frame network, turn (B, T, 3, 3) from the virtual to the real camera frame, and what
        that camera sees."""
        camera, dt = seen.camera, seen.dt
        focal = camera[..., :2]
        region = (seen.box[..., :2] - camera[..., 2:]) / focal
        side = seen.box[..., 2] / focal[..., 0]
        values: list[Tensor] = []
        if self.config.keypoints:
            weight = reliability(track.trust)
            total = weight.sum(-1, keepdim=True).clamp_min(1e-3)
            centre = (weight[..., None] * track.rays).sum(-2) / total
            turn = look_at(centre)
            # Into the virtual camera: multiply the ray (x, y, 1) by turn transposed.
            x, y = track.rays[..., 0], track.rays[..., 1]
            across, down, ahead = (
                x * turn[..., 0, axis, None] + y * turn[..., 1, axis, None] + turn[..., 2, axis, None]
                for axis in range(3)
            )
            ahead = ahead.clamp_min(0.1)
            local = torch.stack([across / ahead, down / ahead], -1)
            size = ((weight[..., None] * local * local).sum((-1, -2)) / total[..., 0] + 1e-6).sqrt()
            shape = local / size[..., None, None].clamp_min(1e-3)
            values += [(shape * weight[..., None]).clamp(-6, 6).flatten(-2), seen.confidence, weight]
        else:
            local, weight = torch.zeros_like(track.rays), torch.zeros_like(track.trust)
            centre, size = region, side * _BOX_SPREAD
            turn = look_at(centre)
            total = torch.full_like(dt, KEYPOINTS)[..., None]
        values += [
            centre,
            size.log()[..., None] + 1.5,
            camera[..., 2:] / focal,
            (dt[..., None].clamp(0.004, 1.0) * 30).log(),
            total / KEYPOINTS,
        ]
        scale = size.clamp_min(1e-3)[..., None]
        if self.config.keypoints and self.config.motion:
            speed = (track.velocity / scale[..., None]).clamp(-15, 15) * 0.2
            values += [speed.flatten(-2), track.residual.clamp(-1.5, 1.5).flatten(-2), track.trust]
        if self.config.flow:
            batch, length = dt.shape
            vectors, behind = self.flow_encoder(seen.flow.flatten(0, 1), seen.flow_valid.flatten(), seen.dt.flatten())
            drift = behind.reshape(batch, length, 2) * side[..., None] / scale / dt.clamp(0.004, 1.0)[..., None]
            values += [
                vectors.reshape(batch, length, -1),
                drift.clamp(-15, 15) * 0.2,
                seen.flow_valid[..., None],
                ((region - centre) / scale).clamp(-4, 4),
                (side[..., None] / scale).log().clamp(-3, 4) - 1.5,
            ]
        if self.config.image:
            if seen.image is None:
                raise ValueError("this regressor reads pixels: the observation has no image")
            values.append(self.image_encoder(seen.image.flatten(0, 1)).reshape(*dt.shape, -1))
        return torch.cat(values, -1), turn, Sight(local, weight, size)

    def _decode(self, raw: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotations, betas and pelvis in the frame of the virtual camera."""
        rotations = rotation_from_6d(raw[..., : JOINTS * 6].reshape(*raw.shape[:-1], JOINTS, 6))
        betas = raw[..., JOINTS * 6 : JOINTS * 6 + BETAS]
        place = raw[..., JOINTS * 6 + BETAS :]
        depth = _MEAN_DEPTH / 4.0 / size * place[..., 2].clamp(-3, 3).exp()
        sight = torch.stack([place[..., 0] * size, place[..., 1] * size, torch.ones_like(size)], -1)
        return rotations, betas, sight * depth[..., None]

    def _refine(self, raw: Tensor, known: Tensor, sight: Sight) -> Tensor:
        """Correct an answer (B, T, outputs) by how the posed body misses the keypoints. ``known`` (B, T, C) is what the
        network has gathered of the person."""
        batch = raw.shape[:2]
        raw, sight = raw.flatten(0, 1), Sight(*(part.flatten(0, 1) for part in sight))
        context = nn.functional.gelu(self.context(known.flatten(0, 1)))
        for refinement in self.refinements:
            posed = self.mechanics.pose(*self._decode(raw, sight.size), sight)
            raw = refinement(context, raw, posed, self.mechanics, sight)
        return raw.reshape(*batch, -1)

    def _remember(self, seen: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        remembered, last = self.recurrent(self.into_memory(seen), memory[None].contiguous())
        return remembered, last[0]

    def forward(self, seen: Observation, state: Tensor, alone: bool = False) -> Lifted:
        """Lift B people over T frames, starting from ``state`` (B, M). ``alone`` asks the per-frame network only, as the
        first stage of training does."""
        memory = self.config.memory if self.config.motion else 0
        track, packed = self._steady(seen, state[:, memory:])
        features, turn, sight = self._features(seen, track)
        inner = known = self.frame(features)
        raw = self.frame_head(inner)
        after = state
        if self.config.motion and not alone:
            remembered, last = self._remember(inner, state[:, :memory])
            known = torch.cat([remembered, inner], -1)
            raw = raw + self.merge(known)
            after = torch.cat([last, packed], 1)
        elif self.config.motion:
            known = nn.functional.pad(inner, (self.config.memory, 0))
        if self.config.rounds:
            raw = self._refine(raw, known, sight)
        rotations, betas, pelvis = self._decode(raw, sight.size)
        root = turn @ rotations[..., 0, :, :]
        rotations = torch.cat([root[..., None, :, :], rotations[..., 1:, :, :]], -3)
        pelvis = (turn @ pelvis[..., None])[..., 0]
        extra = self.extra_head(inner)
        return Lifted(rotations, betas, pelvis, track.rays, extra[..., :JOINTS], extra[..., JOINTS:], after)


__all__ = ["BETAS", "JOINTS", "KEYPOINTS", "Lifted", "Lifter", "LifterConfig", "Observation", "reliability", "spread"]
