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
from realtime.stages.tracking.detection import MOST_DETECTED
from realtime.stages.tracking.finder import Finder, SearchAnswer, SearchRequest
from realtime.stages.tracking.overlaps import in_the_way, may_hide, others_near, outline_box
from realtime.stages.tracking.regions import is_believable, mean_confidence, region_of, widened
from realtime.stages.tracking.scene_cut import SceneCut
from realtime.stages.tracking.search import Search
from realtime.stages.tracking.track import BYSTANDER, MISSES, Sighting, Track, same_body, sighting_of, turn_of

_DOUBT = 0.46  # mean confidence below which the detector runs, too
_ODD_PLACE, _ODD_SIZE = 0.35, 0.6  # the same of the fit of place, and of size
_HIDDEN_S = 2.0  # the longest that one who went behind another is waited for
_EMERGE_S = 0.3  # and so long after they should have come out
_REMEMBER_S = 1.5  # for so long, somebody found near a lost person's last place is that person
_RECOGNISE_S = 10.0  # and for so long, somebody in the same clothes, anywhere
_SAME_CLOTHES, _OTHER_CLOTHES = 0.9, 0.6
_SAME_SIZE = 0.25
_BYSTANDER_S = 3.0
_LEARN_S = 0.2  # between two updates of a person's appearance
_STANDS_IN = 0.3  # object keypoint similarity from which on a newcomer is somebody who is tracked
_CONFIRM_S = 0.3  # the longest time between two sightings of a newcomer
_AGAIN_S = 0.12  # for so long the detector is asked about one who was seen once
_DELAY = 2  # frames of a file after which the detector's answer is used where no frame waits for it
_WAS_THERE = 0.3  # least fit of a late answer to where a person was, to be about this person


