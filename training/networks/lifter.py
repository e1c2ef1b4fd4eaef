"""The regressor: moving COCO-17 keypoints and optical flow in, a moving SMPL body out, one frame at a time.

Geometry is exact and outside of what is learned: keypoints become rays, rays are turned into a virtual camera that looks
straight at the person (so that global orientation is right off-centre; the idea of CLIFF, Li et al. 2022, carried out as
a rotation), divided by the person's angular size, and the answer is turned back. Flow enters twice: it carries keypoints from
frame to frame (`keypoint_filter`), and as a field that shows the motion between the keypoints (`encoders`). A per-frame
residual network reads both; a recurrent one integrates over time (`memory`), and the prediction is refined (`refinement`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from body.joints import JOINT_NAMES, JOINTS, KEYPOINTS
from body.soles import CONTACTS
from training.networks.encoders import FlowEncoder, ImageEncoder, ResidualFlowEncoder, ResidualImageEncoder
from training.networks.geometry import look_at
from training.networks.inputs import Observation
from training.networks.keypoint_filter import KeypointFilter, KeypointTrack, reliability
from training.networks.lifter_config import LifterConfig
from training.networks.memory import Memory, ShapeEvidence
from training.networks.refinement import POSE_NUMBERS, PREDICTION, Mechanics, Refinement, Sight, rotations_from_axes

_MEAN_DEPTH = 1.2
"""Depth in metres of a person whose keypoints spread over a unit angle: what the predicted log-depth is relative to."""
_BOX_SPREAD = 0.22
"""Angular size of a person over the side of the region that a tracker cuts: where no keypoints are read."""
_TIMELY = (
    {"left_hip": 0.5, "right_hip": 0.5, "left_knee": 1.0, "right_knee": 1.0},
    {"left_knee": 0.5, "right_knee": 0.5},
)
"""Shares of the prediction without memory in the legs' joints: before the last round of refinement, which lays the legs over
the keypoints again, and after it."""
_EXTRAS = (JOINTS, len(CONTACTS), 3, 1, 3)
"""Joint errors, contacts, up, its deviation, velocity of the root."""


class Lifted(NamedTuple):
    """A `Lifter`'s prediction; float32, camera frame."""

    rotations: Tensor
    """(..., 24, 3, 3), the first one global (rest to camera frame), the others relative to their parents."""
    betas: Tensor
    """(..., 10) shape."""
    pelvis: Tensor
    """(..., 3) metres."""
    rays: Tensor
    """(..., 17, 2) the filtered keypoints, x/z and y/z."""
    joint_error: Tensor
    """(..., 24) logarithm of each joint's expected error in metres."""
    contact: Tensor
    """(..., 4) logits of `CONTACTS` standing on something."""
    betas_deviation: Tensor
    """(..., 10) standard deviation of ``betas``."""
    up: Tensor
    """(..., 3) unit vector away from the ground."""
    up_error: Tensor
    """(...,) logarithm of its expected error in radians."""
    root_velocity: Tensor
    """(..., 3) m/s of the pelvis over the ground, in the root's own axes."""
    state: Tensor
    """(..., S) to hand to the next step."""

    def people(self, rows: Tensor) -> Lifted:
        """The people that ``rows`` of booleans or indices names."""
        return Lifted(*(part[rows] for part in self))


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

    timely: Tensor

    def __init__(self, config: LifterConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
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
        known = width
        if config.motion:
            self.memory = Memory(width, config.memory, config.tick_s)
            known += config.memory
        self.shape = ShapeEvidence(config.memory if config.motion else width)
        self.merge = nn.Linear(known, width)
        self.head = nn.Linear(width, PREDICTION + sum(_EXTRAS))
        shares = torch.zeros(2, PREDICTION, 1)
        for row, joints in zip(shares, _TIMELY, strict=True):
            for name, share in joints.items():
                row[6 * JOINT_NAMES.index(name) :][:6] = share
        self.register_buffer("timely", shares, persistent=False)
        if config.rounds:
            self.mechanics = Mechanics()
            self.context = nn.Linear(known, config.correction)
            self.refinements = nn.ModuleList(
                Refinement(config.correction, config.correction) for _ in range(config.rounds)
            )
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()
            self.head.bias[:POSE_NUMBERS] = torch.tensor([1.0, 0, 0, 0, 1.0, 0]).repeat(JOINTS)
            # An upright person facing the camera: half a turn about x.
            self.head.bias[:6] = torch.tensor([1.0, 0, 0, 0, -1.0, 0])
            extras = self.head.bias[PREDICTION:]
            extras[:JOINTS] = -3.0  # 5 cm
            extras[JOINTS + len(CONTACTS) :][:4] = torch.tensor([0.0, -1.0, 0.0, -2.0])  # up is up in the image, ± 8°

    @property
    def state_size(self) -> int:
        """M, the length of one person's state."""
        if not self.config.motion:
            return 1
        packed = self.filter.STATE if self.filter is not None else 0
        return self.memory.state_size + ShapeEvidence.STATE + packed

    def start_state(self, batch: int) -> Tensor:
        """The state (B, M) of a person never seen before."""
        return torch.zeros(batch, self.state_size, device=self.head.weight.device)

    def compile_geometry(self) -> None:
        """Fuse what is done to thousands of small matrices into few loops: decoding and refinement. For training; the first
        step then takes minutes."""
        self._body = torch.compile(self._body, dynamic=False)  # type: ignore[method-assign]

    def _steady(self, seen: Observation, state: Tensor) -> tuple[KeypointTrack, Tensor]:
        """Run the filter over all frames: its output for each (B, T, ...), and the packed track after the last one."""
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

    def _read_flow(self, seen: Observation) -> tuple[Tensor, Tensor]:
        """The encoder's vectors (B T, encoding) and the camera's motion (B T, 2). A frame without flow is the same whoever it
        shows, so it is encoded once."""
        flow, valid, dt = seen.flow.flatten(0, 1), seen.flow_valid.flatten(), seen.dt.flatten()
        if not isinstance(self.flow_encoder, FlowEncoder):
            vectors, behind = self.flow_encoder(flow, valid, dt)
            return vectors, behind
        rows = valid.nonzero()[:, 0]
        rows = torch.cat([rows, rows.new_zeros(1)])  # one more, for all frames without flow
        shown = valid[rows]
        shown = torch.cat([shown[:-1], shown.new_zeros(1)])
        vectors, behind = self.flow_encoder(flow[rows], shown, dt[rows])
        place = torch.full_like(dt, len(rows) - 1, dtype=torch.long)
        place[rows[:-1]] = torch.arange(len(rows) - 1, device=dt.device)
        return vectors.index_select(0, place), behind.index_select(0, place) * valid[:, None]

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
            local = (track.rays[..., None] * turn[..., None, :2, :]).sum(-2) + turn[..., 2:, :]
            local = local[..., :2] / local[..., 2:].clamp_min(0.1)
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
            vectors, behind = self._read_flow(seen)
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

    def _decode(self, raw: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations (24, 3, 3, N) and pelvis (3, N) in the frame of the virtual camera, of a prediction (`PREDICTION`, N)."""
        rotations = rotations_from_axes(raw[:POSE_NUMBERS].reshape(JOINTS, 2, 3, -1))
        place = raw[POSE_NUMBERS:]
        depth = _MEAN_DEPTH / 4.0 / size * place[2].clamp(-3, 3).exp()
        return rotations, torch.cat([place[:2] * size, torch.ones_like(size)[None]]) * depth

    def _refine(self, raw: Tensor, betas: Tensor, known: Tensor, sight: Sight, timely: bool = False) -> Tensor:
        """Correct a prediction (`PREDICTION`, N) by the posed body's distances from the keypoints. ``known`` (N, C) are the
        network's features of the person, ``betas`` (10, N) the person's shape. Where ``timely``, the second half of N are
        predictions without memory for the people of the first half, whose legs follow them."""
        context = nn.functional.gelu(self.context(known)).float().T.contiguous()
        rotations = raw
        for number, refinement in enumerate(self.refinements, 1):
            with torch.autocast(raw.device.type, enabled=False):
                rotations, pelvis = self._decode(raw, sight.size)
                if timely and number == len(self.refinements):
                    raw = self._follow_present(raw, rotations, self.timely[0])
                    rotations, pelvis = self._decode(raw, sight.size)
                posed = self.mechanics.pose(rotations, betas, pelvis, sight)
            raw = refinement(context, raw, posed, self.mechanics, sight)
        return self._follow_present(raw, rotations, self.timely[1]) if timely else raw

    @staticmethod
    def _follow_present(raw: Tensor, rotations: Tensor, share: Tensor) -> Tensor:
        """Predictions (`PREDICTION`, 2 N) whose first half is moved by ``share`` (`PREDICTION`, 1) of the way to the second
        half, but for people who face another way there. ``rotations`` (24, 3, 3, 2 N) are theirs."""
        halves, roots = raw.reshape(PREDICTION, 2, -1), rotations[0].reshape(3, 3, 2, -1)
        remembered, present = halves[:, 0], halves[:, 1]
        agree = ((roots[:, :, 0] * roots[:, :, 1]).sum((0, 1)) > 1).to(raw.dtype)
        return torch.cat([remembered + share * agree * (present - remembered), present], 1)

    def _timely_prediction(
        self, raw: Tensor, betas: Tensor, known: Tensor, sight: Sight, inner: Tensor, dt: Tensor
    ) -> Tensor:
        """A refined prediction (`PREDICTION`, N) whose legs follow the present frame. ``inner`` (N, width) are the per-frame
        network's features, ``dt`` (N,) s; the others are as for `_body`."""
        nobody = torch.zeros_like(dt)[:, None] + dt.new_zeros(self.memory.state_size)
        anew, _, _ = self.memory(inner[:, None], dt[:, None], nobody)
        present = torch.cat([anew[:, 0].to(inner.dtype), inner], -1)
        outputs = self.head(nn.functional.gelu(self.merge(present))).float()[:, :PREDICTION]
        both = torch.cat([raw, outputs]).T.contiguous()
        sight = Sight(*(torch.cat([x, x], -1) for x in sight))
        both = self._refine(both, torch.cat([betas, betas]).T.contiguous(), torch.cat([known, present]), sight, True)
        return both.reshape(PREDICTION, 2, -1)[:, 0]

    def _body(
        self,
        raw: Tensor,
        betas: Tensor,
        known: Tensor,
        turn: Tensor,
        sight: Sight,
        now: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Rotations (N, 24, 3, 3) and pelvis (N, 3) in the camera frame, from the first prediction ``raw`` (N, `PREDICTION`),
        ``betas`` (N, 10), ``known`` (N, C) and ``turn`` (N, 3, 3) from the virtual to the real camera. ``now`` is what legs
        that follow the present frame need besides (see `_timely_prediction`)."""
        if now is not None:
            raw = self._timely_prediction(raw, betas, known, sight, *now)
        elif self.config.rounds:
            raw = self._refine(raw.T.contiguous(), betas.T.contiguous(), known, sight)
        else:
            raw = raw.T.contiguous()
        with torch.autocast(raw.device.type, enabled=False):
            rotations, pelvis = self._decode(raw, sight.size)
            turn = turn.permute(1, 2, 0)
            root = (turn[:, :, None] * rotations[0]).sum(1, keepdim=True)
            rotations = torch.cat([root.movedim(1, 0), rotations[1:]])
            pelvis = (turn * pelvis).sum(1)
        return rotations.permute(3, 0, 1, 2), pelvis.T

    def forward(
        self, seen: Observation, state: Tensor, alone: bool = False, answered: tuple[int, int] | None = None
    ) -> Lifted:
        """Lift B people over T frames, starting from ``state`` (B, M).

        ``alone`` takes every frame as the first one of a new person, as the first stage of training does. ``answered`` are
        the first frame to predict and the one after the last (default: all): the others only update the state, at half
        the cost.
        """
        batch, length = seen.dt.shape
        if alone and length > 1:
            parts = self(seen.alone(), self.start_state(batch * length))
            names = Lifted._fields[:-1]
            frames = {
                name: getattr(parts, name).reshape(batch, length, *getattr(parts, name).shape[2:]) for name in names
            }
            return Lifted(**frames, state=state)
        memory = self.memory.state_size if self.config.motion else 0
        kept, shape, packed = (
            torch.split(state, [memory, ShapeEvidence.STATE, self.state_size - memory - ShapeEvidence.STATE], 1)
            if self.config.motion
            else (state, state.new_zeros(batch, ShapeEvidence.STATE), state)
        )
        track, packed = self._steady(seen, packed)
        features, turn, sight = self._features(seen, track)
        inner = known = self.frame(features)
        dt = seen.dt
        if self.config.motion:
            remembered, ticks, kept = self.memory(inner, seen.dt, kept)
            betas, deviation, shape = self.shape(remembered, ticks, shape)
            known = torch.cat([remembered.to(inner.dtype), inner], -1)
            state = torch.cat([kept, shape, packed], 1)
        else:
            betas, deviation, _ = self.shape(inner, torch.zeros_like(seen.dt)[..., None], shape)
        rays = track.rays
        if answered is not None:
            part = slice(*answered)
            length = answered[1] - answered[0]
            known, betas, deviation, turn, rays = (x[:, part] for x in (known, betas, deviation, turn, rays))
            inner, dt = inner[:, part], dt[:, part]
            sight = Sight(*(x[:, part] for x in sight))
        local, weight, size = (x.flatten(0, 1) for x in sight)
        sight = Sight(local.permute(1, 2, 0).contiguous(), weight.T.contiguous(), size)
        flat = known.flatten(0, 1)
        outputs = self.head(nn.functional.gelu(self.merge(flat))).float()
        raw, joint_error, contact, up, up_error, velocity = torch.split(outputs, [PREDICTION, *_EXTRAS], 1)
        turn = turn.flatten(0, 1)
        now = (inner.flatten(0, 1), dt.flatten()) if self.config.timely and not self.training else None
        rotations, pelvis = self._body(raw, betas.flatten(0, 1), flat, turn, sight, now)
        up = up * torch.rsqrt((up * up).sum(-1, keepdim=True) + 1e-8)
        up = (turn * up[:, None]).sum(-1)
        flat_parts = (rotations, pelvis, joint_error, contact, up, up_error[:, 0], velocity)
        rotations, pelvis, joint_error, contact, up, up_error, velocity = (
            x.reshape(batch, length, *x.shape[1:]) for x in flat_parts
        )
        return Lifted(rotations, betas, pelvis, rays, joint_error, contact, deviation, up, up_error, velocity, state)
