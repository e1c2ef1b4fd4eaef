"""The suit: what is covered, on any body of SMPL's layout, and that both sides and all people are dressed alike."""

from __future__ import annotations

import numpy as np
import pytest

from body.joints import JOINT_NAMES
from body.model import BodyArrays, load_body
from body.suit.parts import PALETTE, SKIN, SuitPart, part_colours, suit_shares


@pytest.fixture(params=["body_6890", "body_1722"])
def body(request: pytest.FixtureRequest) -> BodyArrays:
    return load_body(request.param)


def part_at(body: BodyArrays, joint: str, offset: tuple[float, float, float] = (0, 0, 0)) -> SuitPart:
    """What the surface nearest to a joint of the rest pose is."""
    place = body.joint_regressor[JOINT_NAMES.index(joint)] @ body.v_template + np.array(offset, np.float32)
    nearest = int(np.linalg.norm(body.v_template - place, axis=1).argmin())
    return SuitPart(int(suit_shares(body)[nearest].argmax()))


@pytest.mark.parametrize(
    ("joint", "offset", "part"),
    [
        ("head", (0, 0.1, 0), SuitPart.SKIN),
        ("spine3", (0, 0, 0.1), SuitPart.SHIRT),
        ("spine2", (0, 0, -0.1), SuitPart.SHIRT),
        ("left_shoulder", (0, 0, 0), SuitPart.SHIRT),
        ("right_elbow", (0, 0, 0), SuitPart.SKIN),
        ("left_hand", (0, 0, 0), SuitPart.SKIN),
        ("pelvis", (0, -0.05, 0.1), SuitPart.TROUSERS),
        ("right_hip", (0, 0, 0), SuitPart.TROUSERS),
        ("left_knee", (0, 0, 0), SuitPart.TROUSERS),
        ("right_foot", (0, 0, 0), SuitPart.SHOES),
    ],
)
def test_who_is_dressed_where(body: BodyArrays, joint: str, offset: tuple[float, float, float], part: SuitPart) -> None:
    assert part_at(body, joint, offset) is part


def test_shares_sum_to_one_and_seams_are_narrow(body: BodyArrays) -> None:
    shares = suit_shares(body)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)
    assert shares.min() >= 0
    assert (shares.max(1) < 0.99).mean() < 0.06
    assert (shares > 0.5).mean(0).min() > 0.05  # every part is there


def test_both_sides_are_dressed_alike(body: BodyArrays) -> None:
    assert body.mirror is not None
    shares = suit_shares(body)
    assert np.abs(shares - shares[body.mirror]).max(1).mean() < 5e-3


def test_a_person_has_one_hue_and_everybody_the_same_skin() -> None:
    for person, shirt in enumerate(PALETTE):
        colours = part_colours(person)
        assert colours.shape == (len(SuitPart), 3)
        assert colours.dtype == np.uint8
        assert tuple(colours[SuitPart.SHIRT]) == tuple(shirt)
        assert tuple(colours[SuitPart.SKIN]) == tuple(SKIN)
    np.testing.assert_array_equal(part_colours(len(PALETTE)), part_colours(0))


def test_trousers_and_shoes_are_darker_than_the_shirt() -> None:
    for person in range(len(PALETTE)):
        skin, shirt, trousers, shoes = part_colours(person).mean(1)
        assert skin > shirt > trousers > shoes
