"""The vertical, from upright edges in the background: door frames, corners of rooms, shelves, lamp posts.

Edges that are vertical in the world meet in one point of the image, their vanishing point. Each edge and the camera's centre
span a plane that contains the vertical. Edges are found by LSD (Grompone von Gioi et al. 2012) in a small image, outside of
the people. Most edges of a scene are not upright, and floor boards have a vanishing point, too. So only directions near the
vertical found from people are searched, and a result that few edges support, or with a similarly good alternative, gets
little weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from common.arrays import DoubleArray, FloatArray, ImageArray
from common.camera import Camera
from realtime.stages.world.plane_fit import tangents

_SIDE: Final = 480  # the longer side of the image that is searched, px
_MIN_SIDE: Final = 64
_SHORTEST: Final = 0.035  # least length of an edge, as a share of `_SIDE`
_STEEPEST: Final = 0.6  # dx over dy: edges that lean more are not vertical in any usual view
_BORDER_PX: Final = 4.0  # edges this near the image border are excluded: they are part of its frame
_EDGE_PX, _LEAN = (
    0.7,
    math.radians(0.8),
)  # standard deviations of an edge's end, and of upright things from the vertical
_LONG, _MAX_WEIGHT = 0.1, 3.0  # an edge of this share of `_SIDE` has weight 1, and the second is the largest weight
_WIDTH: Final = 2.0  # deviations from a direction at which an edge supports it with 60 % of its weight
_REACH, _REACH_SIGMAS = math.radians(27), 2.5  # radius of the full search around the people's vertical
_FAR: Final = math.radians(45)  # radius of a coarse search, because people who enter are sometimes wrong by 30 degrees
_MISJUDGED, _ANYWHERE = 0.05, math.radians(20)
"""Probability that the people's vertical is wrong, and the standard deviation of the true one around it then."""
_STEP: Final = math.radians(2.25)
_RIVAL: Final = math.radians(7)  # least angle between the best direction and an alternative
_CHANCE_DEVIATIONS: Final = 3.0  # the support that edges give a direction by chance is so many deviations above usual
_MIN_CHANCE, _ENOUGH = 2.5, 6.0  # least such support, and the support beyond it that gives full weight
_SYSTEMATIC_ROLL, _SYSTEMATIC_PITCH = math.radians(1.0), math.radians(2.5)
"""Standard deviations of the error that all edges share: lens distortion, and an assumed focal length."""
_DIRECTIONS: Final = 1500  # on half a sphere, 4 degrees apart
_BLUR: Final = math.radians(2.0)  # least angle within which an edge supports one of these
_STRONGER, _MORE = 1.3, 2.0
"""Edges that meet far from the people's vertical are not upright if their weight is more than this factor times the weight of
those that meet near it, plus this."""
_EXPLAINED: Final = 0.1  # share of their weight that such edges keep
_FAMILIES: Final = 2  # largest number of such directions: floor boards, tiles
_TOGETHER: Final = 2.0  # edges are found in pieces with a common error: the precision is divided by this


class UprightEdges(NamedTuple):
    """N edges that may be upright, in the axes of the scene's first camera."""

    normals: DoubleArray
    """(N, 3) unit normals of the planes through the edges and the camera's centre."""
    middles: DoubleArray
    """(N, 3) unit rays of the edges' middles."""
    weight: DoubleArray
    """(N,) weights by length."""
    sigma: DoubleArray
    """(N,) standard deviation of the angle between the vertical and the plane, radians."""
    view: DoubleArray
    """(3,) optical axis of the camera."""
    meeting: DoubleArray
    """(`_DIRECTIONS`,) weight of the edges that meet in each direction, see `with_meeting_points`."""


class _Lines:
    """The line segment detector, if this OpenCV has one."""

    make = getattr(cv2, "createLineSegmentDetector", None)
    found = None if make is None else make()