class Tracker:
    """Finds and follows up to ``most`` people. Used by the keypoint thread.

    Args:
        movenet: keypoints of one person.
        finder: runs the person detector.
        most: people followed at the same time; may be set anew, from any thread. Others are noted as bystanders, so that a
            track does not jump to them.
        thorough: wait for the detector where a sighting is doubtful (files: no frame is left without an answer, and every run
            gives the same); otherwise never wait.
    """

    def __init__(self, movenet: MoveNet, finder: Finder, most: int = 1, thorough: bool = True) -> None:
        self._movenet, self.finder = movenet, finder
        self.most, self._thorough = most, thorough
        self._tracks: list[Track] = []
        self._lost: list[Track] = []
        self._unsure: list[tuple[float, Sighting]] = []  # newcomers who were found once
        self._next_person = 0
        self._cut, self._background, self._still = SceneCut(), BackgroundWatch(), False
        self._search: Search | None = None
        self._size = (0, 0)
        self._prepared = -1
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
            if self._cut(frame.image):
                self._tracks.clear()
                self._lost.clear()
                self._unsure.clear()
                self._background.forget()
                self._scene = frame.sequence
            for track in self._followed[self.most :]:  # the limit has come down: the newest are bystanders now
                track.person = BYSTANDER
        return [(track.person, track.region(frame.time_s)) for track in self._followed if track.misses <= MISSES]

    def update(self, frame: Frame) -> list[Keypoints]:
        """Keypoints of everybody in ``frame``; empty where nobody is seen."""
        self.regions(frame)
        image, time_s = frame.image, frame.time_s
        known = list(self._tracks)
        crowds = {track: in_the_way(track, known, time_s) for track in known}
        assert self._cut.thumbnail is not None
        extents = [outline_box(track.expected(time_s)) for track in known]
        self._still = self._background.is_still(self._cut.thumbnail, extents, self._size[0], time_s)
        self._count += 1
        if self._thorough:
            self._expect_doubt(frame, crowds)
        own = self._look(image, [track for track in known if track.followed], crowds, time_s)
        doubtful = self._in_doubt(own, crowds, time_s)
        answers = self._answers_of_file(frame, doubtful) if self._thorough else self._answers_live(frame, doubtful)
        detected, met = self._present(answers, known, time_s)
        found = associate(known, own, detected, image, time_s)
        seen = {
            track: sighting
            if sighting.fine or not track.followed
            else self._closer(image, sighting, track, crowds, time_s)
            for track, sighting in found.seen.items()
        }
        for track in known:
            if track in seen:
                track.found(seen[track], time_s)
                if not crowds[track] and not 0 <= time_s - track.looked_s < _LEARN_S:
                    track.learn(image, time_s)
            else:
                self._miss(track, crowds[track], time_s)
        for sighting in sorted((one for one in found.unclaimed if one not in met), key=lambda one: -one.scale):
            self._welcome(image, sighting, time_s)
        self._promote(image, time_s)
        return [
            Keypoints(frame.sequence, track.person, track.points, track.confidence)
            for track in self._followed
            if not track.misses and track.last_seen_s == time_s
        ]

    @property
    def _followed(self) -> list[Track]:
        return [track for track in self._tracks if track.followed]

    # Keypoints in the expected regions

    def _look(
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
        answers = dict(zip(views, self._movenet.all(image, list(views.values())), strict=True))
        for again in (False, True):
            for track, (points, confidence) in answers.items():
                box, turn, *_ = views[track]
                strict = turn != track.turn or track.is_hidden
                sighting = self._believed(points, confidence, box, turn, strict)
                # A region that was widened while its person was lost may hold somebody else; that of one who is behind
                # somebody was not.
                if sighting is not None and (
                    not track.misses or track.pace is not None or track.may_be_in(sighting.box, time_s)
                ):
                    found[track] = sighting
            if not again:  # who is behind somebody is not looked for lying down
                missing = [track for track in views if track not in found and track.pace is None]
                turned = {track: turn_of(*track.expected(time_s)) for track in missing}
                views = {
                    track: views[track]._replace(turn=turn) for track, turn in turned.items() if turn != track.turn
                }
                answers = dict(zip(views, self._movenet.again(image, list(views.values())), strict=True))
        return {track: found[track] for track in tracks if track in found}

    def _believed(
        self, points: FloatArray, confidence: FloatArray, last: Box | None, turn: int = 0, strict: bool = False
    ) -> Sighting | None:
        """A sighting from MoveNet's answer, None where it shows nobody. ``strict``: with the thresholds for new people."""
        if not is_believable(confidence, strict):
            return None
        return sighting_of(points, confidence, region_of(points, confidence, *self._size, last), turn)

    def _closer(
        self, image: ImageArray, coarse: Sighting, track: Track, crowds: dict[Track, list[Outline]], time_s: float
    ) -> Sighting:
        """MoveNet's keypoints where the detector saw a person; the detector's own where MoveNet sees somebody else there."""
        points, confidence = self._movenet(image, coarse.box, 0, coarse.outline, tuple(crowds[track]))
        fine = self._believed(points, confidence, None)
        return fine if fine is not None and same_body(fine, coarse) else coarse

    def _in_doubt(self, own: dict[Track, Sighting], crowds: dict[Track, list[Outline]], time_s: float) -> list[Box]:
        """Regions of people whose sighting is missing or doubtful, for the detector."""
        doubtful = []
        for track in self._followed:
            sighting = own.get(track)
            track.doubted = (
                sighting is None
                or bool(crowds[track])
                or mean_confidence(sighting.confidence) < _DOUBT
                or track.fit(sighting, time_s) < _ODD_PLACE
                or size_fit(track.scale, sighting.scale) < _ODD_SIZE
            )
            if track.doubted:
                doubtful.append(track.region(time_s))
        return doubtful + [one.box for then_s, one in self._unsure if 0 < time_s - then_s <= _AGAIN_S]

    # The detector

    def _plan(self, frame: Frame, doubtful: list[Box]) -> SearchRequest | None:
        """The detector's next search, None where none is due."""
        assert self._search is not None
        followed = len([track for track in self._followed if not track.is_hidden])
        if not self._followed:
            if self._thorough:
                self._background.settle()
            return SearchRequest(frame, *self._search.plan_for_anybody(frame.time_s, self.most))
        around = [track.region(frame.time_s) for track in self._followed]
        regions = self._search.plan(frame.time_s, followed < self.most, doubtful, self._still, around)
        return SearchRequest(frame, regions, MOST_DETECTED * len(regions)) if regions else None

    def _ask(self, frame: Frame, doubtful: list[Box]) -> None:
        request = self._plan(frame, doubtful)
        if request is not None:
            self.finder.ask(request)
            self._asked, self._due = frame.sequence, self._count + _DELAY

    def _expect_doubt(self, frame: Frame, crowds: dict[Track, list[Outline]]) -> None:
        """Start the detector on a frame of a file before MoveNet runs, where its answer will most likely be needed."""
        doubtful = [track for track in self._followed if crowds[track] or track.misses or track.doubted]
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
        """The detector's answers that have come meanwhile."""
        answers = self._take(wait=False)
        if self.finder.is_idle:
            self._ask(frame, doubtful)
            answers[:0] = self._take(wait=False)
        return answers

    def _take(self, wait: bool) -> list[SearchAnswer]:
        answer = self.finder.take(wait)
        return [] if answer is None or answer.sequence < self._scene else [answer]

    def _present(
        self, answers: list[SearchAnswer], known: list[Track], time_s: float
    ) -> tuple[list[Sighting], list[Sighting]]:
        """The detector's sightings, late ones moved to where the people are expected by ``time_s``, nobody twice; and those
        of them that are of people who were tracked when the search began."""
        present: list[Sighting] = []
        met: list[Sighting] = []
        for answer in answers:
            late = answer.time_s != time_s
            for sighting in answer.people:
                now, track = sighting, None
                if late:
                    track, moved = _known_then(sighting, known, answer.time_s, time_s)
                    now = sighting.moved(moved)
                if not any(same_body(now, other) for other in present):
                    present.append(now)
                    met += [now] if track is not None else []
        return present, met

    # Tracks that begin and end

    def _miss(self, track: Track, crowd: Sequence[Outline], time_s: float) -> None:
        track.misses += 1
        if not track.followed:
            if time_s - track.last_seen_s > _BYSTANDER_S:
                self._tracks.remove(track)
            return
        if any(may_hide(one, track, time_s) for one in crowd):
            track.hide(time_s)
        elif track.misses <= MISSES and track.pace is None:  # search a little wider at the same place
            track.box = widened(track.box, *self._size)
        if track.misses > MISSES and not (
            time_s - track.last_seen_s <= _HIDDEN_S and time_s - track.hidden_s <= _EMERGE_S
        ):
            self._tracks.remove(track)
            self._lost.append(track)

    def _welcome(self, image: ImageArray, coarse: Sighting, time_s: float) -> None:
        """Begin a track for a sighting of the detector that belongs to no track: followed if there is room, else a
        bystander."""
        if self._room() or any(track.is_hidden for track in self._followed):
            sighting = self._acquire(image, coarse, time_s)
            if sighting is None or not self._is_confirmed(sighting, time_s):
                return
            appearance = appearance_of(image, sighting.points, sighting.confidence)
            self._tracks.append(self._recall(sighting, appearance, time_s, time_s))
            self._tracks[-1].learn(image, time_s)
        elif not self._stands_in(coarse, time_s):
            self._tracks.append(Track.begin(BYSTANDER, coarse, time_s))
            self._tracks[-1].learn(image, time_s)

    def _room(self) -> bool:
        return len(self._followed) < self.most

    def _is_confirmed(self, sighting: Sighting, time_s: float) -> bool:
        """Whether a newcomer stands alone, or was found twice: keypoints of two people who overlap are at times taken for a
        third one, but rarely in the same place again."""
        self._unsure = [one for one in self._unsure if 0 <= time_s - one[0] <= _CONFIRM_S]
        old = [track for track in self._followed if track.since_s < time_s]
        if not any(others_near(sighting.outline, (track.expected(time_s),)) for track in old):
            return True
        if any(then_s < time_s and same_body(sighting, one) for then_s, one in self._unsure):
            return True
        self._unsure.append((time_s, sighting))
        return False

    def _promote(self, image: ImageArray, time_s: float) -> None:
        """Follow bystanders where there is room now."""
        for track in [one for one in self._tracks if not one.followed and not one.misses]:
            if not self._room():
                return
            seen = Sighting(track.points, track.confidence, track.box, track.scale, fine=False)
            self._tracks.remove(track)
            sighting = self._acquire(image, seen, time_s)
            if sighting is not None:
                self._tracks.append(self._recall(sighting, track.appearance, time_s, track.since_s))
                self._tracks[-1].learn(image, time_s)

    def _acquire(self, image: ImageArray, coarse: Sighting, time_s: float) -> Sighting | None:
        """MoveNet's keypoints of a detection, in two passes: the second region comes from the first pass's keypoints. The
        detector's own where MoveNet sees only who stands in front. None where it sees nobody, or somebody who is tracked
        already."""
        box, own = coarse.box, coarse.outline
        crowd = tuple(others_near(own, (one.expected(time_s) for one in self._tracks if one.pace is None)))
        fine: Sighting | None = None
        for _ in range(2):
            points, confidence = self._movenet(image, box, 0, own, crowd)
            fine = self._believed(points, confidence, None, strict=True)
            if fine is None:
                break
            box, own = fine.box, fine.outline
        if fine is not None and not self._stands_in(fine, time_s):
            return fine
        hidden = bool(crowd) and is_believable(coarse.confidence, strict=True)
        return coarse if hidden and not self._stands_in(coarse, time_s) else None

    def _stands_in(self, sighting: Sighting, time_s: float) -> bool:
        """Whether a track was seen in the same place, so that a new one would follow the same person twice."""
        return any(not track.misses and track.overlap(sighting, time_s) > _STANDS_IN for track in self._tracks)

    def _recall(self, sighting: Sighting, appearance: Appearance, time_s: float, since_s: float) -> Track:
        """The track of a lost person whom the newcomer matches by place or clothes, else a new track. A newcomer who was seen
        since ``since_s``, before a person was lost, cannot be that person."""
        self._lost = [track for track in self._lost if time_s - track.last_seen_s < _RECOGNISE_S]
        hidden = [track for track in self._followed if track.is_hidden]
        best, likest = None, 0.0
        for track in [*self._lost, *hidden]:
            if since_s < track.last_seen_s:
                continue
            clothes = track.appearance.likeness(appearance)
            near = time_s - track.last_seen_s < _REMEMBER_S and track.may_be_in(sighting.box, time_s)
            near = near and size_fit(track.scale, sighting.scale) > _SAME_SIZE
            if near and (clothes is None or clothes > _OTHER_CLOTHES):
                like = 1 + (clothes or 0)
            else:
                like = clothes if clothes is not None and clothes > _SAME_CLOTHES else 0
            if like > likest:
                best, likest = track, like
        if best is None and not self._room():  # somebody who is seen goes before one who is not
            gone = max(hidden, key=lambda track: track.misses)
            self._tracks.remove(gone)
            self._lost.append(gone)
        if best is not None:
            (self._lost if best in self._lost else self._tracks).remove(best)
            best.renew(sighting, time_s)
            return best
        person, self._next_person = self._next_person, self._next_person + 1
        return Track.begin(person, sighting, time_s)


def _known_then(
    sighting: Sighting, known: Iterable[Track], then_s: float, now_s: float
) -> tuple[Track | None, FloatArray]:
    """The track that a sighting of an earlier frame belongs to, None for nobody's, and the person's expected movement (2,) px
    since then."""
    best: Track | None = None
    moved, most = np.zeros(2, np.float32), _WAS_THERE
    for track in known:
        outline, way = track.then(then_s, now_s)
        fit = oks(*outline, sighting.points, sighting.confidence, max(track.scale, sighting.scale))
        if fit > most:
            best, moved, most = track, way, fit
    return best, moved
