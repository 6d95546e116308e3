"""Use of a workspace by functions."""

from shared.contract.workspace import AT_ONCE, fetch_in_turn
from tests.fake_workspace import FakeWorkspace


def test_pictures_come_in_order_and_only_a_few_files_are_held_at_once():
    names = [f"{number}.jpg" for number in range(12)]
    workspace, asked = FakeWorkspace({name: name.encode() for name in names}), []
    fetch = workspace.fetch
    workspace.fetch = lambda references: (asked.append(len(references)), fetch(references))[1]
    assert list(fetch_in_turn(workspace, names)) == [name.encode() for name in names]
    assert max(asked) <= AT_ONCE
