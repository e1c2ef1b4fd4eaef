"""Scores of tracking several people: how many are found, and how often identities are confused.

``python -m training.evaluation tracking`` renders people who cross at different depths (`training.synth.crowd`), lets the
program follow them and compares with the truth. Identities are scored by py-motmetrics: IDF1 (Ristani et al. 2016), ID
switches and mostly lost people (CLEAR, Bernardin & Stiefelhagen 2008). With ``--video`` it reports, for real
videos without ground truth, how many people were seen in how many frames, and the range of each person's depth.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from common.arrays import BoolArray, FloatArray, ImageArray, Int64Array
from common.errors import UserError
from realtime.options import MAX_PERSONS, Options
from realtime.outputs.video import VideoRecorder
from realtime.session import Session
from training.synth.crowd import CROWD_FPS, CrowdLabels, render_crowd, sample_crowd

_MIN_PX = 80
"""Height in the image from which on a person must be found."""
MIN_VISIBLE = 0.5
"""Share of the keypoints that must be in the image and not behind somebody else."""
_MATCH = 0.15
"""Median distance of keypoints, as a share of the person's height in the image, below which a track is on a person."""
_SEEN = 0.2


@dataclass(frozen=True, slots=True)
class TrackRows:
    """The program's output: a row is one person in one frame, N rows."""

    frame: Int64Array
    """int64 (N,) index in the video."""
    person: Int64Array
    """int64 (N,) the program's number for the person."""
    points: FloatArray
    """float32 (N, 17, 2) COCO order, image pixels."""
    confidence: FloatArray
    """float32 (N, 17) 0..1."""
    depth: FloatArray
    """float32 (N,) of the pelvis, metres."""


@dataclass(frozen=True, slots=True)
class TrackingScore:
    """Figures of one group of scenes, as py-motmetrics defines them."""

    people: int
    """How many people are in each scene."""
    scenes: int
    """How many scenes there are."""
    frames: int
    """Frames times people who must be seen in them."""
    recall: float
    """Share of these person-frames in which the person was found, 0..1."""
    precision: float
    """Share of the program's person-frames that are on a person, 0..1."""
    idf1: float
    """F1 score of identities, 0..1."""
    switches: int
    """How often a person's number changed."""
    mostly_lost: int
    """People who were found in less than a fifth of their frames."""
    ids: int
    """How many numbers the program gave, over all scenes."""


