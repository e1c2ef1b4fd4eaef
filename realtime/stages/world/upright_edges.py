"""Which way is up, from what stands upright behind the people: door frames, corners of rooms, shelves, lamp posts.

Straight edges that are vertical in the world meet in one point of the image (their vanishing point), which is the vertical's
direction; each edge and the camera's centre span a plane that up lies in. Edges are found by LSD (Grompone von Gioi et al.
2012) in a small image, outside of the people. Most edges of a scene are not upright, and floor boards meet in a point, too: so
only directions near to what the people say are searched, and an answer that few edges share, or that has a rival, is trusted
little.
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
_SHORTEST: Final = 0.035  # of `_SIDE`: no shorter edges
_STEEPEST: Final = 0.6  # dx over dy: edges that lean more are of no camera that people use
_BORDER_PX: Final = 4.0  # the frame of an image, and of one shown in another, is upright in every image
_EDGE_PX, _LEAN = 0.7, math.radians(0.8)  # deviations of an edge's end, and of what is called upright
_LONG, _MAX_WEIGHT = 0.1, 3.0  # an edge of this share of `_SIDE` weighs 1, none more than the second
_WIDTH: Final = 2.0  # deviations at which an edge speaks for a direction with 60 % of its weight
_REACH, _REACH_SIGMAS = math.radians(27), 2.5  # all is searched so near to what people say
_FAR: Final = math.radians(
    45
)  # and some directions so near: people who come into the image are misjudged by 30 degrees
_MISJUDGED, _ANYWHERE = 0.05, math.radians(20)
"""Share of people's words that say nothing, and the deviation of up around them."""
_STEP: Final = math.radians(2.25)
_RIVAL: Final = math.radians(7)  # a second answer that is so far from the first is a rival
_LUCK: Final = 3.0  # deviations by which more edges than usual meet somewhere by chance
_MIN_LUCK, _ENOUGH = 2.5, 6.0  # weight that this is at least, and beyond it from which on edges are believed in full
_SYSTEMATIC_ROLL, _SYSTEMATIC_PITCH = math.radians(1.0), math.radians(2.5)
"""What many edges are wrong by together: the lens' distortion, and a focal length that is assumed."""
_DIRECTIONS: Final = 1500  # of half a sphere, 4 degrees apart
_BLUR: Final = math.radians(2.0)  # least width of an edge's word for one of them
_STRONGER, _MORE = 1.3, 2.0
"""Edges that meet far from what people say are not upright if there are this many times as many as meet near to it, and this
weight more."""
_EXPLAINED: Final = 0.1  # of the weight that is left to these
_FAMILIES: Final = 2  # of floor boards and tiles that are looked for
_TOGETHER: Final = 2.0  # an edge is found in several pieces, whose errors are one


class UprightEdges(NamedTuple):
    """N edges that may be upright, in the axes of the shot's first camera."""

    normals: DoubleArray
    """(N, 3) unit vectors square to the edge and to the ray of its middle."""
    middles: DoubleArray
    """(N, 3) unit rays of their middles."""
    weight: DoubleArray
    """(N,) by length."""
    sigma: DoubleArray
    """(N,) deviation of the angle between up and the plane, radians."""
    view: DoubleArray
    """(3,) the way the camera looked."""
    meeting: DoubleArray
    """The weight of the edges that meet in each of some directions all around, see `meeting_all_around`."""


class _Lines:
    """The detector, where this OpenCV has one."""

    make = getattr(cv2, "createLineSegmentDetector", None)
    found = None if make is None else make()


def find_upright_edges(
    image: ImageArray, camera: Camera, people: Sequence[FloatArray], rotation: DoubleArray
) -> UprightEdges | None:
    """The edges of ``image``, uint8 (H, W, 3) BGR, but those of the ``people``, keypoints (17, 2) px; ``rotation`` (3, 3) takes
    the camera's axes to the first camera's. None of images that are too small, and where this OpenCV finds no edges."""
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
    fine &= (along < 0.9 * size[1]) | (across > 1.0)  # bars at the sides of a film
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
    return meeting_all_around(normals @ rotation.T, middles @ rotation.T, weight, sigma, rotation[:, 2])


