"""What real systems show, from their lists of mounts to the decision."""

from __future__ import annotations

import os
import shutil
import tempfile
import unittest
from typing import NamedTuple
from unittest import mock

from hub_upgrade.domain.container import Seen, recognise
from hub_upgrade.domain.install import PYZ, Decision, Facts, decide
from hub_upgrade.host import container, facts, mounts
from hub_upgrade.host.files import Home

ID = "0f9c" * 16
SERVICE = "0::/system.slice/parachute-hub.service\n"
MACHINE = Seen("systemd", SERVICE, False, False, {})
DOCKER = Seen("python3", "0::/\n", True, False, {"PARACHUTE_HOME": "/parachute"})
PODMAN = Seen("python3", "0::/\n", False, True, {"PARACHUTE_HOME": "/parachute/"})
POD = Seen("python3", "0::/\n", False, False, {"KUBERNETES_SERVICE_HOST": "10.96.0.1"})
RENDER = Seen("python3", "0::/\n", False, False, {"RENDER": "true"})
FLY = Seen("init", "0::/\n", False, False, {"FLY_APP_NAME": "parachute"})

OVERLAY = (
    "701 600 0:55 / / rw,relatime master:200 - overlay overlay rw,lowerdir=/var/lib/docker/"
    "overlay2/l/A:/var/lib/docker/overlay2/l/B,upperdir=/var/lib/docker/overlay2/x/diff,"
    "workdir=/var/lib/docker/overlay2/x/work\n"
    "702 701 0:58 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n"
    "703 701 0:59 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755\n"
    "713 701 254:1 /var/lib/docker/containers/x/hosts /etc/hosts rw,relatime - ext4 /dev/vda1 rw\n"
)
DISK = "25 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,discard,errors=remount-ro\n"
BOOTED = (
    "22 27 0:21 / /proc rw - proc proc rw\n26 27 0:24 / /run rw shared:5 - tmpfs tmpfs rw\n"
    "27 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
    "60 26 0:50 / /run/user/1000 rw shared:9 - tmpfs tmpfs rw,size=1k\n"
    "61 27 0:51 / /tmp rw shared:11 - tmpfs tmpfs rw\n"
)


def volume(root: str, rest: str = "rw,relatime - ext4 /dev/vda1 rw", at: str = "/parachute") -> str:
    return f"714 701 254:1 {root} {at} {rest}\n"


KUBELET = "/var/lib/kubelet/pods/9d1/volumes/"
LIVE = (
    "30 1 0:28 / / rw - overlay overlay rw,lowerdir=/run/live/rootfs/filesystem.squashfs,"
    "upperdir=/run/live/overlay/rw,workdir=/run/live/overlay/work\n"
    "31 30 0:24 / /run rw - tmpfs tmpfs rw\n32 31 0:25 / /run/live/overlay rw - tmpfs tmpfs rw\n"
)


class Case(NamedTuple):
    """One system, and what is right for a hub whose home is `home` there."""

    name: str
    seen: Seen
    mountinfo: str
    in_place: bool
    words: str
    home: str = "/parachute"


