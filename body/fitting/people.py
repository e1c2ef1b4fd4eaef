"""Sampling adults in MakeHuman's space of morph targets."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from body.fitting.source import Assets, BaseMesh
from common.arrays import DoubleArray, FloatArray

PersonFactors = Mapping[str, DoubleArray]
"""Weights (n,) of the factors, with ``stature`` (n,) in metres and ``local`` (n, 10) in -1..1."""

GENDERS: Final = ("male", "female")
AGES: Final = ("young", "old")
MUSCLE_LEVELS: Final = ("minmuscle", "averagemuscle", "maxmuscle")
WEIGHT_LEVELS: Final = ("minweight", "averageweight", "maxweight")
HEIGHT_LEVELS: Final = ("minheight", "maxheight")
CUPS: Final = ("mincup", "averagecup", "maxcup")
FIRMNESS: Final = ("minfirmness", "averagefirmness", "maxfirmness")
PROPORTIONS: Final = ("idealproportions", "uncommonproportions")
ORIGINS: Final = ("african", "asian", "caucasian")

LOCAL_TARGETS: Final = (
    # (grows, shrinks, mean, sigma). Independent variation of proportions; the means move MakeHuman's rather short arms
    # and thighs to the segment lengths of de Leva (1996).
    ("arms/measure-upperarm-length-incr", "arms/measure-upperarm-length-decr", 0.20, 0.18),
    ("arms/measure-lowerarm-length-incr", "arms/measure-lowerarm-length-decr", 0.35, 0.18),
    ("legs/upperlegs-height-incr", "legs/upperlegs-height-decr", 0.25, 0.20),
    ("legs/lowerlegs-height-incr", "legs/lowerlegs-height-decr", -0.15, 0.20),
    ("torso/torso-scale-vert-incr", "torso/torso-scale-vert-decr", 0.0, 0.22),
    ("torso/measure-shoulder-dist-incr", "torso/measure-shoulder-dist-decr", 0.0, 0.25),
    ("torso/torso-scale-depth-incr", "torso/torso-scale-depth-decr", 0.0, 0.25),
    ("hip/hip-scale-horiz-incr", "hip/hip-scale-horiz-decr", 0.0, 0.20),
    ("torso/measure-waist-circ-incr", "torso/measure-waist-circ-decr", 0.0, 0.25),
    ("stomach/stomach-tone-decr", "stomach/stomach-tone-incr", 0.0, 0.35),
)


def _around_middle(value: DoubleArray, names: tuple[str, str, str]) -> dict[str, DoubleArray]:
    """Piecewise linear weights of the three targets at 0, 0.5 and 1."""
    low, middle, high = names
    return {low: np.clip(1 - 2 * value, 0, 1), middle: 1 - np.abs(2 * value - 1), high: np.clip(2 * value - 1, 0, 1)}


def sample_people(count: int, random: np.random.Generator) -> PersonFactors:
    """Sample ``count`` adults; gender is continuous but mostly near one of its ends."""
    female = random.beta(0.25, 0.25, count)
    origin = random.dirichlet((1, 1, 1), count)
    age = random.beta(1.2, 2.6, count)
    people: dict[str, DoubleArray] = {"male": 1 - female, "female": female, "young": 1 - age, "old": age}
    people |= _around_middle(random.beta(1.2, 2.0, count), MUSCLE_LEVELS)
    people |= _around_middle(random.beta(1.8 + 0.7 * female, 1.0, count), WEIGHT_LEVELS)
    people |= _around_middle(random.beta(3, 3, count), CUPS)
    people |= _around_middle(random.beta(3, 3, count), FIRMNESS)
    ideal = random.beta(3, 3, count)
    people |= {"idealproportions": ideal, "uncommonproportions": 1 - ideal}
    people |= {name: origin[:, column] for column, name in enumerate(ORIGINS)}
    people["stature"] = random.normal(1.757 - 0.132 * female, 0.068)
    means, sigmas = [row[2] for row in LOCAL_TARGETS], [row[3] for row in LOCAL_TARGETS]
    people["local"] = np.clip(random.normal(means, sigmas, (count, len(LOCAL_TARGETS))), -1, 1)
    return people


def average_adult() -> PersonFactors:
    """One person in the middle of every range."""
    middle = dict.fromkeys(("averagemuscle", "averageweight", "averagecup", "averagefirmness"), 1.0)
    middle |= dict.fromkeys((*GENDERS, *PROPORTIONS), 0.5) | dict.fromkeys(ORIGINS, 1 / 3)
    middle |= {"young": 0.8, "old": 0.2, "stature": 1.69}
    others = (*MUSCLE_LEVELS, *WEIGHT_LEVELS, *CUPS, *FIRMNESS)
    people = {name: np.array([middle.get(name, 0.0)]) for name in (*others, *middle)}
    people["local"] = np.zeros((1, len(LOCAL_TARGETS)))
    return people


def slice_people(people: PersonFactors, part: slice) -> PersonFactors:
    """The people ``part`` of ``people``."""
    return {name: values[part] for name, values in people.items()}


@dataclass(frozen=True)
class _Target:
    factors: tuple[str, ...]
    """Names whose product is the target's weight."""
    displacement: FloatArray
    """(N * 3,) displacement of the vertices, metres."""


