"""A managed hub in a unit of the manager of a user who lingers."""

from __future__ import annotations

from tests.outside.restarters import managed_stories


class User(managed_stories.Stories):
    scope = "user"

    def test_upgraded_and_gone_back_by_the_command_line_alone(self) -> None:
        self.by_the_command_line()

    def test_upgraded_and_gone_back_beside_serve(self) -> None:
        self.beside_serve()

    def test_a_helper_inside_the_unit_outlives_its_control_group(self) -> None:
        self.from_inside("control-group")

    def test_a_helper_inside_the_unit_outlives_it_under_mixed(self) -> None:
        self.from_inside("mixed")

    def test_a_helper_inside_the_unit_outlives_it_under_process(self) -> None:
        self.from_inside("process")

    def test_a_helper_inside_the_unit_outlives_it_under_none(self) -> None:
        self.from_inside("none")

    def test_without_systemd_run_the_helper_dies_and_the_next_who_starts_goes_on(self) -> None:
        self.from_inside_without_a_scope("control-group", dies=True)
        self.from_inside_without_a_scope("mixed", dies=True)

    def test_without_systemd_run_and_killed_by_nobody_the_helper_goes_on(self) -> None:
        self.from_inside_without_a_scope("process", dies=False)
