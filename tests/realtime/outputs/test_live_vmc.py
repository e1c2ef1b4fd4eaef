"""Avatars of other programs move while motion is estimated: the VMC protocol on the loopback interface."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import pytest
from pythonosc.osc_bundle import OscBundle
from scipy.spatial.transform import Rotation

from body.model import BodyArrays
from common.arrays import DoubleArray
from formats.endings import ReferenceFrame
from formats.vmc import BONES
from tests.realtime.outputs.live_results import open_to, result, tilted


def heard(listener: socket.socket) -> dict[str, Any]:
    """The next frame's VMC messages: by address, bones by name."""
    found: dict[str, Any] = {}
    while "/VMC/Ext/OK" not in found or (found["/VMC/Ext/OK"][3] and len(found) < 3 + len(BONES)):
        datagram = listener.recv(65535)
        assert len(datagram) < 1472  # fits an Ethernet frame
        for message in OscBundle(datagram):
            bone = message.address == "/VMC/Ext/Bone/Pos"
            found[message.params[0] if bone else message.address] = message.params[1:] if bone else message.params
    return found


def unity_joints(messages: dict[str, Any]) -> dict[str, DoubleArray]:
    """Where Unity puts each bone: local transforms down the humanoid's tree, left-handed, y up."""
    parents = {"Spine": "Hips", "Chest": "Spine", "UpperChest": "Chest", "Neck": "UpperChest", "Head": "Neck"}
    for side in ("Left", "Right"):
        chain = ["Hips", *(f"{side}{part}" for part in ("UpperLeg", "LowerLeg", "Foot", "Toes"))]
        arm = ["UpperChest", *(f"{side}{part}" for part in ("Shoulder", "UpperArm", "LowerArm", "Hand"))]
        parents |= dict(zip(chain[1:], chain, strict=False)) | dict(zip(arm[1:], arm, strict=False))
    places: dict[str, DoubleArray] = {}
    turns: dict[str, DoubleArray] = {}

    def place(bone: str) -> None:
        if bone in places:
            return
        position, turn = np.array(messages[bone][:3]), quaternion_matrix(np.array(messages[bone][3:]))
        if bone == "Hips":
            places[bone], turns[bone] = position, turn
            return
        place(parents[bone])
        places[bone] = places[parents[bone]] + turns[parents[bone]] @ position
        turns[bone] = turns[parents[bone]] @ turn

    for bone in messages:
        if not bone.startswith("/"):
            place(bone)
    return places


def quaternion_matrix(q: DoubleArray) -> DoubleArray:
    """Unity's matrix of a quaternion x, y, z, w: the same algebra whatever the hand of the axes."""
    return np.asarray(Rotation.from_quat(q).as_matrix())


def test_vmc_is_the_person_mirrored_into_unitys_axes(arrays: BodyArrays, listener: socket.socket) -> None:
    one = result(arrays, 3, 0)
    with open_to("vmc", listener.getsockname()[1], arrays) as sender:
        sender.send(one)
        messages = heard(listener)
    assert messages["/VMC/Ext/OK"] == [1, 3, 0, 1]
    assert messages["/VMC/Ext/T"][0] == pytest.approx(0.1)
    assert messages["/VMC/Ext/Root/Pos"] == ["root", 0, 0, 0, 0, 0, 0, 1]
    assert len(BONES) == 22
    places = unity_joints(messages)
    joints = one.people[0].joints.astype(np.float64) * [1, -1, -1] * [-1, 1, 1]  # y up, then left-handed
    shift = places["Hips"] - joints[0]
    for bone, joint in BONES.items():
        np.testing.assert_allclose(places[bone], joints[joint] + shift, atol=1e-4, err_msg=bone)
    # It looks along +z, its left hand is at -x (Unity's right is +x), and its feet are on the ground.
    assert places["LeftUpperArm"][0] < places["RightUpperArm"][0]
    assert 0.03 < min(places["LeftFoot"][1], places["RightFoot"][1]) < 0.15
    assert abs(places["Hips"][0]) < 1e-6


@pytest.mark.parametrize("frame", [None, "world", "camera"])
def test_vmc_stands_upright_on_the_floor_where_it_is_known(
    arrays: BodyArrays, listener: socket.socket, frame: ReferenceFrame | None
) -> None:
    one = tilted(result(arrays, 3, 0))
    assert one.world is not None
    world = one.world.world_from_camera if frame != "camera" else np.diag([1.0, -1.0, -1.0, 1.0])
    wanted = (one.people[0].joints @ world[:3, :3].T + world[:3, 3]) * [-1, 1, 1]
    with open_to("vmc", listener.getsockname()[1], arrays, frame=frame) as sender:
        sender.send(one)
        places = unity_joints(heard(listener))
        shift = places["Hips"] - wanted[0]
        for bone, joint in BONES.items():
            np.testing.assert_allclose(places[bone], wanted[joint] + shift, atol=1e-4, err_msg=bone)
        assert places["Hips"][[0, 2]] == pytest.approx([0, 0], abs=1e-6)
        assert (abs(shift[1]) < 1e-5) == (frame != "camera"), "heights are those over the world's floor"
        sender.send(tilted(result(arrays, 4, 0), shot=1))
        moved = unity_joints(heard(listener))["Hips"][0]
        assert moved == pytest.approx(-0.01 if frame == "camera" else 0.0, abs=1e-6), "a cut begins a new world"
        sender.send(result(arrays, 5, 0))
        assert heard(listener)["/VMC/Ext/OK"][3] == (frame == "camera")


def test_vmc_keeps_to_one_person(arrays: BodyArrays, listener: socket.socket) -> None:
    with open_to("vmc", listener.getsockname()[1], arrays) as sender:
        seen = []
        for sequence, (time_s, people) in enumerate(
            [(0.0, (5, 7)), (0.1, (5, 7)), (0.2, (7,)), (1.2, (7,)), (1.3, (5, 7))]
        ):
            sender.send(result(arrays, sequence, *people, time_s=time_s))
            messages = heard(listener)
            seen.append(bool(messages["/VMC/Ext/OK"][3]))
        assert seen == [True, True, False, True, True]
        assert messages["Hips"][0] == pytest.approx(
            -(0.5 * 2 + 0.04), abs=1e-5
        )  # 7, whom it goes on to show, from 5's place
    with open_to("vmc", listener.getsockname()[1], arrays, "?person=7") as sender:
        sender.send(result(arrays, 0, 5))
        assert not heard(listener)["/VMC/Ext/OK"][3]
        sender.send(result(arrays, 0, 5, 7))
        assert heard(listener)["/VMC/Ext/OK"][3]