class PeopleSpace:
    """All morph targets, and the map from factors to meshes."""

    def __init__(self, assets: Assets, base: BaseMesh) -> None:
        """Load all targets."""
        self._base = base.vertices.astype(np.float32)
        self._skin: NDArray[np.intp] = np.unique(base.body)
        count = len(base.vertices)
        macro = [_Target(factors, assets.target(name, count).ravel()) for factors, name in _macro_names(assets)]
        self._fixed = [target for target in macro if not set(target.factors) & set(HEIGHT_LEVELS)]
        self._short = [target for target in macro if "minheight" in target.factors]
        self._tall = [target for target in macro if "maxheight" in target.factors]
        names = [name for row in LOCAL_TARGETS for name in row[:2]]
        self._local = np.stack([assets.target(name, count).ravel() for name in names])

    def meshes(self, people: PersonFactors) -> FloatArray:
        """A-pose meshes (n, N, 3). The weight of the height targets is solved so that all have the sampled stature."""
        count = len(people["male"])
        local = np.stack([np.clip(people["local"], 0, None), np.clip(-people["local"], 0, None)], -1).reshape(count, -1)
        meshes = self._base + self._combined(self._fixed, people)
        meshes += (local.astype(np.float32) @ self._local).reshape(meshes.shape)
        short, tall = self._combined(self._short, people), self._combined(self._tall, people)
        least, most = self._stature(meshes + short), self._stature(meshes + tall)
        share = np.clip((people["stature"] - least) / (most - least), -0.15, 1.15)[:, None, None].astype(np.float32)
        finished: FloatArray = meshes + (1 - share) * short + share * tall
        return finished

    def _combined(self, targets: list[_Target], people: PersonFactors) -> FloatArray:
        factors = ([name for name in target.factors if name not in HEIGHT_LEVELS] for target in targets)
        weights = np.stack([np.prod([people[name] for name in names], axis=0) for names in factors], 1)
        moved = weights.astype(np.float32) @ np.stack([target.displacement for target in targets])
        return moved.reshape(len(weights), -1, 3)

    def _stature(self, meshes: FloatArray) -> FloatArray:
        heights = meshes[:, self._skin, 1]
        stature: FloatArray = heights.max(1) - heights.min(1)
        return stature


def _macro_names(assets: Assets) -> list[tuple[tuple[str, ...], str]]:
    """Factors and file of every target of gender, age, origin, build, height, proportions and breast."""
    found: list[tuple[tuple[str, ...], str]] = []
    for gender, age in itertools.product(GENDERS, AGES):
        found += [((gender, age, origin), f"macrodetails/{origin}-{gender}-{age}") for origin in ORIGINS]
        for muscle, weight in itertools.product(MUSCLE_LEVELS, WEIGHT_LEVELS):
            build = (gender, age, muscle, weight)
            stem = "-".join(build)
            found.append((build, f"macrodetails/universal-{stem}"))
            found += [((*build, height), f"macrodetails/height/{stem}-{height}") for height in HEIGHT_LEVELS]
            found += [((*build, kind), f"macrodetails/proportions/{stem}-{kind}") for kind in PROPORTIONS]
            if gender == "female":
                breasts = (((*build, cup, firm), f"breast/{stem}-{cup}-{firm}") for cup in CUPS for firm in FIRMNESS)
                found += [breast for breast in breasts if assets.has_target(breast[1])]
    return found
