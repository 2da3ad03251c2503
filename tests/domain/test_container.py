"""Any one sign makes it a container; a machine has none."""

from __future__ import annotations

import unittest
from typing import Any

from hub_upgrade.domain import container
from hub_upgrade.domain.container import Container, Seen, recognise

MACHINE = Seen("systemd", "0::/system.slice/parachute-hub.service\n", False, False, {})
ID = "3f" * 32


def seen(**changes: Any) -> Container:
    return recognise(MACHINE._replace(**changes))


class Recognise(unittest.TestCase):
    def assert_sign(self, words: str, platform: str, **changes: Any) -> None:
        found = seen(**changes)
        self.assertEqual(len(found.signs), 1, found)
        self.assertIn(words, found.signs[0])
        self.assertEqual(found.platform, platform, changes)

    def test_a_machine_has_no_sign(self) -> None:
        self.assertEqual(seen(), Container((), ""))

    def test_process_1_is_an_init_on_a_machine(self) -> None:
        for name in ("systemd", "init", "launchd", "runit", "s6-svscan", "openrc-init", "upstart",
                     "init(Ubuntu)", "init(Debian-12"):  # fmt: skip
            self.assertEqual(seen(init=name), Container(), name)

    def test_any_other_process_1_is_a_sign_a_containers_init_too(self) -> None:
        for name in ("python3", "tini", "docker-init", "catatonit", "podman-init", "dumb-init",
                     "init.lxc", "bash", "pause", "bwrap", "systemd-x"):  # fmt: skip
            self.assert_sign(f"process 1 is {name}", container.OTHER, init=name)
        self.assert_sign("cannot be seen", container.OTHER, init="")

    def test_where_there_is_no_list_of_processes_it_is_no_sign(self) -> None:
        self.assertEqual(seen(init=None, cgroup=""), Container())

    def test_the_engines_files_are_signs(self) -> None:
        self.assert_sign("/.dockerenv", container.DOCKER, dockerenv=True)
        self.assert_sign("/run/.containerenv", container.PODMAN, containerenv=True)

    def test_the_platforms_variables_are_signs_unless_empty(self) -> None:
        for name, platform in (("KUBERNETES_SERVICE_HOST", "kubernetes"), ("RENDER", "render"),
                               ("FLY_APP_NAME", "fly")):  # fmt: skip
            self.assert_sign(name, platform, environ={name: "x"})
            self.assertEqual(seen(environ={name: ""}), Container())

    def test_the_usual_home_is_a_sign_however_it_is_spelt(self) -> None:
        for home in ("/parachute", "/parachute/", "//parachute", "/parachute//", "/./parachute/.",
                     "///parachute", "/srv/../parachute", " /parachute "):  # fmt: skip
            self.assert_sign("/parachute", container.OTHER, environ={"PARACHUTE_HOME": home})
        for home in ("", "/", "parachute", "/parachutes", "/parachute/home", "/srv/parachute"):
            self.assertEqual(seen(environ={"PARACHUTE_HOME": home}), Container(), home)

    def test_a_runtimes_control_group_is_a_sign(self) -> None:
        for group, platform in (
            (f"12:cpu:/\n11:memory:/docker/{ID}\n", "docker"),
            (f"0::/system.slice/docker-{ID}.scope\n", "docker"),
            (f"4:memory:/kubepods/burstable/pod1/{ID}\n", "kubernetes"),
            ("0::/kubepods.slice/kubepods-besteffort.slice/x.scope\n", "kubernetes"),
            ("0::/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:1\n",
             "kubernetes"),
            (f"0::/machine.slice/libpod-{ID}.scope/container\n", "podman"),
            (f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope\n",
             "podman"),
            (f"0::/system.slice/cri-containerd-{ID}.scope\n", "container"),
            (f"0::/system.slice/crio-{ID}.scope\n", "container"),
        ):  # fmt: skip
            self.assert_sign("control group", platform, cgroup=group)

    def test_machines_that_are_guests_and_services_named_like_engines_have_no_sign(self) -> None:
        for group in (
            "0::/", "", "0::/init.scope\n", "4:memory:/lxc/web\n", "0::/lxc.payload.web/\n",
            "0::/machine.slice/systemd-nspawn@web.service/payload\n",
            "0::/system.slice/docker.service\n", "0::/system.slice/containerd.service\n",
            "0::/user.slice/user-1000.slice/session-1.scope\n", "0::/system.slice/dockery.scope\n",
        ):  # fmt: skip
            self.assertEqual(seen(cgroup=group), Container(), group)

    def test_every_sign_is_told_and_the_service_tells_the_platform(self) -> None:
        found = seen(dockerenv=True, init="tini", environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
        self.assertEqual(len(found.signs), 3)
        self.assertEqual(found.platform, "kubernetes")
        both = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "RENDER": "true"}
        self.assertEqual(seen(environ=both).platform, "render")

    def test_a_name_stays_one_short_line(self) -> None:
        sign = seen(init="\x1b[31m\n" + "x" * 9999).signs[0]
        self.assertTrue(sign.isprintable())
        self.assertLess(len(sign), 200)


if __name__ == "__main__":
    unittest.main()