def find_upright_edges(
    image: ImageArray, camera: Camera, people: Sequence[FloatArray], rotation: DoubleArray
) -> UprightEdges | None:
    """The edges of ``image``, uint8 (H, W, 3) BGR, outside of the ``people``, keypoints (17, 2) px. ``rotation`` (3, 3) takes
    the camera's axes to the first camera's. None if the image is too small, or this OpenCV has no detector."""
    height, width = image.shape[:2]
    if _Lines.found is None or min(height, width) < _MIN_SIDE:
        return None
    longer = max(height, width)
    step = max(longer // (2 * _SIDE), 1)
    green = np.ascontiguousarray(image[::step, ::step, 1])
    scale = min(_SIDE / longer, 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    grey = cv2.resize(green, size, interpolation=cv2.INTER_AREA)
    found = _Lines.found.detect(grey)[0]
    lines = np.zeros((0, 4)) if found is None else np.asarray(found, np.float64).reshape(-1, 4)
    first, second = lines[:, :2], lines[:, 2:]
    across, along = np.abs(second - first).T
    length = np.hypot(across, along)
    fine = (length > _SHORTEST * _SIDE) & (across < _STEEPEST * along)
    fine &= np.minimum(first, second)[:, 0] > _BORDER_PX
    fine &= np.maximum(first, second)[:, 0] < size[0] - _BORDER_PX
    fine &= (along < 0.9 * size[1]) | (across > 1.0)  # black bars at the sides of a video
    middle = (first + second) / 2
    for points in people:
        low, high = points.min(0) * scale, points.max(0) * scale
        room = 0.12 * float((high - low).max()) + 4
        fine &= ~((middle > low - room) & (middle < high + room)).all(1)
    first, second, length = first[fine], second[fine], length[fine]
    ends = camera.rays((np.stack([first, second]) + 0.5) / scale - 0.5)
    ends /= np.linalg.norm(ends, axis=-1, keepdims=True)
    normals, middles = np.cross(ends[0], ends[1]), ends.sum(0)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    middles /= np.linalg.norm(middles, axis=-1, keepdims=True)
    weight = np.minimum(length / (_LONG * _SIDE), _MAX_WEIGHT)
    sigma = np.hypot(_LEAN, _EDGE_PX / length)
    return with_meeting_points(normals @ rotation.T, middles @ rotation.T, weight, sigma, rotation[:, 2])


def with_meeting_points(
    normals: DoubleArray, middles: DoubleArray, weight: DoubleArray, sigma: DoubleArray, view: DoubleArray
) -> UprightEdges:
    """`UprightEdges` of the given fields, with ``meeting`` computed from them."""
    edges = UprightEdges(normals, middles, weight, sigma, view, np.zeros(0))
    width = np.maximum(_WIDTH * sigma, _BLUR)
    return edges._replace(meeting=(weight * np.exp(-0.5 * (_off(edges, _SPHERE) / width) ** 2)).sum(1))


def fit_upright_edges(edges: UprightEdges, up: DoubleArray, sigma: float) -> tuple[DoubleArray, DoubleArray] | None:
    """The vertical according to ``edges``, given the people's: ``up`` (3,) with standard deviation ``sigma``, radians.

    Returns:
        A (3, 3), rad⁻², and b (3,) of the quadratic form u·A·u - 2 b·u, as in `vertical.Vertical.evidence`. None if too few
        edges meet.
    """
    if len(edges.weight) < 3:
        return None
    basis = tangents(up)
    reach = min(_REACH_SIGMAS * sigma, _REACH)
    edges = _without_floors(edges, up, reach)
    ticks = np.arange(-math.ceil(reach / _STEP), math.ceil(reach / _STEP) + 1) * _STEP
    offsets = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    offsets = offsets[(offsets**2).sum(1) <= reach**2]
    tries = up + offsets @ basis.T
    tries /= np.linalg.norm(tries, axis=1, keepdims=True)
    along = _SPHERE @ up
    far = (np.abs(along) < math.cos(reach)) & (np.abs(along) > math.cos(_FAR))
    tries = np.concatenate([tries, _SPHERE[far] * np.sign(along[far])[:, None]])
    meeting = (edges.weight * np.exp(-0.5 * (_off(edges, tries) / (_WIDTH * edges.sigma)) ** 2)).sum(1)
    total = meeting + _prior(np.arccos(np.minimum(tries @ up, 1.0)), sigma)
    best = int(total.argmax())
    apart = tries @ tries[best] < math.cos(_RIVAL)
    rival = float(total[apart].max()) if apart.any() else -math.inf
    chance = float(np.median(meeting))
    share = chance / float(edges.weight.sum())
    by_chance = max(_CHANCE_DEVIATIONS * math.sqrt(float((edges.weight**2).sum()) * share * (1 - share)), _MIN_CHANCE)
    trust = min(max((float(total[best]) - chance - by_chance) / _ENOUGH, 0.0), 1.0)
    trust *= -math.expm1(-(float(total[best]) - rival) / 2)
    if trust < 0.02:
        return None
    found, matrix = _refined(edges, tries[best], np.eye(3) / sigma**2, up)
    sideways = np.cross(edges.view, found)
    length = float(np.linalg.norm(sideways))
    if length < 0.1:  # looks straight up or down
        return None
    sideways /= length
    axes = np.stack([sideways, np.cross(sideways, found)], 1)
    scatter = np.linalg.inv(axes.T @ matrix @ axes + 1e-6 * np.eye(2)) * _TOGETHER
    spread = scatter + np.diag([_SYSTEMATIC_ROLL**2, _SYSTEMATIC_PITCH**2])
    wide = axes @ np.linalg.inv(spread) @ axes.T * trust
    return wide, wide @ found


def _prior(angle: DoubleArray, sigma: float) -> DoubleArray:
    """Logarithm of the prior density at ``angle`` (M,) from the people's vertical, with standard deviation ``sigma``, radians,
    relative to that at 0."""
    wide = max(_ANYWHERE, sigma)
    share = _MISJUDGED * (sigma / wide) ** 2
    density = (1 - _MISJUDGED) * np.exp(-0.5 * (angle / sigma) ** 2) + share * np.exp(-0.5 * (angle / wide) ** 2)
    return np.asarray(np.log(density / (1 - _MISJUDGED + share)), np.float64)


def _refined(
    edges: UprightEdges, start: DoubleArray, prior: DoubleArray, mean: DoubleArray
) -> tuple[DoubleArray, DoubleArray]:
    """The direction (3,) near ``start`` in which the edges meet, and its precision A (3, 3), rad⁻², without that of the prior:
    mean ``mean`` (3,), precision ``prior`` (3, 3)."""
    found, matrix = start, prior
    for _ in range(6):
        strength = edges.weight * np.exp(-0.5 * (_off(edges, found[None])[0] / (_WIDTH * edges.sigma)) ** 2)
        matrix = (edges.normals * (strength / edges.sigma**2)[:, None]).T @ edges.normals
        basis = tangents(found)
        normal = basis.T @ (matrix + prior) @ basis + 1e-3 * np.eye(2)
        found = found + basis @ np.linalg.solve(normal, basis.T @ (prior @ mean - (matrix + prior) @ found))
        found /= np.linalg.norm(found)
    return found, matrix


def _without_floors(edges: UprightEdges, up: DoubleArray, reach: float) -> UprightEdges:
    """``edges`` with less weight on those that meet far from ``up``, if more meet there than anywhere near it: floor boards,
    of which some always look upright."""
    for _ in range(_FAMILIES):
        near = np.abs(_SPHERE @ up) > math.cos(reach)
        elsewhere = int(np.where(near, -1.0, edges.meeting).argmax())
        if edges.meeting[elsewhere] < _STRONGER * float(edges.meeting[near].max(initial=0.0)) + _MORE:
            break
        found = _refined(edges, _SPHERE[elsewhere], np.zeros((3, 3)), up)[0]
        explained = np.abs(_off(edges, found[None])[0]) < _WIDTH * edges.sigma
        weight = np.where(explained, _EXPLAINED * edges.weight, edges.weight)
        edges = with_meeting_points(edges.normals, edges.middles, weight, edges.sigma, edges.view)
    return edges


def _half_a_sphere(count: int) -> DoubleArray:
    """(count, 3) unit vectors with y >= 0, evenly spread (Fibonacci's lattice)."""
    number = np.arange(count) + 0.5
    height, turn = number / count, math.pi * (1 + math.sqrt(5)) * number
    across = np.sqrt(1 - height**2)
    return np.stack([across * np.cos(turn), height, across * np.sin(turn)], 1)


_SPHERE: Final = _half_a_sphere(_DIRECTIONS)


def _off(edges: UprightEdges, ups: DoubleArray) -> DoubleArray:
    """The angles (M, N), radians, in the image between the edges and the lines from their middles to ``ups`` (M, 3)."""
    along = ups @ edges.middles.T
    return np.asarray((ups @ edges.normals.T) / np.sqrt(np.maximum(1 - along**2, 0.09)), np.float64)
