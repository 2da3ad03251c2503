"""In place only when nothing speaks against it, and advice that fits where it is given."""

from __future__ import annotations

import unittest

from hub_upgrade.domain.container import Container
from hub_upgrade.domain.install import Decision, Facts, Mount, decide

DISK = Mount("/", "/", "ext4", "/dev/sda1", read_only=False)
VOLUME = Mount("/parachute", "/data", "ext4", "/dev/sdb1", read_only=False)
MEMORY = Mount("/parachute", "/", "tmpfs", "tmpfs", read_only=False)
IMAGE = Mount("/", "/", "overlay", "overlay", read_only=False, upper="/var/lib/x/diff")
HOME = "/parachute"
RELEASES = "/parachute/releases"
GOOD = Facts("pyz", HOME, RELEASES, releases_writable=True, mount=DISK)
PLATFORMS = ("render", "fly", "kubernetes", "podman", "docker", "container")


def inside(platform: str = "docker") -> Container:
    return Container(("/.dockerenv exists",), platform)


class Decide(unittest.TestCase):
    def assert_redeploy(self, facts: Facts, *words: str) -> Decision:
        decision = decide(facts)
        self.assertEqual(decision.mode, "redeploy-required", decision)
        for word in words:
            self.assertIn(word, decision.reason)
        return decision

    def test_a_writable_place_on_a_machines_disk_is_in_place(self) -> None:
        decision = decide(GOOD)
        self.assertEqual((decision.mode, decision.source), ("in-place", "pyz"))
        self.assertEqual(
            decision.evidence,
            ("installed as: pyz", "machine: no sign of a container",
             "storage: /parachute/releases lies on / (ext4, /dev/sda1)",
             "/parachute/releases: writable"),
        )  # fmt: skip

    def test_every_doubt_means_redeploy_and_says_what_to_do(self) -> None:
        doubts = {
            "chown": GOOD._replace(trouble="it cannot be written; mend it with: chown"),
            "cannot be told": GOOD._replace(source="unknown"),
            "releases cannot be written": GOOD._replace(releases_writable=False),
            "/parachute/releases cannot": GOOD._replace(releases_writable=None),
            "tmpfs, which lives in memory": GOOD._replace(mount=MEMORY),
            "(it is gone)": GOOD._replace(mount=None, no_mount="it is gone"),
            "cannot": Facts(),
        }
        for words, facts in doubts.items():
            decision = self.assert_redeploy(facts, words)
            self.assertIn("replace the installed hub.pyz", decision.reason)

    def test_a_system_without_a_list_of_mounts_is_believed_on_a_machine_alone(self) -> None:
        facts = GOOD._replace(mount=None)
        self.assertEqual(decide(facts).mode, "in-place")
        self.assert_redeploy(facts._replace(container=inside()), "cannot be told")
        self.assert_redeploy(facts._replace(releases_writable=False), "cannot be written")

    def test_in_a_container_only_a_mount_of_its_own_survives(self) -> None:
        facts = GOOD._replace(container=inside())
        decision = decide(facts._replace(mount=VOLUME))
        self.assertEqual(decision.mode, "in-place", decision)
        self.assertIn("a mount of its own", decision.reason)
        for kind in ("overlay", "ext4", "btrfs", "zfs", "xfs", "fuse.fuse-overlayfs", "virtiofs"):
            root = DISK._replace(kind=kind)
            self.assert_redeploy(facts._replace(mount=root), f"own files ({kind} at /)")

    def test_what_is_gone_after_a_restart_is_so_everywhere(self) -> None:
        for container in (Container(), inside()):
            facts = GOOD._replace(container=container)
            for mount, words in (
                (MEMORY, "tmpfs"),
                (MEMORY._replace(kind="ramfs"), "ramfs"),
                (VOLUME._replace(read_only=True), "/parachute is mounted read-only"),
                (VOLUME._replace(root="/pods/1/volumes/kubernetes.io~empty-dir/x"), "emptyDir"),
            ):
                self.assert_redeploy(facts._replace(mount=mount), words)

    def test_a_volume_that_goes_with_its_container_is_none(self) -> None:
        facts = GOOD._replace(container=inside())
        name = "0123456789abcdef" * 4
        for root, words in (
            (f"/var/lib/docker/volumes/{name}/_data", "without a name"),
            (f"/storage/volumes/{name}/_data", "without a name"),
            (f"/var/lib/containerd/io.containerd.grpc.v1.cri/containers/{name}/volumes/{name}",
             "without a name"),
            (f"/var/lib/containers/storage/overlay-containers/{name}/userdata/x", "without a name"),
        ):  # fmt: skip
            self.assert_redeploy(facts._replace(mount=VOLUME._replace(root=root)), words)
        for root in (
            "/var/lib/docker/volumes/parachute/_data", f"/var/lib/docker/volumes/x{name}/_data",
            f"/srv/{name}/_data", "/volumes/",
        ):  # fmt: skip
            decision = decide(facts._replace(mount=VOLUME._replace(root=root)))
            self.assertEqual(decision.mode, "in-place", root)

    def test_an_overlay_over_a_volume_is_none_and_a_volume_from_an_overlay_is_one(self) -> None:
        facts = GOOD._replace(container=inside())
        over = VOLUME._replace(kind="overlay", root="/")
        self.assert_redeploy(facts._replace(mount=over), "/parachute is an overlay")
        self.assertEqual(decide(facts._replace(mount=over._replace(root="/x"))).mode, "in-place")

    def test_an_overlay_on_a_machine_is_what_its_upper_layer_is(self) -> None:
        facts = GOOD._replace(mount=IMAGE)
        self.assert_redeploy(facts._replace(upper=MEMORY), "an overlay, live in memory")
        self.assert_redeploy(facts._replace(upper=IMAGE), "cannot be told")
        self.assert_redeploy(facts, "cannot be told")
        decision = decide(facts._replace(upper=DISK._replace(point="/overlay", kind="jffs2")))
        self.assertEqual(decision.mode, "in-place")
        self.assertIn("upper layer lies on /overlay (jffs2", " ".join(decision.evidence))

    def test_the_operators_word_comes_before_the_evidence_which_is_told_all_the_same(self) -> None:
        facts = GOOD._replace(container=inside(), mount=IMAGE, persists=True)
        decision = decide(facts)
        self.assertEqual(decision.mode, "in-place")
        self.assertIn("hub.json says that home survives a restart", decision.reason)
        told = " ".join(decision.evidence)
        for words in ("hub.json: home survives", "container: /.dockerenv exists", "(overlay,"):
            self.assertIn(words, told)
        self.assertEqual(decide(facts._replace(mount=None, no_mount="x")).mode, "in-place")
        no = GOOD._replace(persists=False)
        self.assertIn("does not survive", self.assert_redeploy(no, "hub.json").evidence[-1])

    def test_the_operators_word_makes_nothing_writable_and_no_source_known(self) -> None:
        facts = GOOD._replace(persists=True)
        for change in (
            {"mount": VOLUME._replace(read_only=True)}, {"releases_writable": False},
            {"trouble": "x"}, {"source": "unknown"},
        ):  # fmt: skip
            self.assert_redeploy(facts._replace(**change))


