"""The mount that a path lies on, found as the kernel finds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from hub_upgrade.domain.install import Mount
from hub_upgrade.host import mounts

MOVED = b"""\
22 27 0:21 / /proc rw,nosuid - proc proc rw
24 27 0:6 / /dev rw,nosuid - devtmpfs devtmpfs rw,size=1k
25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw
26 27 0:24 / /run rw,nosuid - tmpfs tmpfs rw,size=1k
27 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,discard
40 27 8:1 / /home rw,relatime shared:7 master:2 - xfs /dev/sda1 rw
"""


def point(mountinfo: bytes, path: str) -> str:
    found = mounts.covering(mountinfo, path)
    return found.point if found is not None else ""


def line(number: int, parent: int, where: str, root: str = "/", kind: str = "ext4") -> bytes:
    return f"{number} {parent} 8:1 {root} {where} rw - {kind} /dev/sda1 rw\n".encode()


class Covering(unittest.TestCase):
    def test_a_path_lies_on_the_mount_that_is_nearest_above_it(self) -> None:
        for path, where in (
            ("/", "/"), ("/var/lib/x", "/"), ("/home", "/home"), ("/home/me/x", "/home"),
            ("/homes", "/"), ("/home/", "/home"),
        ):  # fmt: skip
            self.assertEqual(point(MOVED, path), where, path)

    def test_what_was_moved_below_a_later_root_is_found_though_it_stands_before_it(self) -> None:
        for path, where in (("/run/x", "/run"), ("/dev/shm/x", "/dev/shm"), ("/dev/x", "/dev")):
            self.assertEqual(point(MOVED, path), where)

    def test_of_mounts_over_mounts_the_uppermost_counts(self) -> None:
        info = line(1, 0, "/") + line(2, 1, "/a", kind="xfs") + line(3, 2, "/a", kind="tmpfs")
        found = mounts.covering(info, "/a/b")
        assert found is not None
        self.assertEqual(found.kind, "tmpfs")
        found = mounts.covering(line(3, 2, "/a", kind="tmpfs") + line(1, 0, "/")
                                + line(2, 1, "/a", kind="xfs"), "/a")  # fmt: skip
        assert found is not None
        self.assertEqual(found.kind, "tmpfs")

    def test_a_mount_over_its_parent_hides_what_lies_below(self) -> None:
        info = line(1, 0, "/") + line(2, 1, "/a/b", kind="xfs") + line(3, 1, "/a", kind="tmpfs")
        self.assertEqual(point(info, "/a/b/c"), "/a")
        self.assertEqual(point(line(1, 0, "/") + line(2, 1, "/a/b") + line(3, 1, "/"), "/a/b"), "/")

    def test_a_root_over_the_first_root_counts(self) -> None:
        info = line(1, 1, "/", kind="rootfs") + line(20, 1, "/") + line(21, 20, "/home")
        found = mounts.covering(info, "/srv")
        assert found is not None
        self.assertEqual((found.kind, point(info, "/home/x")), ("ext4", "/home"))

    def test_without_a_mount_at_the_root_as_in_a_chroot_there_may_be_none(self) -> None:
        info = line(5, 2, "/proc", kind="proc")
        self.assertEqual((point(info, "/srv"), point(info, "/proc/1")), ("", "/proc"))
        self.assertEqual(point(b"", "/srv"), "")

    def test_all_fields_are_read_whatever_stands_between_them(self) -> None:
        text = (
            b"36 35 98:0 /volumes/a\\040b /mnt\\134x\\011y\\040z rw,noatime shared:1 master:2 - "
            b"overlay over\\040lay ro,lowerdir=/l,upperdir=/up\\054per,workdir=/w\n"
        )
        self.assertEqual(
            mounts.covering(text, "/mnt\\x\ty z/home"),
            Mount("/mnt\\x\ty z", "/volumes/a b", "overlay", "over lay", True, "/up,per"),
        )

    def test_read_only_is_the_mount_or_the_whole_file_system(self) -> None:
        for mount, whole, wanted in (
            (b"rw", b"rw", False), (b"ro,relatime", b"rw", True), (b"rw", b"rw,x,ro", True),
            (b"rw,errors=remount-ro", b"rw,error=ro", False),
        ):  # fmt: skip
            found = mounts.covering(b"1 0 8:1 / / %s - ext4 /dev/x %s\n" % (mount, whole), "/a")
            assert found is not None
            self.assertEqual(found.read_only, wanted, (mount, whole))

    def test_an_empty_source_is_one(self) -> None:
        found = mounts.covering(b"1 0 0:5 / / rw - tmpfs  rw\n", "/a")
        assert found is not None
        self.assertEqual((found.kind, found.source), ("tmpfs", ""))

    def test_what_is_no_list_of_mounts_is_an_error_and_no_answer(self) -> None:
        good = b"1 0 8:1 / / rw - ext4 /dev/x rw\n"
        for bad in (
            b"x", b"1 0 8:1 /", b"1 0 8:1 / / rw ext4 /dev/x rw", b"1 0 8:1 / / - ext4 x rw",
            b"1 0 8:1 / / rw - ext4", b"2 1 8:1 / /a\\04 rw - x x rw", b"2 1 8:1 / /\\9 rw - x x x",
            b"2 1 8:1 / /\\777 rw - x x x", b"\0" * 9, b"\xff" * 9,
        ):  # fmt: skip
            with self.assertRaises(ValueError, msg=bad):
                mounts.covering(good + bad + b"\n", "/a")

    def test_no_tree_however_odd_is_walked_for_ever(self) -> None:
        info = line(1, 2, "/") + line(2, 1, "/") + line(3, 3, "/a") + line(3, 3, "/a")
        self.assertIn(point(info, "/a/b"), ("", "/", "/a"))

    def test_names_that_are_no_text_are_compared_as_they_are(self) -> None:
        info = line(1, 0, "/") + b"2 1 8:1 / /\xff\xc3\xa9 rw - ext4 /dev/x rw\n"
        self.assertEqual(point(info, os.fsdecode(b"/\xff\xc3\xa9/home")), "/\udcffé")


@unittest.skipUnless(sys.platform.startswith("linux"), "mountinfo is Linux's")
class Real(unittest.TestCase):
    def test_this_machines_mounts_are_those_that_the_kernel_says(self) -> None:
        listed = mounts.read()
        for path in ("/", "/proc", "/dev/shm", "/sys", tempfile.gettempdir()):
            if not os.path.isdir(path):
                continue
            above = os.path.realpath(path)
            while not os.path.ismount(above):
                above = os.path.dirname(above)
            self.assertEqual(point(listed, os.path.realpath(path)), above)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("unshare"), "needs root and unshare")
    def test_mounts_over_mounts_are_told_as_the_kernel_does(self) -> None:
        script = """
            set -e
            mkdir -p "$1/a/b" && cd "$1"
            mount -t tmpfs first a && mkdir a/b && mount -t tmpfs second a/b
            mount -t tmpfs "a third" a/b && cat /proc/self/mountinfo
            echo ---
            mount --bind a "$1" && cat /proc/self/mountinfo
        """
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run(
                ["unshare", "--mount", "sh", "-c", script, "sh", directory],
                capture_output=True, check=True,
            )  # fmt: skip
            first, _, second = done.stdout.partition(b"---\n")
            for listed, path, source in (
                (first, "/a", "first"), (first, "/a/b/c", "a third"), (second, "", "first"),
                (second, "/a/b", "first"),
            ):  # fmt: skip
                found = mounts.covering(listed, os.path.realpath(directory) + path)
                assert found is not None
                self.assertEqual(found.source, source, path)


if __name__ == "__main__":
    unittest.main()