CASES = (
    Case("docker", DOCKER, OVERLAY, False, "docker run -v parachute:/parachute"),
    Case("docker, named volume", DOCKER,
         OVERLAY + volume("/var/lib/docker/volumes/parachute/_data"), True, "mount of its own"),
    Case("docker, data on a disk of its own", DOCKER,
         OVERLAY + volume("/volumes/parachute/_data"), True, "mount of its own"),
    Case("docker, a VOLUME without a name", DOCKER,
         OVERLAY + volume(f"/var/lib/docker/volumes/{ID}/_data"), False, "without a name"),
    Case("docker, a directory of the host", DOCKER, OVERLAY + volume("/srv/hub"), True, "own"),
    Case("docker, :ro", DOCKER, OVERLAY + volume("/srv/hub", "ro - ext4 /dev/vda1 rw"), False,
         "without :ro"),
    Case("docker, --tmpfs", DOCKER, OVERLAY + volume("/", "rw - tmpfs tmpfs rw"), False, "memory"),
    Case("docker, tmpfs over releases", DOCKER, OVERLAY + volume("/srv/hub")
         + "800 714 0:77 / /parachute/releases rw - tmpfs tmpfs rw\n", False, "tmpfs"),
    Case("docker, a volume for releases alone", DOCKER,
         OVERLAY + volume("/srv/r", at="/parachute/releases"), True, "mount of its own"),
    Case("docker, a volume beside home", DOCKER, OVERLAY + volume("/srv/hub", at="/parachute2"),
         False, "overlay at /"),
    Case("docker, home elsewhere", DOCKER, OVERLAY + volume("/srv/hub"), False,
         "docker run -v parachute:/root/.parachute", "/root/.parachute"),
    Case("docker on btrfs", DOCKER,
         "90 80 0:33 /@/var/lib/docker/btrfs/subvolumes/x / rw - btrfs /dev/sda2 rw,subvol=/x\n",
         False, "btrfs at /"),
    Case("docker on zfs", DOCKER, "90 80 0:33 / / rw - zfs rpool/docker/x rw\n", False, "zfs at /"),
    Case("docker, --read-only", DOCKER, OVERLAY.replace("/ / rw", "/ / ro", 1), False,
         "docker run -v parachute:/parachute"),
    Case("docker, --read-only with a volume", DOCKER,
         OVERLAY.replace("/ / rw", "/ / ro", 1) + volume("/srv/hub"), True, "mount of its own"),
    Case("docker, NFS volume", DOCKER, OVERLAY
         + volume("/", "rw - nfs4 10.0.0.5:/export rw,vers=4.2,addr=10.0.0.5"), True, "own"),
    Case("docker with an init", DOCKER._replace(init="docker-init"), OVERLAY, False, "docker run"),
    Case("docker in a sandbox's overlay", DOCKER, OVERLAY
         + volume("/srv/hub", "rw - overlay overlay rw,upperdir=/u"), True, "mount of its own"),
    Case("podman", PODMAN, OVERLAY, False, "podman run -v parachute:/parachute"),
    Case("podman, rootless", PODMAN, "90 80 0:61 / / rw - fuse.fuse-overlayfs fuse-overlayfs rw\n",
         False, "podman run"),
    Case("podman, named volume", PODMAN, OVERLAY
         + volume("/home/me/.local/share/containers/storage/volumes/parachute/_data"), True, "own"),
    Case("podman, :O", PODMAN, OVERLAY + volume("/", "rw - overlay overlay rw,upperdir=/u"), False,
         "whose changes go with its container"),
    Case("pod", POD, OVERLAY, False, "image's tag"),
    Case("pod, emptyDir", POD, OVERLAY + volume(KUBELET + "kubernetes.io~empty-dir/data"), False,
         "PersistentVolumeClaim at /parachute, not an emptyDir"),
    Case("pod, emptyDir's subPath", POD, OVERLAY
         + volume("/pods/9d1/volumes/kubernetes.io~empty-dir/data/sub"), False, "emptyDir"),
    Case("pod, emptyDir in memory", POD, OVERLAY + volume("/", "rw - tmpfs tmpfs rw,size=1k"),
         False, "memory"),
    Case("pod, claim", POD, OVERLAY + volume("/", "rw,relatime - ext4 /dev/sdb rw"), True, "own"),
    Case("pod, claim on hostPath", POD, OVERLAY + volume("/opt/local-path/pvc-1"), True, "own"),
    Case("pod, an image's VOLUME", POD, OVERLAY + volume(
        f"/var/lib/containerd/io.containerd.grpc.v1.cri/containers/{ID}/volumes/{ID}"), False,
         "without a name"),
    Case("Render", RENDER, OVERLAY, False, "persistent disk with the mount path /parachute"),
    Case("Render, disk", RENDER, OVERLAY + volume("/", "rw - ext4 /dev/nvme1n1 rw"), True, "own"),
    Case("Fly", FLY, "20 1 254:0 / / rw,relatime - ext4 /dev/vdb rw\n", False, "fly deploy"),
    Case("Fly, volume", FLY, "20 1 254:0 / / rw - ext4 /dev/vdb rw\n21 20 254:16 / /parachute rw "
         "- ext4 /dev/vdc rw\n", True, "mount of its own"),
    Case("bubblewrap", MACHINE._replace(init="bwrap"),
         "90 80 254:1 /srv/root / rw,nosuid - ext4 /dev/vda1 rw\n", False, "ext4 at /"),
    Case("unshare --pid with a tmpfs root", MACHINE._replace(init="python3"),
         "90 80 0:40 / / rw - tmpfs tmpfs rw\n", False, "memory"),
    Case("machine", MACHINE, DISK, True, "storage that survives"),
    Case("machine, booted by an initramfs", MACHINE, BOOTED, True, "storage", "/var/lib/hub"),
    Case("machine, home in /run", MACHINE, BOOTED, False, "tmpfs", "/run/hub"),
    Case("machine, home in a session's /run", MACHINE, BOOTED, False, "/run/user/1000 is a tmpfs",
         "/run/user/1000/hub"),
    Case("machine, home in a /tmp in memory", MACHINE, BOOTED, False, "--config-dir", "/tmp/hub"),
    Case("machine, /usr and / read-only", MACHINE, DISK.replace(" rw,", " ro,", 1), False,
         "mount -o remount,rw /"),
    Case("machine, a disk that errors made read-only", MACHINE,
         BOOTED + "70 27 8:1 / /srv rw - ext4 /dev/sda1 ro,errors=remount-ro\n", False,
         "remount,rw /srv", "/srv/hub"),
    Case("machine, home on NFS", MACHINE, BOOTED
         + "70 27 0:60 / /home rw - nfs4 nas:/home rw\n", True, "storage", "/home/me/.parachute"),
    Case("machine, ProtectSystem=strict", MACHINE, "500 400 254:1 / / ro shared:1 - ext4 /dev/vda1 "
         "rw\n501 500 254:1 /var/lib/hub /var/lib/hub rw - ext4 /dev/vda1 rw\n", True, "storage",
         "/var/lib/hub"),
    Case("WSL 2", MACHINE._replace(init="init(Ubuntu)", cgroup="0::/\n"),
         "70 60 8:32 / / rw,relatime - ext4 /dev/sdc rw\n71 70 0:60 / /mnt/c rw - 9p C:\\134 rw\n",
         True, "storage", "/home/me/.parachute"),
    Case("lxc with an init", MACHINE._replace(init="init", cgroup="4:memory:/lxc/web\n"),
         "300 200 0:30 /web/rootfs / rw - zfs tank/lxc/web rw\n", True, "storage"),
    Case("lxc without an init", MACHINE._replace(init="init.lxc", cgroup="4:memory:/lxc/web\n"),
         "300 200 0:30 /web/rootfs / rw - zfs tank/lxc/web rw\n", False, "zfs at /"),
    Case("systemd-nspawn --boot", MACHINE._replace(cgroup="0::/system.slice/hub.service\n"),
         "300 200 254:1 /var/lib/machines/web / rw - ext4 /dev/vda1 rw\n", True, "storage"),
    Case("systemd-nspawn --volatile", MACHINE, "300 200 0:99 / / rw - tmpfs tmpfs rw\n", False,
         "memory"),
    Case("live medium", MACHINE, LIVE, False, "live in memory"),
    Case("live medium whose upper layer is hidden", MACHINE,
         LIVE.replace("/run/live/overlay/rw", "/cow/upper"), False, "cannot be told"),
    Case("OpenWrt", MACHINE._replace(init="procd"),
         "14 1 0:12 / / rw - overlay overlayfs:/overlay rw,lowerdir=/,upperdir=/overlay/upper\n"
         "15 14 31:6 / /overlay rw - jffs2 /dev/mtdblock6 rw\n", True, "storage"),
    Case("chroot", MACHINE, "5 2 0:5 / /proc rw - proc proc rw\n", False, "cannot be told"),
)  # fmt: skip


