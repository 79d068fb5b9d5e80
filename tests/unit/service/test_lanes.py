"""Lanes: bounds are kept, nobody is forgotten, no destination holds up another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lanpost.service.lanes import Lanes


def test_a_full_lane_lets_others_overtake() -> None:
    lanes: Lanes[str, int] = Lanes(10, 2)
    for number in range(5):
        lanes.join("dead", number)
    lanes.join("alive", 99)
    assert [lanes.next() for _ in range(4)] == [("dead", 0), ("alive", 99), ("dead", 1), None]
    lanes.leave("dead")
    assert lanes.next() == ("dead", 2)


def test_lanes_take_turns() -> None:
    lanes: Lanes[str, int] = Lanes(10, 10)
    for number in range(3):
        lanes.join("a", number)
    for number in range(3):
        lanes.join("b", number)
    served = [found[0] for _ in range(6) if (found := lanes.next())]
    assert served == ["a", "b", "a", "b", "a", "b"]


@given(st.lists(st.tuples(st.sampled_from("jnlc"), st.sampled_from("abc")), max_size=200))
def test_bounds_hold_and_nobody_is_lost(steps: list[tuple[str, str]]) -> None:
    lanes: Lanes[str, int] = Lanes(4, 2)
    waiting: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    served: list[str] = []
    for number, (step, lane) in enumerate(steps):
        if step == "j":
            lanes.join(lane, number)
            waiting[lane].append(number)
        elif step == "c":
            assert lanes.clear(lane) == waiting[lane]
            waiting[lane] = []
        elif step == "l" and lane in served:
            served.remove(lane)
            lanes.leave(lane)
        elif step == "n":
            found = lanes.next()
            possible = {x for x in "abc" if waiting[x] and served.count(x) < 2} if len(served) < 4 else set()
            assert (found is not None) == bool(possible)
            if found is not None:
                assert found[0] in possible
                assert waiting[found[0]].pop(0) == found[1]
                served.append(found[0])
    assert lanes.waiting() == sum(map(len, waiting.values()))
