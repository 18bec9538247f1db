"""Which piece from whom, and what fits on the disk: pure rules, with a whole hand-out simulated by them."""

import random

from hypothesis import given
from hypothesis import strategies as st

from appliance.worker.choosing import COMING, HERE, MISSING, from_box, from_worker
from appliance.worker.model_room import Room, Unused, make_room

ALL = (0, 1)


def states(text: str) -> bytes:
    """A map from dots (missing), c (coming) and H (here)."""
    return bytes({".": MISSING, "c": COMING, "H": HERE}[letter] for letter in text)


def test_a_worker_is_asked_for_the_rarest_piece_that_it_has() -> None:
    rare, common = states("HHH."), states(".HH.")
    assert from_worker(states("...."), rare, [rare, common], 0) == 0
    assert from_worker(states("H..."), rare, [rare, common], 2) == 2
    assert from_worker(states("Hcc."), rare, [rare, common], 0) is None


def test_the_box_gives_what_no_worker_has_and_our_own_part_first() -> None:
    nobody: list[bytes] = []
    assert from_box(states("......"), nobody, (1, 3), is_patient=True) == 2
    # our part is done: the next one's from its end, where its owner comes last
    assert from_box(states("..HH.."), nobody, (1, 3), is_patient=True) == 5
    assert from_box(states("..HHHH"), nobody, (1, 3), is_patient=True) == 1
    assert from_box(states("HHHHHH"), nobody, (1, 3), is_patient=False) is None


def test_what_workers_have_or_are_getting_is_left_to_them_until_patience_ends() -> None:
    neighbour = states("HHc.")
    assert from_box(states("...."), [neighbour], ALL, is_patient=True) == 3
    assert from_box(states("...H"), [neighbour], ALL, is_patient=True) is None
    assert from_box(states("...H"), [neighbour], ALL, is_patient=False) == 2


@given(st.integers(1, 5), st.integers(1, 60), st.randoms(use_true_random=False))
def test_each_piece_leaves_the_box_about_once_however_many_fetch(
    fetching: int, count: int, chance: random.Random
) -> None:
    """Turns in which each worker draws one piece from the box and one from another worker, in any order."""
    maps = [bytearray(count) for _ in range(fetching)]
    given_by_box = turns = 0
    while any(state != HERE for each in maps for state in each):
        turns += 1
        assert turns < 50 + 10 * count
        arriving: list[tuple[int, int]] = []
        for me in chance.sample(range(fetching), fetching):
            others = [bytes(each) for number, each in enumerate(maps) if number != me]
            piece = from_box(maps[me], others, (me, fetching), is_patient=True)
            if piece is not None:
                given_by_box += 1
                maps[me][piece] = COMING
                arriving.append((me, piece))
            for other in others:
                piece = from_worker(maps[me], other, others, chance.randrange(count))
                if piece is not None:
                    maps[me][piece] = COMING
                    arriving.append((me, piece))
        for me, piece in arriving:
            maps[me][piece] = HERE
    assert given_by_box == count


def model(name: str, gigabytes: int, used_at: float) -> Unused:
    return Unused(name, gigabytes * 10**9, used_at)


def room(needed: int, *, free: int, stored: int = 0, quota: int = 0, unused: tuple[Unused, ...] = ()) -> Room:
    return make_room(
        needed * 10**9,
        free_bytes=free * 10**9,
        keep_free_bytes=10 * 10**9,
        stored_bytes=stored * 10**9,
        quota_bytes=quota * 10**9,
        unused=unused,
    )


def test_what_fits_removes_nothing() -> None:
    assert room(5, free=20, unused=(model("old", 9, 1),)) == Room()


def test_the_longest_unused_go_first_and_no_more_than_needed() -> None:
    unused = (model("yesterday", 4, 3), model("last-year", 4, 1), model("last-week", 4, 2))
    assert room(5, free=8, unused=unused) == Room(remove=("last-year", "last-week"))


def test_a_quota_counts_as_the_disk_does() -> None:
    unused = (model("old", 4, 1),)
    assert room(5, free=500, stored=8, quota=10, unused=unused) == Room(remove=("old",))
    assert room(7, free=500, stored=8, quota=10, unused=unused).trouble


def test_what_can_not_fit_removes_nothing_and_says_how_much_is_missing() -> None:
    answer = room(30, free=20, unused=(model("old", 5, 1),))
    assert answer.remove == ()
    assert "30.0 GB" in answer.trouble and "20.0 GB" in answer.trouble and "15.0 GB" in answer.trouble