def decided(case: Case) -> Decision:
    mount, upper = facts.storage(case.mountinfo.encode(), case.home + "/releases")
    return decide(
        Facts(
            source=PYZ, home=case.home, releases=case.home + "/releases", releases_writable=True,
            mount=mount, upper=upper, no_mount="" if mount else "no mount", persists=None,
            container=recognise(case.seen),
        )
    )  # fmt: skip


class Systems(unittest.TestCase):
    def test_every_known_system_is_decided_rightly_and_told_why(self) -> None:
        for case in CASES:
            decision = decided(case)
            wanted = "in-place" if case.in_place else "redeploy-required"
            self.assertEqual(decision.mode, wanted, (case.name, decision))
            self.assertIn(case.words, decision.reason, case.name)

    def test_the_names_of_the_cases_are_their_own(self) -> None:
        self.assertEqual(len({case.name for case in CASES}), len(CASES))


class Probe(unittest.TestCase):
    def setUp(self) -> None:
        self.directory = os.path.realpath(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.home = Home(os.path.join(self.directory, "home"))

    def probe(self, trouble: str | None = None, persists: bool | None = None) -> Facts:
        return facts.probe(self.home, trouble, persists)

    def listed(self, text: str) -> mock._patch[object]:
        path = os.path.join(self.directory, "mountinfo")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return mock.patch.object(mounts, "MOUNTINFO", path)

    def test_a_home_that_is_not_there_yet_is_judged_by_what_it_will_lie_on(self) -> None:
        with self.listed(DISK + f"714 25 8:1 / {self.directory} rw - xfs /dev/sdb rw\n"):
            found = self.probe()
        assert found.mount is not None
        self.assertEqual((found.mount.kind, found.releases_writable), ("xfs", True))
        self.assertFalse(os.path.exists(self.home.root), "nothing is made")

    def test_links_are_followed_to_where_releases_lie(self) -> None:
        elsewhere = os.path.join(self.directory, "elsewhere")
        os.makedirs(elsewhere + "/releases")
        os.symlink("elsewhere", self.home.root)
        with self.listed(DISK + f"714 25 0:9 / {elsewhere} rw - tmpfs tmpfs rw\n"):
            found = self.probe()
        assert found.mount is not None
        self.assertEqual(found.mount.kind, "tmpfs")

    def test_what_takes_no_files_is_not_writable(self) -> None:
        os.mkdir(self.home.root)
        self.assertTrue(self.probe().releases_writable)
        with open(self.home.releases, "wb"):
            pass
        self.assertIs(self.probe().releases_writable, False)
        os.unlink(self.home.releases)
        os.symlink("nowhere", self.home.releases)
        self.assertIs(self.probe().releases_writable, False)

    def test_what_cannot_be_read_or_understood_is_told_and_no_answer(self) -> None:
        for text, words in (("nonsense\n", "not what it should be"), ("", "no mount"),
                            ("5 2 0:5 / /proc rw - proc proc rw\n", "no mount")):  # fmt: skip
            with self.listed(text):
                found = self.probe()
            self.assertIsNone(found.mount)
            self.assertIn(words, found.no_mount)
            self.assertEqual(decide(found).mode, "redeploy-required")
        with mock.patch.object(mounts, "MOUNTINFO", self.directory + "/none"):
            self.assertIn("No such file", self.probe().no_mount)

    def test_macos_has_no_list_and_the_write_probe_decides(self) -> None:
        os.mkdir(self.home.root)
        with mock.patch("sys.platform", "darwin"), \
                mock.patch.object(container, "look", return_value=recognise(MACHINE)), \
                mock.patch.object(mounts, "MOUNTINFO", "/nonexistent"):  # fmt: skip
            self.assertEqual(decide(self.probe()).mode, "in-place")
            with mock.patch("os.access", return_value=False):
                self.assertEqual(decide(self.probe()).mode, "redeploy-required")

    def test_trouble_and_the_operators_word_are_handed_on(self) -> None:
        found = self.probe("it is theirs", persists=True)
        self.assertEqual((found.trouble, found.persists), ("it is theirs", True))
        self.assertIsNone(found.releases_writable, "where nothing is kept nothing is probed")
        self.assertEqual((found.home, found.source), (self.home.root, "pyz"))

    def test_the_environment_is_looked_at(self) -> None:
        with mock.patch.dict(os.environ, {"FLY_APP_NAME": "x"}):
            self.assertIn("FLY_APP_NAME is set", container.look().signs)

    def test_where_process_1_is_hidden_systemds_own_sign_counts(self) -> None:
        with mock.patch.object(container, "_read", return_value=""):
            for there, name in ((True, "systemd"), (False, "")):
                with mock.patch("os.path.isdir", return_value=there):
                    self.assertEqual(container._name_of_process_1(), name)


if __name__ == "__main__":
    unittest.main()