def meeting_all_around(
    normals: DoubleArray, middles: DoubleArray, weight: DoubleArray, sigma: DoubleArray, view: DoubleArray
) -> UprightEdges:
    """Edges of which it is known where else than above they meet; the arguments are fields of `UprightEdges`."""
    edges = UprightEdges(normals, middles, weight, sigma, view, np.zeros(0))
    width = np.maximum(_WIDTH * sigma, _BLUR)
    return edges._replace(meeting=(weight * np.exp(-0.5 * (_off(edges, _SPHERE) / width) ** 2)).sum(1))


def fit_upright_edges(edges: UprightEdges, up: DoubleArray, sigma: float) -> tuple[DoubleArray, DoubleArray] | None:
    """What ``edges`` add to what people say, ``up`` (3,) within ``sigma`` radians.

    Returns:
        A (3, 3), rad⁻², and b (3,): u·A·u - 2 b·u is to be least, as in `vertical.Vertical.evidence`. None
        where too few edges meet.
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
    luck = max(_LUCK * math.sqrt(float((edges.weight**2).sum()) * share * (1 - share)), _MIN_LUCK)
    trust = min(max((float(total[best]) - chance - luck) / _ENOUGH, 0.0), 1.0)
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
    """Logarithm of how likely up is so far, ``angle`` (M,) radians, from what people say within ``sigma``, over that at 0."""
    wide = max(_ANYWHERE, sigma)
    share = _MISJUDGED * (sigma / wide) ** 2
    words = (1 - _MISJUDGED) * np.exp(-0.5 * (angle / sigma) ** 2) + share * np.exp(-0.5 * (angle / wide) ** 2)
    return np.asarray(np.log(words / (1 - _MISJUDGED + share)), np.float64)


def _refined(
    edges: UprightEdges, start: DoubleArray, prior: DoubleArray, mean: DoubleArray
) -> tuple[DoubleArray, DoubleArray]:
    """Where the edges meet (3,) near ``start``, and how surely, A (3, 3), rad⁻², beside the ``prior`` (3, 3) of ``mean``."""
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
    """``edges`` with little weight left to those that meet far from ``up`` in larger numbers than any do near to it: some of
    the boards of a floor always look upright.
    """
    for _ in range(_FAMILIES):
        near = np.abs(_SPHERE @ up) > math.cos(reach)
        elsewhere = int(np.where(near, -1.0, edges.meeting).argmax())
        if edges.meeting[elsewhere] < _STRONGER * float(edges.meeting[near].max(initial=0.0)) + _MORE:
            break
        found = _refined(edges, _SPHERE[elsewhere], np.zeros((3, 3)), up)[0]
        explained = np.abs(_off(edges, found[None])[0]) < _WIDTH * edges.sigma
        weight = np.where(explained, _EXPLAINED * edges.weight, edges.weight)
        edges = meeting_all_around(edges.normals, edges.middles, weight, edges.sigma, edges.view)
    return edges


def _half_a_sphere(count: int) -> DoubleArray:
    """(count, 3) unit vectors with y >= 0, evenly spread (Fibonacci's lattice)."""
    number = np.arange(count) + 0.5
    height, turn = number / count, math.pi * (1 + math.sqrt(5)) * number
    across = np.sqrt(1 - height**2)
    return np.stack([across * np.cos(turn), height, across * np.sin(turn)], 1)


_SPHERE: Final = _half_a_sphere(_DIRECTIONS)


def _off(edges: UprightEdges, ups: DoubleArray) -> DoubleArray:
    """The angles (M, N), radians, by which the edges miss the directions ``ups`` (M, 3), as seen in the image."""
    along = ups @ edges.middles.T
    return np.asarray((ups @ edges.normals.T) / np.sqrt(np.maximum(1 - along**2, 0.09)), np.float64)
