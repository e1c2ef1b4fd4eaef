"""The regressor: moving COCO-17 keypoints and optical flow in, a moving SMPL body out, one frame at a time.

Geometry is exact and outside of what is learned: keypoints become rays, rays are turned into a virtual camera that looks
straight at the person (so that global orientation is right off-centre; the idea of CLIFF, Li et al. 2022, carried out as
a rotation) and divided by the person's angular size; the predicted body is rotated back. Flow is used twice: it carries
keypoints from frame to frame (`keypoint_filter`), and an encoder reads the whole field (`encoders`). A per-frame residual
network reads both, a recurrent one integrates over time (`memory`), and the prediction is refined (`refinement`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from body.joints import JOINT_NAMES, JOINTS, KEYPOINTS
from body.soles import CONTACTS
from training.networks.encoders import FlowEncoder, ImageEncoder, ResidualFlowEncoder, ResidualImageEncoder
from training.networks.geometry import VirtualView, view_of_keypoints, view_of_region
from training.networks.inputs import Observation
from training.networks.keypoint_filter import KeypointFilter, KeypointTrack, reliability
from training.networks.lifter_config import LifterConfig
from training.networks.memory import Memory, ShapeEvidence
from training.networks.outputs import Encoded, Lifted
from training.networks.refinement import (
    POSE_NUMBERS,
    PREDICTION,
    LocalKeypoints,
    Mechanics,
    Refinement,
    rotations_from_axes,
)

_MEAN_DEPTH = 1.2
"""Depth in metres of a person of unit angular size, to which the predicted log-depth is relative."""
_BOX_SPREAD = 0.22
"""Angular size of a person over the side of the region, for networks that read no keypoints."""
_LEG_SHARES = (
    {"left_hip": 0.5, "right_hip": 0.5, "left_knee": 1.0, "right_knee": 1.0},
    {"left_knee": 0.5, "right_knee": 0.5},
)
"""Share of the prediction without memory in each joint's rotation: before the last round of refinement, which fits the legs
to the keypoints again, and after it."""
_EXTRAS = (JOINTS, len(CONTACTS), 3, 1, 3)
"""Sizes of the outputs beside the pose: joint errors, contacts, up, its error, velocity of the root."""


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Lifter(nn.Module):
    """Lift observations to a body.

    A live stream calls it with T = 1 and passes the state on. A state of zeros starts a new person.
    """

    leg_shares: Tensor

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
        for row, joints in zip(shares, _LEG_SHARES, strict=True):
            for name, share in joints.items():
                row[6 * JOINT_NAMES.index(name) :][:6] = share
        self.register_buffer("leg_shares", shares, persistent=False)
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
        """Compile decoding and refinement, which work on thousands of small matrices. For training; the first step then takes
        minutes."""
        self._body = torch.compile(self._body, dynamic=False)  # type: ignore[method-assign]

    def _filter_keypoints(self, seen: Observation, state: Tensor) -> tuple[KeypointTrack, Tensor]:
        """Run the keypoint filter over all frames: its output for each (B, T, ...), and its packed state after the last."""
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

    def read_flow(self, seen: Observation) -> tuple[Tensor, Tensor]:
        """The encoder's vectors (B T, encoding) and the camera's motion (B T, 2). All frames without flow have the same vector,
        which is computed once."""
        flow, valid, dt = seen.flow.flatten(0, 1), seen.flow_valid.flatten(), seen.dt.flatten()
        if not isinstance(self.flow_encoder, FlowEncoder):
            vectors, background = self.flow_encoder(flow, valid, dt)
            return vectors, background
        rows = valid.nonzero()[:, 0]
        rows = torch.cat([rows, rows.new_zeros(1)])  # one more, for all frames without flow
        shown = valid[rows]
        shown = torch.cat([shown[:-1], shown.new_zeros(1)])
        vectors, background = self.flow_encoder(flow[rows], shown, dt[rows])
        place = torch.full_like(dt, len(rows) - 1, dtype=torch.long)
        place[rows[:-1]] = torch.arange(len(rows) - 1, device=dt.device)
        return vectors.index_select(0, place), background.index_select(0, place) * valid[:, None]

    def _features(self, seen: Observation, track: KeypointTrack) -> tuple[Tensor, VirtualView]:
        """Input (B, T, F) of the per-frame network, and the keypoints in the virtual camera."""
        camera, dt = seen.camera, seen.dt
        focal = camera[..., :2]
        region = (seen.box[..., :2] - camera[..., 2:]) / focal
        side = seen.box[..., 2] / focal[..., 0]
        values: list[Tensor] = []
        if self.config.keypoints:
            view = view_of_keypoints(track.rays, reliability(track.trust))
            shape = view.rays / view.size[..., None, None].clamp_min(1e-3)
            weighted = (shape * view.weight[..., None]).clamp(-6, 6)
            values += [weighted.flatten(-2), seen.confidence, view.weight]
        else:
            view = view_of_region(region, side * _BOX_SPREAD)
        centre, size = view.centre, view.size
        values += [
            centre,
            size.log()[..., None] + 1.5,
            camera[..., 2:] / focal,
            (dt[..., None].clamp(0.004, 1.0) * 30).log(),
            view.total / KEYPOINTS,
        ]
        scale = size.clamp_min(1e-3)[..., None]
        if self.config.keypoints and self.config.motion:
            speed = (track.velocity / scale[..., None]).clamp(-15, 15) * 0.2
            values += [speed.flatten(-2), track.residual.clamp(-1.5, 1.5).flatten(-2), track.trust]
        if self.config.flow:
            batch, length = dt.shape
            vectors, background = self.read_flow(seen)
            drift = background.reshape(batch, length, 2) * side[..., None] / scale / dt.clamp(0.004, 1.0)[..., None]
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
        return torch.cat(values, -1), view

    def _decode(self, raw: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Rotations (24, 3, 3, N) and pelvis (3, N) in the frame of the virtual camera, of a prediction (`PREDICTION`, N)."""
        rotations = rotations_from_axes(raw[:POSE_NUMBERS].reshape(JOINTS, 2, 3, -1))
        place = raw[POSE_NUMBERS:]
        depth = _MEAN_DEPTH / 4.0 / size * place[2].clamp(-3, 3).exp()
        return rotations, torch.cat([place[:2] * size, torch.ones_like(size)[None]]) * depth

    def _refine(
        self, raw: Tensor, betas: Tensor, known: Tensor, keypoints: LocalKeypoints, blends_legs: bool = False
    ) -> Tensor:
        """Correct a prediction (`PREDICTION`, N) by the posed body's distances from the keypoints. ``known`` (N, C) are the
        network's features of the person, ``betas`` (10, N) the person's shape. With ``blends_legs`` the second half of N are
        predictions without memory for the people of the first half, and the legs of both are blended."""
        context = nn.functional.gelu(self.context(known)).float().T.contiguous()
        rotations = raw
        for number, refinement in enumerate(self.refinements, 1):
            with torch.autocast(raw.device.type, enabled=False):
                rotations, pelvis = self._decode(raw, keypoints.size)
                if blends_legs and number == len(self.refinements):
                    raw = self._blend_legs(raw, rotations, self.leg_shares[0])
                    rotations, pelvis = self._decode(raw, keypoints.size)
                posed = self.mechanics.pose(rotations, betas, pelvis, keypoints)
            raw = refinement(context, raw, posed, self.mechanics, keypoints)
        return self._blend_legs(raw, rotations, self.leg_shares[1]) if blends_legs else raw

    @staticmethod
    def _blend_legs(raw: Tensor, rotations: Tensor, share: Tensor) -> Tensor:
        """Predictions (`PREDICTION`, 2 N) whose first half is moved by ``share`` (`PREDICTION`, 1) of the way to the second
        half, except for people whose ``rotations`` (24, 3, 3, 2 N) of the root differ by more than a right angle."""
        halves, roots = raw.reshape(PREDICTION, 2, -1), rotations[0].reshape(3, 3, 2, -1)
        remembered, present = halves[:, 0], halves[:, 1]
        agree = ((roots[:, :, 0] * roots[:, :, 1]).sum((0, 1)) > 1).to(raw.dtype)
        return torch.cat([remembered + share * agree * (present - remembered), present], 1)

    def _predict_with_present_legs(
        self, raw: Tensor, betas: Tensor, known: Tensor, keypoints: LocalKeypoints, inner: Tensor, dt: Tensor
    ) -> Tensor:
        """A refined prediction (`PREDICTION`, N) whose legs are blended with those of a prediction without memory. ``inner``
        (N, width) are the per-frame network's features, ``dt`` (N,) s; the others are as for `_body`."""
        empty = torch.zeros_like(dt)[:, None] + dt.new_zeros(self.memory.state_size)
        restarted, _, _ = self.memory(inner[:, None], dt[:, None], empty)
        present = torch.cat([restarted[:, 0].to(inner.dtype), inner], -1)
        outputs = self.head(nn.functional.gelu(self.merge(present))).float()[:, :PREDICTION]
        both = torch.cat([raw, outputs]).T.contiguous()
        keypoints = LocalKeypoints(*(torch.cat([x, x], -1) for x in keypoints))
        both = self._refine(
            both, torch.cat([betas, betas]).T.contiguous(), torch.cat([known, present]), keypoints, True
        )
        return both.reshape(PREDICTION, 2, -1)[:, 0]

    def _body(
        self,
        raw: Tensor,
        betas: Tensor,
        known: Tensor,
        turn: Tensor,
        keypoints: LocalKeypoints,
        frame: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Rotations (N, 24, 3, 3) and pelvis (N, 3) in the camera frame, from the first prediction ``raw`` (N, `PREDICTION`),
        ``betas`` (N, 10), ``known`` (N, C) and ``turn`` (N, 3, 3) from the virtual to the real camera. ``frame``, for
        `_predict_with_present_legs`, holds its ``inner`` and ``dt``; None: the legs are not blended."""
        if frame is not None:
            raw = self._predict_with_present_legs(raw, betas, known, keypoints, *frame)
        elif self.config.rounds:
            raw = self._refine(raw.T.contiguous(), betas.T.contiguous(), known, keypoints)
        else:
            raw = raw.T.contiguous()
        with torch.autocast(raw.device.type, enabled=False):
            rotations, pelvis = self._decode(raw, keypoints.size)
            turn = turn.permute(1, 2, 0)
            root = (turn[:, :, None] * rotations[0]).sum(1, keepdim=True)
            rotations = torch.cat([root.movedim(1, 0), rotations[1:]])
            pelvis = (turn * pelvis).sum(1)
        return rotations.permute(3, 0, 1, 2), pelvis.T

    def _split_state(self, state: Tensor) -> tuple[Tensor, ...]:
        """The states of memory, shape and keypoint filter, from the packed state (B, M)."""
        if not self.config.motion:
            return state, state.new_zeros(len(state), ShapeEvidence.STATE), state
        memory = self.memory.state_size
        return torch.split(state, [memory, ShapeEvidence.STATE, self.state_size - memory - ShapeEvidence.STATE], 1)

    def _encode(self, seen: Observation, state: Tensor) -> tuple[Encoded, Tensor]:
        """What the recurrent parts know after each frame, and the next state (B, M)."""
        memory, shape, packed = self._split_state(state)
        track, packed = self._filter_keypoints(seen, packed)
        features, view = self._features(seen, track)
        inner = known = self.frame(features)
        if self.config.motion:
            remembered, ticks, memory = self.memory(inner, seen.dt, memory)
            betas, deviation, shape = self.shape(remembered, ticks, shape)
            known = torch.cat([remembered.to(inner.dtype), inner], -1)
            state = torch.cat([memory, shape, packed], 1)
        else:
            betas, deviation, _ = self.shape(inner, torch.zeros_like(seen.dt)[..., None], shape)
        view_parts = (view.turn, track.rays, view.rays, view.weight, view.size)
        return Encoded(known, inner, seen.dt, betas, deviation, *view_parts), state

    def _predict(self, encoded: Encoded, state: Tensor) -> Lifted:
        """The bodies of all frames of ``encoded``; ``state`` is passed on."""
        batch, length = encoded.dt.shape
        weight, size = encoded.weight.flatten(0, 1), encoded.size.flatten(0, 1)
        local = encoded.local_rays.flatten(0, 1).permute(1, 2, 0)
        keypoints = LocalKeypoints(local.contiguous(), weight.T.contiguous(), size)
        known = encoded.known.flatten(0, 1)
        outputs = self.head(nn.functional.gelu(self.merge(known))).float()
        raw, joint_error, contact, up, up_error, velocity = torch.split(outputs, [PREDICTION, *_EXTRAS], 1)
        turn = encoded.turn.flatten(0, 1)
        blends_legs = self.config.memoryless_legs and not self.training
        frame = (encoded.inner.flatten(0, 1), encoded.dt.flatten()) if blends_legs else None
        rotations, pelvis = self._body(raw, encoded.betas.flatten(0, 1), known, turn, keypoints, frame)
        up = up * torch.rsqrt((up * up).sum(-1, keepdim=True) + 1e-8)
        up = (turn * up[:, None]).sum(-1)
        flat = (rotations, pelvis, joint_error, contact, up, up_error[:, 0], velocity)
        rotations, pelvis, joint_error, contact, up, up_error, velocity = (
            x.reshape(batch, length, *x.shape[1:]) for x in flat
        )
        betas, deviation, rays = encoded.betas, encoded.deviation, encoded.rays
        return Lifted(rotations, betas, pelvis, rays, joint_error, contact, deviation, up, up_error, velocity, state)

    def _predict_alone(self, seen: Observation, state: Tensor) -> Lifted:
        """Every frame as the first one of a new person; ``state`` is passed on unchanged."""
        batch, length = seen.dt.shape
        lifted = self(seen.alone(), self.start_state(batch * length))
        parts = lifted._asdict() | {"state": state}
        return Lifted(
            **{name: x if x is state else x.reshape(batch, length, *x.shape[2:]) for name, x in parts.items()}
        )

    def forward(
        self, seen: Observation, state: Tensor, alone: bool = False, output_frames: tuple[int, int] | None = None
    ) -> Lifted:
        """Lift B people over T frames, starting from ``state`` (B, M).

        ``alone`` takes every frame as the first one of a new person, as the first stage of training does. ``output_frames``
        are the first frame to predict and the one after the last (default: all): the others only update the state, at
        half the cost.
        """
        if alone and seen.dt.shape[1] > 1:
            return self._predict_alone(seen, state)
        encoded, state = self._encode(seen, state)
        if output_frames is not None:
            encoded = encoded.frames(*output_frames)
        return self._predict(encoded, state)