def follow(video: Path, persons: int, live: bool = False, frames: int | None = None) -> TrackRows:
    """Run the program on a video. Raises `UserError` as it does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "motion.npz")
        options = Options(
            source=str(video), persons=persons, save=(path,), view="none", live=live, frames=frames, quality="live"
        )
        Session(options).run()
        with np.load(path, allow_pickle=False) as motion:
            seen = motion["person"] >= 0
            return TrackRows(
                motion["frame"][seen].astype(np.int64),
                motion["person"][seen].astype(np.int64),
                motion["keypoints_px"][seen],
                motion["keypoint_confidence"][seen],
                motion["transl"][seen, 2],
            )


def distances(truth: FloatArray, points: FloatArray, confidence: FloatArray) -> FloatArray:
    """Median distance (P, N) of keypoints, as a share of each person's height, between P people (P, 17, 2) and N tracks
    (N, 17, 2) with ``confidence`` (N, 17); infinite where a track shows fewer than three keypoints."""
    height = np.ptp(truth[..., 1], axis=1).clip(1)
    gap = np.linalg.norm(truth[:, None] - points[None], axis=-1)
    gap = np.where(confidence[None] > _SEEN, gap, np.nan)
    enough = (confidence > _SEEN).sum(1) >= 3
    result = np.full(gap.shape[:2], np.inf)
    if enough.any():
        result[:, enough] = np.nanmedian(gap[:, enough], axis=-1) / height[:, None]
    return result


def must_be_seen(labels: CrowdLabels) -> BoolArray:
    """(T, P) whether a person must be found: tall enough in the image, and at least half visible."""
    height = np.ptp(labels.points[..., 1], axis=-1)
    return np.asarray((height >= _MIN_PX) & (labels.visible.mean(-1) >= MIN_VISIBLE))


def accumulate(labels: CrowdLabels, tracks: TrackRows) -> object:
    """A `motmetrics.MOTAccumulator` of one scene. People who need not be seen count neither as misses nor as false positives.

    Raises `UserError` where py-motmetrics is not installed.
    """
    try:
        import motmetrics
    except ImportError:
        raise UserError("py-motmetrics is missing: pip install -e '.[dev]'") from None
    result = motmetrics.MOTAccumulator(auto_id=True)
    wanted = must_be_seen(labels)
    for frame in range(len(labels.points)):
        rows = np.flatnonzero(tracks.frame == frame)
        gaps = distances(labels.points[frame], tracks.points[rows], tracks.confidence[rows])
        gaps[gaps > _MATCH] = np.nan
        scored = np.flatnonzero(wanted[frame])
        rest = np.flatnonzero(~wanted[frame])
        best = np.nanmin(np.where(np.isnan(gaps), np.inf, gaps)[scored], axis=0, initial=np.inf)
        spare = np.nanmin(np.where(np.isnan(gaps), np.inf, gaps)[rest], axis=0, initial=np.inf)
        kept = ~((spare < np.inf) & (spare <= best))
        result.update(scored.tolist(), tracks.person[rows][kept].tolist(), gaps[np.ix_(scored, kept)])
    return result


def score_scenes(people: int, scenes: Sequence[tuple[CrowdLabels, TrackRows]]) -> TrackingScore:
    """The figures of several scenes with as many ``people``."""
    import motmetrics

    accumulators = [accumulate(*scene) for scene in scenes]
    names = ["idf1", "recall", "precision", "num_switches", "mostly_lost", "num_objects"]
    table = motmetrics.metrics.create().compute_many(
        accumulators, metrics=names, names=[str(place) for place in range(len(scenes))], generate_overall=True
    )
    row = table.loc["OVERALL"]
    return TrackingScore(
        people,
        len(scenes),
        int(row["num_objects"]),
        float(row["recall"]),
        float(row["precision"]),
        float(row["idf1"]),
        int(row["num_switches"]),
        int(row["mostly_lost"]),
        sum(len(np.unique(tracks.person)) for _, tracks in scenes),
    )


def write_video(path: Path, frames: Sequence[ImageArray]) -> None:
    """Frames as an MP4 that the program can read."""
    with VideoRecorder(path, CROWD_FPS) as video:
        for number, image in enumerate(frames):
            video.write(image, number / CROWD_FPS)


def describe(video: Path, tracks: TrackRows) -> str:
    """One row of Markdown about a real video."""
    frames = int(tracks.frame.max()) + 1 if len(tracks.frame) else 0
    count = np.bincount(tracks.frame, minlength=frames)
    ids = [
        f"{person}: {int((tracks.person == person).sum())} frames, {low:.1f}–{high:.1f} m"
        for person in np.unique(tracks.person)
        for low, high in [np.quantile(tracks.depth[tracks.person == person], [0.02, 0.98])]
    ]
    shares = ", ".join(f"{(count >= least).mean():.0%} ≥ {least}" for least in range(1, int(count.max(initial=0)) + 1))
    return f"| {video.name} | {frames} | {shares} | {'; '.join(ids)} |"


def score_tracking(
    people: Annotated[str, typer.Option(help="how many people cross, with commas")] = "1,2,3,4,6",
    scenes: Annotated[int, typer.Option(min=1, help="scenes of each number")] = 3,
    frames: Annotated[int, typer.Option(min=10, help="frames of a scene")] = 90,
    seed: Annotated[int, typer.Option(help="of the first scene")] = 0,
    live: Annotated[bool, typer.Option(help="as from a camera: late frames are dropped")] = False,
    video: Annotated[list[Path] | None, typer.Option(help="real videos instead of scenes")] = None,
    persons: Annotated[int, typer.Option(min=1, max=MAX_PERSONS, help="people to follow in real videos")] = 2,
    keep: Annotated[Path | None, typer.Option(help="folder for the rendered videos")] = None,
) -> None:
    """Recall and identities of several people, as Markdown."""
    if video:
        print("| video | frames | frames with so many people | ids |\n| --- | --- | --- | --- |")
        for path in video:
            print(describe(path, follow(path, persons, live)), flush=True)
        return
    print(
        f"Visible: at least {_MIN_PX} px tall, half of the keypoints in the image and not behind somebody else.\n\n"
        "| people | scenes | visible person-frames | recall | precision | IDF1 | id switches | mostly lost | ids given |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for count in [int(each) for each in people.split(",")]:
            done = []
            for place in range(scenes):
                number = seed + 100 * count + place
                scene, labels = sample_crowd(count, frames, number)
                path = folder / f"crowd-{count}-{number}.mp4"
                if not path.exists():
                    write_video(path, render_crowd(scene, number))
                done.append((labels, follow(path, count, live)))
            one = score_scenes(count, done)
            print(
                f"| {one.people} | {one.scenes} | {one.frames} | {one.recall:.3f} | {one.precision:.3f} | {one.idf1:.3f} | "
                f"{one.switches} | {one.mostly_lost} | {one.ids} |",
                flush=True,
            )
