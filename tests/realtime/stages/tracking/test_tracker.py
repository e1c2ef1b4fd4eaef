"""Following people: found, followed, lost, found again, and told apart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from realtime.records import Frame
from realtime.stages.tracking.detection import search_regions
from tests.realtime.stages.tracking.people_in_view import HEIGHT, WIDTH, Person, Run


def test_a_person_is_found_at_once_and_then_followed_without_the_detector() -> None:
    run = Run()
    assert run.step((300, 240, 200)) == [0]
    calls = run.world.detector_calls
    for step in range(40):
        assert run.step((300 + 4 * step, 240, 200 + step)) == [0]
    assert run.world.detector_calls <= calls + 1  # others are searched for every two seconds


def test_an_empty_frame_has_nobody_in_it() -> None:
    run = Run()
    assert [run.step() for _ in range(5)] == [[]] * 5


def test_a_small_far_person_is_found_in_a_tile() -> None:
    assert Run().step((560, 300, 50)) == [0]


def test_a_live_search_looks_at_one_region_a_frame_and_finds_within_a_round() -> None:
    run = Run(thorough=False)
    rounds = 2 * len(list(search_regions(WIDTH, HEIGHT)))  # the whole frame every other time
    answers = []
    for _ in range(rounds):
        before = run.world.detector_calls
        answers.append(run.step((560, 300, 50)))
        assert run.world.detector_calls - before <= 1
    assert answers[-1] == [0] or [0] in answers


def test_who_leaves_is_gone_at_once_and_keeps_the_name_when_back_soon() -> None:
    run = Run()
    run.step((300, 240, 200))
    assert run.step() == []
    for _ in range(10):
        assert run.step() == []
    assert run.step((320, 240, 200)) == [0]


def test_somebody_elsewhere_later_is_somebody_else() -> None:
    run = Run()
    run.step((150, 240, 200, 0))
    for _ in range(60):
        run.step()
    assert run.step((500, 240, 200, 1)) == [1]


def test_two_people_keep_their_names_while_they_walk() -> None:
    run = Run(max_persons=2)
    assert run.step((150, 240, 200), (480, 240, 200)) == [0, 1]
    for step in range(30):
        assert run.step((150 + 3 * step, 240, 200), (480 - step, 240, 200)) == [0, 1]


def test_who_stands_beside_somebody_that_left_does_not_get_his_name() -> None:
    run = Run(max_persons=1)
    assert run.step((300, 200, 200, 0)) == [0]
    for _ in range(30):
        assert run.find((300, 200, 200, 0), (300, 350, 180, 1)) == {0: 0}
    names = [name for _ in range(20) for name in run.step((300, 350, 180, 1))]
    assert names, "the other one is found"
    assert set(names) == {1}


def test_who_goes_behind_a_tree_is_lost() -> None:
    run = Run()
    assert run.step((300, 240, 200)) == [0]
    run.world.confidence = 0.34  # keypoints on the tree
    assert [run.step((300, 240, 200)) for _ in range(10)] == [[]] * 10
    run.world.confidence = 0.5
    assert run.step((300, 240, 200)) == [0]


def test_who_comes_back_in_the_same_clothes_is_the_same_person() -> None:
    run = Run()
    for _ in range(5):
        assert run.step((150, 240, 200, 2)) == [0]
    for _ in range(100):
        run.step()
    assert run.step((500, 240, 200, 2)) == [0]


@pytest.mark.parametrize("most", [1, 2, 4])
@pytest.mark.parametrize(("thorough", "late"), [(True, 0), (False, 0), (False, 2), (False, 4)])
def test_people_who_cross_at_different_depths_keep_their_names(most: int, thorough: bool, late: int) -> None:
    run = Run(most, thorough, late)
    names: dict[int, int] = {}
    for step in range(90):
        far, near = (560 - 5.0 * step, 220, 130, 1), (100 + 5.0 * step, 260, 260, 0)
        # The near one covers the far one: then there is only one to be seen.
        covered = abs(far[0] - near[0]) < 40
        found = run.find(near) if covered else run.find(near, far)
        assert names | found == found | names, f"somebody else in frame {step}"
        names |= found
        assert 0 in found or step <= late, "the near one is in full view"
        if most > 1 and step > 10 and not covered and abs(far[0] - near[0]) > 90:
            assert 1 in found
    assert names == ({0: 0} if most == 1 else names)
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize(("thorough", "late"), [(True, 0), (False, 0), (False, 2)])
@pytest.mark.parametrize("alone", range(5, 11))
def test_a_newcomer_is_found_within_a_third_of_a_second(thorough: bool, late: int, alone: int) -> None:
    run = Run(max_persons=3, thorough=thorough, late=late)
    for _ in range(alone):
        run.step((150, 240, 200))
    seen = [len(run.find((150, 240, 200), (450, 240, 200, 1))) for _ in range(9)]
    assert seen[-1] == 2, seen


@pytest.mark.parametrize(("thorough", "late"), [(True, 0), (False, 2)])
def test_where_only_the_known_person_moves_the_detector_rests_until_somebody_comes(thorough: bool, late: int) -> None:
    run = Run(max_persons=6, thorough=thorough, late=late)
    for step in range(60):
        run.step((150 + 2 * step, 240, 200))
    calls = run.world.detector_calls
    for step in range(60, 120):
        assert run.step((150 + 2 * step, 240, 200)) == [0]
    assert run.world.detector_calls - calls <= 60 / 15 + 1, "more than one search in half a second"
    seen = [len(run.find((390, 240, 200), (540, 300, 100, 1))) for _ in range(9)]
    assert seen[-1] == 2, seen


@pytest.mark.parametrize("tries", [1, 3])
def test_a_file_is_answered_alike_however_late_the_detector_is(tries: int) -> None:
    """A file waits where it must, so that a slow detector changes nothing."""

    def names(late: int) -> list[dict[int, int]]:
        run, found = Run(max_persons=3, late=late), []
        for step in range(70):
            walks: list[Person] = [(60 + 7.0 * step, 240, 200, 0), (570 - 7.0 * step, 230, 160, 1)]
            comes: list[Person] = [(320, 330, 120, 2)] if step > 40 else []
            run.world.confidence = 0.4 if step % 9 == 8 else 0.8
            found.append(run.find(*walks, *comes))
        return found

    assert names(tries) == names(0)


@pytest.mark.parametrize("late", [1, 3, 5])
def test_a_late_answer_is_moved_along_with_the_people_it_is_about(late: int) -> None:
    """Nobody who runs is taken for somebody who stands where he was when the detector was asked."""
    run = Run(max_persons=1, thorough=False, late=late)
    for step in range(140):  # the detector looks for others after two seconds
        phase = max(step - 10, 0) % 60
        to_and_fro = 18.0 * min(phase, 60 - phase)
        found = run.find((50 + to_and_fro, 240, 90))
        assert found == {0: 0} or step <= late
        assert len(run.tracker._tracks) <= 1, f"somebody was made of a late answer in frame {step}"
    assert run.world.detector_calls > 1


def test_an_answer_about_the_scene_before_a_cut_does_not_count() -> None:
    rng = np.random.default_rng(3)
    one, two = (
        cv2.resize(rng.integers(0, 256, (9, 12, 3), np.uint8) // 2 + np.array(tint, np.uint8), (WIDTH, HEIGHT))
        for tint in ((120, 10, 30), (10, 90, 110))
    )
    run = Run(max_persons=2, thorough=False, late=3)
    for _ in range(9):
        run.find((300, 240, 200), backdrop=one)
    for _ in range(3):  # nobody is in the new scene
        assert run.find(backdrop=two) == {}
    assert not run.tracker._tracks


def test_with_all_wanted_people_in_view_the_detector_hardly_runs() -> None:
    run = Run(max_persons=2)
    for step in range(90):
        assert run.step((150 + step, 240, 200), (480, 240, 200, 1)) == [0, 1]
    assert run.world.detector_calls <= 1 + 2  # once for both, then every two seconds


def test_an_empty_file_is_searched_everywhere_once_and_then_piece_by_piece() -> None:
    run = Run()
    everywhere = len(list(search_regions(WIDTH, HEIGHT)))
    run.step()
    assert run.world.detector_calls == everywhere
    for _ in range(10):
        run.step()
    assert run.world.detector_calls == everywhere + 2 * 10
    found = [run.step((560, 300, 50)) for _ in range(everywhere)]
    assert found[-1] == [0], "a small one is found within a round of the tiles"


def test_the_detector_is_asked_at_most_once_in_a_live_frame_while_somebody_is_followed() -> None:
    run = Run(max_persons=4, thorough=False)
    run.step((150, 240, 200))
    for step in range(30):
        before = run.world.detector_calls
        run.step((150 + 4 * step, 240, 200), (400 - 4 * step, 240, 190, 1))
        assert run.world.detector_calls - before <= 1


WALL = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)


def test_a_cut_ends_everybody_who_was_followed() -> None:
    run, rng = Run(), np.random.default_rng(3)
    one, two = (
        cv2.resize(rng.integers(0, 256, (9, 12, 3), np.uint8) // 2 + np.array(tint, np.uint8), (WIDTH, HEIGHT))
        for tint in ((120, 10, 30), (10, 90, 110))
    )
    for _ in range(10):
        assert run.find((300, 240, 200), backdrop=one) == {0: 0}
    flash = np.minimum(one.astype(int) * 2, 255).astype(np.uint8)
    assert run.find((300, 240, 200), backdrop=flash) == {0: 0}
    assert run.find((300, 240, 200), backdrop=one) == {0: 0}
    frame = Frame(run.number, 0, run.number / 30, two)
    assert run.tracker.regions(frame) == []
    assert run.find((300, 240, 200), backdrop=two) == {0: 1}


def test_so_does_a_jump_in_the_film_of_a_fixed_camera() -> None:
    run = Run()
    for _ in range(10):
        assert run.find((300, 240, 200), backdrop=WALL) == {0: 0}
    assert [person for person, _ in run.tracker.regions(Frame(run.number, 0, run.number / 30, WALL))] == [0]
    assert run.tracker.regions(Frame(run.number + 1, 0, (run.number + 1) / 30, WALL, piece=1)) == []


def test_who_turns_upside_down_is_still_seen() -> None:
    run = Run()
    for _ in range(5):
        assert run.step((300, 240, 200)) == [0]
    run.world.upright = False
    assert [run.step((300, 240, 200)) for _ in range(10)] == [[0]] * 10
    run.world.upright = True
    assert [run.step((300, 240, 200)) for _ in range(10)] == [[0]] * 10


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_whichever_way_somebody_turns_over_they_are_seen(turn: int) -> None:
    run = Run()
    assert run.step((300, 240, 200)) == [0]
    run.world.seen_turn = turn
    assert [run.step((300, 240, 200)) for _ in range(5)] == [[0]] * 5


def test_near_somebody_else_few_crops_are_turned() -> None:
    """A turned crop of two people may combine them."""
    run = Run(max_persons=2)
    assert run.step((250, 240, 200, 0), (370, 240, 200, 1)) == [0, 1]
    run.world.seen_turn, run.world.turns = 3, []
    run.step((250, 240, 200, 0), (370, 240, 200, 1))
    assert run.world.turns.count(2) == 2, "one for each"
    assert 1 not in run.world.turns


def test_who_moves_fast_is_lost_in_no_frame() -> None:
    run = Run()
    run.step((100, 240, 200))
    for step in range(1, 12):
        assert run.step((100 + 40.0 * step, 240, 200)) == [0]


@pytest.mark.parametrize("stands_s", [0.8, 1.0])
def test_who_walks_on_behind_somebody_is_found_where_they_come_out(stands_s: float) -> None:
    run = Run(max_persons=2)
    near: Person = (320.0, 260.0, 300.0, 1)
    for step in range(15):
        names = run.find(near, (160.0 + 6 * step, 250.0, 180.0, 2))
    assert set(names) == {0, 1}
    behind = round(stands_s * 30)
    for _ in range(behind):
        assert run.find(near) == {0: names[0]}
    for step in range(20):
        found = run.find(near, (160.0 + 6 * (15 + behind) + 6 * step, 250.0, 180.0, 2))
    assert found == names


def test_somebody_seen_has_the_place_of_one_who_is_hidden() -> None:
    run = Run(max_persons=2)
    near: Person = (320.0, 260.0, 300.0, 1)
    for step in range(15):
        names = run.find(near, (220.0 + 5 * step, 250.0, 180.0, 2))
    for _ in range(8):
        run.find(near)
    for _ in range(20):
        found = run.find(near, (80.0, 250.0, 260.0, 0))
    assert set(found) == {0, 1}
    assert found[1] not in names.values()


def test_somebody_who_came_into_view_since_has_the_place_of_one_who_is_hidden() -> None:
    """They come while everybody's place is taken, so that they are a bystander at first."""
    run = Run(max_persons=2)
    near: Person = (320.0, 260.0, 300.0, 1)
    for step in range(14):
        names = run.find(near, (220.0 + 5 * step, 250.0, 180.0, 2))
    run.find(near)
    for _ in range(20):
        found = run.find(near, (140.0, 250.0, 180.0, 0))
    assert set(found) == {0, 1}
    assert found[1] not in names.values()


def test_a_bystander_known_before_does_not_have_the_place_of_one_who_is_hidden() -> None:
    run = Run(max_persons=2)
    near: Person = (320.0, 260.0, 300.0, 1)
    bystander: Person = (80.0, 250.0, 170.0, 0)
    for step in range(14):
        names = run.find(near, (220.0 + 5 * step, 250.0, 180.0, 2), bystander)
    assert set(names) == {0, 1}
    for _ in range(20):
        assert run.find(near, bystander) == {0: names[0]}
