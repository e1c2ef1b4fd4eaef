"""The Virtual Motion Capture protocol (VMC): one person's pose as OSC messages, for VSeeFace, Warudo, Unity and others.

Unity's axes: left-handed, y up, an avatar at rest looks along +z. From the y-up frame (right-handed, z towards the camera) x
is mirrored. Bones have the names of Unity's ``HumanBodyBones``; rotations are local, relative to a T-pose, quaternions
x, y, z, w; positions are metres, relative to the parent bone. The root stays at the origin, and the hips move.

Messages: ``/VMC/Ext/OK`` (1, 3, 0, whether somebody is seen), ``/VMC/Ext/T`` seconds, ``/VMC/Ext/Root/Pos`` and
``/VMC/Ext/Bone/Pos``, each with a name, a position and a quaternion.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from body.joints import JOINT_NAMES
from common.arrays import AnyFloatArray
from formats.axes import quaternions

_SIDES: Final = (("left", "Left"), ("right", "Right"))
_LIMBS: Final = {
    "hip": "UpperLeg", "knee": "LowerLeg", "ankle": "Foot", "foot": "Toes",
    "collar": "Shoulder", "shoulder": "UpperArm", "elbow": "LowerArm", "wrist": "Hand",
}  # fmt: skip
BONES: Final[dict[str, int]] = {
    name: JOINT_NAMES.index(joint)
    for name, joint in {
        "Hips": "pelvis", "Spine": "spine1", "Chest": "spine2", "UpperChest": "spine3", "Neck": "neck", "Head": "head",
        **{f"{there}{bone}": f"{side}_{joint}" for side, there in _SIDES for joint, bone in _LIMBS.items()},
    }.items()
}  # fmt: skip
"""Unity's humanoid bones and the joint of SMPL that turns each: all but SMPL's hands, which have none."""
_MIRROR_PLACE: Final = np.array([-1.0, 1.0, 1.0])
_MIRROR_TURN: Final = np.array([1.0, -1.0, -1.0, 1.0])
"""What mirroring x does to a quaternion x, y, z, w."""
_DATAGRAM: Final = 1300
"""Bytes of one bundle: with its headers it fits one Ethernet frame, so that no part of it can be lost alone."""


def vmc_bundles(
    seconds: float, rotations: AnyFloatArray | None, pelvis: AnyFloatArray | None, offsets: AnyFloatArray
) -> list[bytes]:
    """The datagrams of one frame, each at most `_DATAGRAM` bytes.

    ``rotations`` (24, 3) axis-angle, the root's to a frame with y up; ``pelvis`` (3,) metres in it; None where nobody is
    seen. ``offsets`` (24, 3) each joint relative to its parent in the rest body, metres.
    """
    seen = int(rotations is not None)
    messages = [_message("/VMC/Ext/OK", 1, 3, 0, seen).dgram, _message("/VMC/Ext/T", float(seconds)).dgram]
    if rotations is not None and pelvis is not None:
        places = offsets * _MIRROR_PLACE
        places[0] = pelvis * _MIRROR_PLACE
        turns = quaternions(rotations[None])[0] * _MIRROR_TURN
        rows = np.concatenate([places, turns], 1).tolist()
        messages.append(_ROOT + _PLACE.pack(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0))
        messages += [_BONES[name] + _PLACE.pack(*rows[joint]) for name, joint in BONES.items()]
    bundles: list[bytes] = []
    parts, size = [_BUNDLE], len(_BUNDLE)
    for message in messages:
        if size + len(message) + 4 > _DATAGRAM:
            bundles.append(b"".join(parts))
            parts, size = [_BUNDLE], len(_BUNDLE)
        parts += (_SIZE.pack(len(message)), message)
        size += len(message) + 4
    bundles.append(b"".join(parts))
    return bundles


def _message(address: str, *values: str | float) -> OscMessage:
    builder = OscMessageBuilder(address)
    for value in values:
        builder.add_arg(value, "s" if isinstance(value, str) else "i" if isinstance(value, int) else "f")
    return builder.build()


_SIZE: Final = struct.Struct(">i")
_PLACE: Final = struct.Struct(">7f")
"""Position and quaternion, the last arguments of a bone's message."""
_BUNDLE: Final = OscBundleBuilder(IMMEDIATELY).build().dgram
"""An empty bundle, to which messages are added with their sizes."""


def _bone(address: str, name: str) -> bytes:
    """A bone's message without its numbers: with them, building all anew for each frame would take a millisecond."""
    return _message(address, name, *[0.0] * 7).dgram[: -_PLACE.size]


_ROOT: Final = _bone("/VMC/Ext/Root/Pos", "root")
_BONES: Final = {name: _bone("/VMC/Ext/Bone/Pos", name) for name in BONES}
