"""Tracking several people from frame to frame.

In each frame MoveNet runs on the region where each person is expected; other people in the region are blurred. Where its
answer is doubtful (somebody near, a low confidence, an unexpected place or size), or where more people may come, the person
detector runs as well. The sightings of both are assigned to the tracks by place, size and clothes
(`association`).

The detector is slow, and may run in a thread of its own (`finder`). A live source never waits for it: its
answer is used in the next frame after it came, moved along with the people it is about. Results of a file must not depend on
timing: where a sighting is doubtful the frame waits for the answer, otherwise it is used a fixed number of frames later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from common.arrays import FloatArray, ImageArray
from realtime.records import Box, Frame, Keypoints
from realtime.stages.keypoints.masking import Outline
from realtime.stages.keypoints.movenet import CropView, MoveNet
from realtime.stages.keypoints.similarity import Appearance, appearance_of, oks, size_fit
from realtime.stages.tracking.association import associate
from realtime.stages.tracking.background import BackgroundWatch
from realtime.stages.tracking.confirmation import Confirmation
from realtime.stages.tracking.detection import MAX_DETECTED
from realtime.stages.tracking.finder import Finder, SearchAnswer, SearchRequest
from realtime.stages.tracking.overlaps import may_occlude, outline_box, overlapping, overlapping_people
from realtime.stages.tracking.regions import is_believable, mean_confidence, region_of, widened
from realtime.stages.tracking.reidentification import who_returns
from realtime.stages.tracking.scene_cut import SceneCut
from realtime.stages.tracking.search import Search
from realtime.stages.tracking.track import BYSTANDER, MAX_MISSES, Sighting, Track, same_body, sighting_of, turns_to_try

_DOUBTFUL_CONFIDENCE = 0.46  # mean confidence below which the detector runs, too
_DOUBTFUL_PLACE, _DOUBTFUL_SIZE = 0.35, 0.6  # likewise for `Track.fit` and `size_fit`
_OCCLUDED_S = 2.0  # longest time that the track of an occluded person is kept
_EMERGE_S = 0.3  # and at most so long after nobody occludes them any more
_REIDENTIFY_S = 10.0  # time in which a lost person is recognised
_BYSTANDER_S = 3.0
_APPEARANCE_EVERY_S = 0.2  # between two updates of a person's appearance
_DUPLICATE = 0.3  # `Track.overlap` above which a newcomer is somebody who is tracked already
_DETECTOR_DELAY = 2  # frames of a file after which an answer is used that no frame waits for
_MIN_LATE_FIT = 0.3  # object keypoint similarity of a late sighting with a track's keypoints at that time


class Tracker:
    """Finds and follows up to ``max_persons`` people. Used by the keypoint thread.

    Args:
        movenet: keypoints of one person.
        finder: runs the person detector.
        max_persons: people followed at the same time; any thread may change it. Others are kept as bystanders, so that a track
            does not jump to them.
        thorough: wait for the detector where a sighting is doubtful (files: no frame is left without an answer, and every run
            gives the same); otherwise never wait.
    """

    def __init__(self, movenet: MoveNet, finder: Finder, max_persons: int = 1, thorough: bool = True) -> None:
        self._movenet, self.finder = movenet, finder
        self.max_persons, self._thorough = max_persons, thorough
        self._tracks: list[Track] = []
        self._lost: list[Track] = []
        self._confirmation = Confirmation()
        self._next_person = 0
        self._cut, self._background, self._still = SceneCut(), BackgroundWatch(), False
        self._search: Search | None = None
        self._size = (0, 0)
        self._prepared, self._piece = -1, 0
        self._scene = self._asked = -1  # the frame that the scene began with, and the one the detector was asked about
        self._count = self._due = 0  # frames so far, and the one in which a file uses the answer

    def regions(self, frame: Frame) -> list[tuple[int, Box]]:
        """Person number and search region of everybody who is followed.

        Empty where a new scene begins with ``frame``: then everybody in it gets a new number.
        """
        if self._prepared != frame.sequence:
            self._prepared = frame.sequence
            height, width = frame.image.shape[:2]
            if self._search is None or self._size != (width, height):
                self._size, self._search = (width, height), Search(width, height, self._thorough)
            jumped, self._piece = frame.piece != self._piece, frame.piece
            if self._cut(frame.image) or jumped:
                self._tracks.clear()
                self._lost.clear()
                self._confirmation.clear()
                self._background.reset()
                self._scene = frame.sequence
            for track in self._followed[self.max_persons :]:  # the limit has come down: the newest are bystanders now
                track.person = BYSTANDER
        return [(track.person, track.region(frame.time_s)) for track in self._followed if track.misses <= MAX_MISSES]

    def update(self, frame: Frame) -> list[Keypoints]:
        """Keypoints of everybody in ``frame``; empty where nobody is seen."""
        self.regions(frame)
        image, time_s = frame.image, frame.time_s
        known = list(self._tracks)
        crowds = {track: overlapping_people(track, known, time_s) for track in known}
        assert self._cut.thumbnail is not None
        extents = [outline_box(track.expected(time_s)) for track in known]
        self._still = self._background.is_still(self._cut.thumbnail, extents, self._size[0], time_s)
        self._count += 1
        if self._thorough:
            self._search_early(frame, crowds)
        own = self._track_keypoints(image, [track for track in known if track.followed], crowds, time_s)
        doubtful = self._doubtful_regions(own, crowds, time_s)
        answers = self._answers_of_file(frame, doubtful) if self._thorough else self._answers_live(frame, doubtful)
        detected, met = self._current_sightings(answers, known, time_s)
        found = associate(known, own, detected, image, time_s)
        seen = {
            track: sighting if sighting.fine or not track.followed else self._refine(image, sighting, track, crowds)
            for track, sighting in found.seen.items()
        }
        for track in known:
            if track in seen:
                track.update(seen[track], time_s)
                if not crowds[track] and not 0 <= time_s - track.appearance_s < _APPEARANCE_EVERY_S:
                    track.update_appearance(image, time_s)
            else:
                self._mark_missed(track, crowds[track], time_s)
        for sighting in sorted((one for one in found.unclaimed if one not in met), key=lambda one: -one.scale):
            self._begin_track(image, sighting, time_s)
        self._promote(image, time_s)
        return [
            Keypoints(frame.sequence, track.person, *track.shown)
            for track in self._followed
            if not track.misses and track.last_seen_s == time_s
        ]

    @property
    def _followed(self) -> list[Track]:
        return [track for track in self._tracks if track.followed]

    # Keypoints in the expected regions

    def _track_keypoints(
        self, image: ImageArray, tracks: Sequence[Track], crowds: dict[Track, list[Outline]], time_s: float
    ) -> dict[Track, Sighting]:
        """MoveNet's keypoints in the regions where people are expected. Where it sees nobody it runs again with the crop
        turned, because it was trained on upright people and misses those who lie or turn over."""
        views = {
            track: CropView(track.region(time_s), track.turn, track.expected(time_s), tuple(crowds[track]))
            for track in tracks
        }
        if not views:
            return {}
        found: dict[Track, Sighting] = {}
        answers = self._movenet.all(image, list(views.values()))
        self._keep_best(found, list(views.items()), answers, time_s)
        # No turned crop for occluded people.
        missing = [track for track in views if track not in found and track.occluded_velocity is None]
        turned = [(track, views[track]._replace(turn=turn)) for track in missing for turn in self._turns(track, time_s)]
        answers = self._movenet.more(image, [view for _, view in turned])
        self._keep_best(found, turned, answers, time_s)
        return {track: found[track] for track in tracks if track in found}

    def _turns(self, track: Track, time_s: float) -> list[int]:
        """Quarter turns of the crop to try for a person who is not seen: all where nobody else is known to be in the region or
        beside it, who could be taken for this person, else the likeliest."""
        turns = turns_to_try(track.turn, *track.expected(time_s))
        x, y, size = track.region(time_s)
        others = [other.region(time_s) for other in self._tracks if other is not track]
        alone = all(max(abs(one.x - x), abs(one.y - y)) > (one.size + size) / 2 for one in others)
        return turns if alone else turns[:1]

    def _keep_best(
        self,
        found: dict[Track, Sighting],
        views: Sequence[tuple[Track, CropView]],
        answers: Sequence[tuple[FloatArray, FloatArray]],
        time_s: float,
    ) -> None:
        """Put into ``found`` what the ``answers`` to the ``views`` of people show of them; of several answers for a person the
        surest."""
        for (track, view), (points, confidence) in zip(views, answers, strict=True):
            strict = view.turn != track.turn or track.is_occluded
            sighting = self._accept(points, confidence, view.box, view.turn, strict)
            # A widened region may hold somebody else; an occluded person's is never widened.
            in_wide_region = track.misses and track.occluded_velocity is None
            if sighting is None or (in_wide_region and not track.may_be_in(sighting.box, time_s)):
                continue
            best = found.get(track)
            if best is None or mean_confidence(sighting.confidence) > mean_confidence(best.confidence):
                found[track] = sighting

    def _accept(
        self, points: FloatArray, confidence: FloatArray, last: Box | None, turn: int = 0, strict: bool = False
    ) -> Sighting | None:
        """A sighting from MoveNet's answer; None where the confidence is too low. ``strict``: thresholds for new people."""
        if not is_believable(confidence, strict):
            return None
        return sighting_of(points, confidence, region_of(points, confidence, *self._size, last), turn)

    def _refine(
        self, image: ImageArray, coarse: Sighting, track: Track, crowds: dict[Track, list[Outline]]
    ) -> Sighting:
        """MoveNet's keypoints in the region of a detection; the detection itself where MoveNet finds somebody else there."""
        points, confidence = self._movenet(image, coarse.box, 0, coarse.outline, tuple(crowds[track]))
        fine = self._accept(points, confidence, None)
        return fine if fine is not None and same_body(fine, coarse) else coarse

    def _doubtful_regions(
        self, own: dict[Track, Sighting], crowds: dict[Track, list[Outline]], time_s: float
    ) -> list[Box]:
        """Regions that the detector searches: those of people whose sighting is missing or doubtful."""
        doubtful = []
        for track in self._followed:
            sighting = own.get(track)
            track.is_doubtful = (
                sighting is None
                or bool(crowds[track])
                or mean_confidence(sighting.confidence) < _DOUBTFUL_CONFIDENCE
                or track.fit(sighting, time_s) < _DOUBTFUL_PLACE
                or size_fit(track.scale, sighting.scale) < _DOUBTFUL_SIZE
            )
            if track.is_doubtful:
                doubtful.append(track.region(time_s))
        return doubtful + self._confirmation.regions(time_s)

    # The detector

    def _plan(self, frame: Frame, doubtful: list[Box]) -> SearchRequest | None:
        """The detector's next search, None where none is due."""
        assert self._search is not None
        followed = len([track for track in self._followed if not track.is_occluded])
        if not self._followed:
            if self._thorough:
                self._background.mark_searched()
            return SearchRequest(frame, *self._search.plan_for_anybody(frame.time_s, self.max_persons), self._thorough)
        around = [track.region(frame.time_s) for track in self._followed]
        regions = self._search.plan(frame.time_s, followed < self.max_persons, doubtful, self._still, around)
        return SearchRequest(frame, regions, MAX_DETECTED * len(regions)) if regions else None

    def _ask(self, frame: Frame, doubtful: list[Box]) -> None:
        request = self._plan(frame, doubtful)
        if request is not None:
            self.finder.ask(request)
            self._asked, self._due = frame.sequence, self._count + _DETECTOR_DELAY

    def _search_early(self, frame: Frame, crowds: dict[Track, list[Outline]]) -> None:
        """Start the detector on a frame of a file before MoveNet runs, where its answer will most likely be needed."""
        doubtful = [track for track in self._followed if crowds[track] or track.misses or track.is_doubtful]
        if self.finder.is_idle and (doubtful or not self._followed):
            self._ask(frame, [track.region(frame.time_s) for track in doubtful])

    def _answers_of_file(self, frame: Frame, doubtful: list[Box]) -> list[SearchAnswer]:
        """The detector's answers for a frame of a file, the newest first."""
        answers: list[SearchAnswer] = []
        urgent = bool(doubtful) or not self._followed
        if urgent or self._count >= self._due:
            answers += self._take(wait=True)
        if self.finder.is_idle and self._asked != frame.sequence:
            self._ask(frame, doubtful)
            if urgent:
                answers[:0] = self._take(wait=True)
        return answers

    def _answers_live(self, frame: Frame, doubtful: list[Box]) -> list[SearchAnswer]:
        """The detector's answers that have arrived since the last frame."""
        answers = self._take(wait=False)
        if self.finder.is_idle:
            self._ask(frame, doubtful)
            answers[:0] = self._take(wait=False)
        return answers

    def _take(self, wait: bool) -> list[SearchAnswer]:
        answer = self.finder.take(wait)
        return [] if answer is None or answer.sequence < self._scene else [answer]

    def _current_sightings(
        self, answers: list[SearchAnswer], known: list[Track], time_s: float
    ) -> tuple[list[Sighting], list[Sighting]]:
        """The detector's sightings, each person once, and those of them that show somebody tracked. Sightings of earlier
        frames are moved by the expected displacement until ``time_s``."""
        present: list[Sighting] = []
        met: list[Sighting] = []
        for answer in answers:
            late = answer.time_s != time_s
            for sighting in answer.people:
                now, track = sighting, None
                if late:
                    track, moved = _match_late(sighting, known, answer.time_s, time_s)
                    now = sighting.shifted(moved)
                if not any(same_body(now, other) for other in present):
                    present.append(now)
                    met += [now] if track is not None else []
        return present, met

    # Tracks that begin and end

    def _mark_missed(self, track: Track, crowd: Sequence[Outline], time_s: float) -> None:
        track.misses += 1
        if not track.followed:
            if time_s - track.last_seen_s > _BYSTANDER_S:
                self._tracks.remove(track)
            return
        if any(may_occlude(one, track, time_s) for one in crowd):
            track.mark_occluded(time_s)
        elif track.misses <= MAX_MISSES and track.occluded_velocity is None:  # search a little wider at the same place
            track.box = widened(track.box, *self._size)
        if track.misses > MAX_MISSES and not (
            time_s - track.last_seen_s <= _OCCLUDED_S and time_s - track.occluded_s <= _EMERGE_S
        ):
            self._tracks.remove(track)
            self._lost.append(track)

    def _begin_track(self, image: ImageArray, coarse: Sighting, time_s: float) -> None:
        """Begin a track for a detection that belongs to no track: followed while fewer than ``max_persons`` are, else a
        bystander."""
        if self._has_room() or any(track.is_occluded for track in self._followed):
            sighting = self._keypoints_of_newcomer(image, coarse, time_s)
            if sighting is None or not self._is_confirmed(sighting, coarse, time_s):
                return
            appearance = appearance_of(image, sighting.points, sighting.confidence)
            self._tracks.append(self._reidentify(sighting, appearance, time_s, time_s))
            self._tracks[-1].update_appearance(image, time_s)
        elif not self._is_duplicate(coarse, time_s):
            self._tracks.append(Track.begin(BYSTANDER, coarse, time_s))
            self._tracks[-1].update_appearance(image, time_s)

    def _has_room(self) -> bool:
        return len(self._followed) < self.max_persons

    def _is_confirmed(self, sighting: Sighting, coarse: Sighting, time_s: float) -> bool:
        old = [track.expected(time_s) for track in self._followed if track.since_s < time_s]
        return self._confirmation.accept(sighting, coarse, old, time_s)

    def _promote(self, image: ImageArray, time_s: float) -> None:
        """Follow bystanders while fewer than ``max_persons`` people are followed, or in the place of somebody who has been
        occluded since before they were seen first."""
        for track in [one for one in self._tracks if not one.followed and not one.misses]:
            hidden = [one for one in self._followed if one.is_occluded and one.last_seen_s <= track.since_s]
            if not (self._has_room() or hidden):
                continue
            seen = Sighting(track.points, track.confidence, track.box, track.scale, fine=False)
            self._tracks.remove(track)
            sighting = self._keypoints_of_newcomer(image, seen, time_s)
            if sighting is not None:
                self._tracks.append(self._reidentify(sighting, track.appearance, time_s, track.since_s))
                self._tracks[-1].update_appearance(image, time_s)

    def _keypoints_of_newcomer(self, image: ImageArray, coarse: Sighting, time_s: float) -> Sighting | None:
        """MoveNet's keypoints of a detection, in two passes: the second region comes from the first pass's keypoints. The
        detection itself where somebody in front hides the person from MoveNet. None where MoveNet finds nobody, or somebody
        who is tracked already."""
        box, own = coarse.box, coarse.outline
        crowd = tuple(overlapping(own, (one.expected(time_s) for one in self._tracks if one.occluded_velocity is None)))
        fine: Sighting | None = None
        for _ in range(2):
            points, confidence = self._movenet(image, box, 0, own, crowd)
            fine = self._accept(points, confidence, None, strict=True)
            if fine is None:
                break
            box, own = fine.box, fine.outline
        if fine is not None and not self._is_duplicate(fine, time_s):
            return fine
        hidden = bool(crowd) and is_believable(coarse.confidence, strict=True)
        return coarse if hidden and not self._is_duplicate(coarse, time_s) else None

    def _is_duplicate(self, sighting: Sighting, time_s: float) -> bool:
        """Whether this person is tracked already."""
        return any(not track.misses and track.overlap(sighting, time_s) > _DUPLICATE for track in self._tracks)

    def _reidentify(self, sighting: Sighting, appearance: Appearance, time_s: float, since_s: float) -> Track:
        """The track of a lost person whom the newcomer matches by place or clothes, else a new track. Somebody lost after
        ``since_s``, when the newcomer was seen first, is another person."""
        self._lost = [track for track in self._lost if time_s - track.last_seen_s < _REIDENTIFY_S]
        hidden = [track for track in self._followed if track.is_occluded]
        best = who_returns([*self._lost, *hidden], sighting, appearance, time_s, since_s)
        if best is None and not self._has_room():  # a visible person takes the place of an occluded one
            gone = max(hidden, key=lambda track: track.misses)
            self._tracks.remove(gone)
            self._lost.append(gone)
        if best is not None:
            (self._lost if best in self._lost else self._tracks).remove(best)
            best.reactivate(sighting, time_s)
            return best
        person, self._next_person = self._next_person, self._next_person + 1
        return Track.begin(person, sighting, time_s)


def _match_late(
    sighting: Sighting, known: Iterable[Track], then_s: float, now_s: float
) -> tuple[Track | None, FloatArray]:
    """The track that an earlier frame's sighting belongs to, if any, and its expected displacement (2,) px since then."""
    best: Track | None = None
    moved, most = np.zeros(2, np.float32), _MIN_LATE_FIT
    for track in known:
        outline, displacement = track.displacement_since(then_s, now_s)
        fit = oks(*outline, sighting.points, sighting.confidence, max(track.scale, sighting.scale))
        if fit > most:
            best, moved, most = track, displacement, fit
    return best, moved
