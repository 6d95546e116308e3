"""Use of a workspace by functions."""

from shared.contract.workspace import AT_ONCE, fetch_in_turn
from tests.fake_workspace import Desk


def test_pictures_come_in_order_and_only_a_few_files_are_held_at_once():
    names = [f"{number}.jpg" for number in range(12)]
    desk, asked = Desk({name: name.encode() for name in names}), []
    fetch = desk.fetch
    desk.fetch = lambda references: (asked.append(len(references)), fetch(references))[1]
    assert list(fetch_in_turn(desk, names)) == [name.encode() for name in names]
    assert max(asked) <= AT_ONCE