class Advice(unittest.TestCase):
    def reason(self, facts: Facts) -> str:
        decision = decide(facts)
        self.assertEqual(decision.mode, "redeploy-required")
        self.assertNotIn("{", decision.reason)
        self.assertTrue(decision.reason.endswith("."))
        return decision.reason

    def test_in_a_container_it_is_the_platforms_new_image_or_storage_at_home(self) -> None:
        for platform, words in {
            "render": ("Deploy the newer image or build", "persistent disk", "path /parachute"),
            "fly": ("fly deploy", "fly volumes create", 'destination = "/parachute"'),
            "kubernetes": ("image's tag", "PersistentVolumeClaim at /parachute"),
            "podman": ("podman-compose pull", "podman run -v parachute:/parachute"),
            "docker": ("docker compose pull", "docker run -v parachute:/parachute"),
            "container": ("newer image", "storage that outlives it at /parachute"),
        }.items():
            facts = GOOD._replace(container=inside(platform), mount=IMAGE)
            for word in words:
                self.assertIn(word, self.reason(facts), platform)
                self.assertIn(word, self.reason(facts._replace(mount=MEMORY)), platform)

    def test_what_is_mounted_read_only_is_to_be_writable(self) -> None:
        facts = GOOD._replace(mount=VOLUME._replace(read_only=True))
        self.assertIn("mount -o remount,rw /parachute", self.reason(facts))
        for platform, words in {
            "kubernetes": "without readOnly: true", "docker": "without :ro", "podman": "without :ro"
        }.items():  # fmt: skip
            self.assertIn(words, self.reason(facts._replace(container=inside(platform))))

    def test_rights_are_mended_where_somebody_has_them(self) -> None:
        facts = GOOD._replace(mount=VOLUME, trouble="x; mend it with: chown -R 1000 /parachute")
        self.assertIn("chown -R 1000 /parachute. Mend that, or", self.reason(facts))
        for platform, words in {
            "kubernetes": "fsGroup", "docker": "docker exec --user 0", "render": "as root"
        }.items():  # fmt: skip
            self.assertIn(words, self.reason(facts._replace(container=inside(platform))))

    def test_a_read_only_image_is_told_to_get_a_volume_and_not_to_change_owners(self) -> None:
        root = IMAGE._replace(read_only=True)
        facts = GOOD._replace(container=inside(), mount=root, trouble="Read-only file system")
        self.assertIn("or keep home on a named volume: docker run -v", self.reason(facts))

    def test_only_where_the_evidence_may_err_the_operators_word_is_asked_for(self) -> None:
        word = '"home_persists": true in /parachute/hub.json'
        for mount in (IMAGE, DISK):
            self.assertIn(word, self.reason(GOOD._replace(container=inside(), mount=mount)))
        for mount in (MEMORY, VOLUME._replace(read_only=True)):
            self.assertNotIn(word, self.reason(GOOD._replace(mount=mount)))

    def test_an_odd_home_is_quoted_and_never_a_second_line(self) -> None:
        odd = "/my home/{it's}"
        facts = GOOD._replace(home=odd, releases=odd + "/releases", mount=IMAGE)
        for platform in PLATFORMS:
            decision = decide(facts._replace(container=inside(platform)))
            self.assertIn("'/my home/{it'\\''s}'", decision.reason.replace('"', ""), platform)
        mount = Mount("/a\n\x1b[0m", "/", "x\ny", "s" * 9999, read_only=True)
        decision = decide(GOOD._replace(mount=mount))
        for line in decision.evidence:
            self.assertTrue(line.isprintable(), line)
            self.assertLess(len(line), 400)


if __name__ == "__main__":
    unittest.main()
