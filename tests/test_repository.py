"""The release repository: readers see all of a publication or nothing, and believe only owners."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from hub_upgrade import repository
from hub_upgrade.errors import HostError, RefusedError, UsageError
from hub_upgrade.host import files


def publish_some(directory: str, first: int) -> None:
    """Publish ten releases; runs in a process of its own."""
    for number in range(first, first + 10):
        file = Path(directory).parent / f"file-{number}"
        file.write_bytes(b"release %d" % number)
        repository.publish(directory, "latest", str(file), f"1.0.{number}")


class Case(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.addCleanup(os.umask, os.umask(0o022))  # what a group can write is refused
        self.root = Path(holder.name)
        self.directory = str(self.root / "repository")

    def publish(self, version: str, channel: str = "latest", data: bytes | None = None) -> str:
        file = self.root / "file"
        file.write_bytes(version.encode() * 1000 if data is None else data)
        return repository.publish(self.directory, channel, str(file), version)

    def metadata(self, name: str) -> dict[str, Any]:
        return dict(json.loads((Path(self.directory) / "metadata" / name).read_text()))

    def refused(self, part: str) -> None:
        with self.assertRaises(RefusedError) as caught:
            repository.read(self.directory)
        self.assertEqual(caught.exception.code, "no_release_source")
        self.assertIn(part, caught.exception.sentence)


class Publishing(Case):
    def test_a_channel_points_to_what_was_published_last(self) -> None:
        first = self.publish("1.0.0")
        second = self.publish("v1.1.0")
        found = repository.read(self.directory)
        latest = found.channel("latest")
        assert latest is not None
        self.assertEqual((latest.version, latest.digest), ("1.1.0", second))
        self.assertIsNone(found.channel("rc"))
        old = found.exact("v1.0.0+any")
        assert old is not None
        self.assertEqual((old.digest, old.channels), (first, ()))

    def test_a_channel_may_go_back_to_an_older_version(self) -> None:
        for version in ("1.0.0", "1.1.0", "1.0.0"):
            self.publish(version)
        latest = repository.read(self.directory).channel("latest")
        self.assertEqual(latest and latest.version, "1.0.0")

    def test_the_same_file_can_be_in_both_channels(self) -> None:
        self.publish("1.0.0", "rc")
        self.publish("1.0.0", "latest")
        found = repository.read(self.directory)
        self.assertEqual(len(found.targets), 1)
        self.assertEqual(found.channel("rc"), found.channel("latest"))

    def test_publishing_again_changes_nothing(self) -> None:
        self.publish("1.0.0")
        before = sorted(os.listdir(Path(self.directory) / "metadata"))
        self.publish("1.0.0")
        self.assertEqual(sorted(os.listdir(Path(self.directory) / "metadata")), before)

    def test_publishing_again_mends_a_damaged_file(self) -> None:
        digest = self.publish("1.0.0")
        stored = Path(self.directory) / "targets" / f"{digest}.hub-1.0.0.pyz"
        stored.write_bytes(b"")
        self.publish("1.0.0")
        self.assertEqual(files.sha256_file(str(stored)), digest)

    def test_a_version_with_other_bytes_is_refused(self) -> None:
        self.publish("1.0.0")
        for same in ("1.0.0", "1.0.0+other"):
            with self.assertRaises(RefusedError) as caught:
                self.publish(same, "rc", b"other")
            self.assertEqual(caught.exception.code, "version_exists")
        self.assertIsNone(repository.read(self.directory).channel("rc"))

    def test_nothing_is_published_for_a_bad_channel_version_or_file(self) -> None:
        for channel, version in (("beta", "1.0.0"), ("latest", "1.0"), ("latest", "../1.0.0")):
            with self.assertRaises(UsageError):
                self.publish(version, channel)
        with self.assertRaises(RefusedError):
            self.publish("1.0.0", data=b"")
        with self.assertRaises(RefusedError):
            repository.publish(self.directory, "latest", "/dev/zero", "1.0.0")
        self.assertFalse(os.path.exists(self.directory))

    def test_the_layout_is_the_update_frameworks(self) -> None:
        digest = self.publish("1.0.0")
        self.publish("1.1.0-rc.1", "rc")
        directory = Path(self.directory)
        self.assertTrue((directory / "targets" / f"{digest}.hub-1.0.0.pyz").is_file())
        root = self.metadata("1.root.json")
        self.assertIs(root["signed"]["consistent_snapshot"], True)
        self.assertEqual(set(root["signed"]["roles"]), {"root", "timestamp", "snapshot", "targets"})
        above = self.metadata("timestamp.json")["signed"]["meta"]
        for role in ("snapshot", "targets"):
            entry = above[f"{role}.json"]
            name = f"{entry['version']}.{role}.json"
            data = (directory / "metadata" / name).read_bytes()
            self.assertEqual(entry["length"], len(data))
            self.assertEqual(entry["hashes"], {"sha256": files.sha256(data)})
            value = self.metadata(name)
            self.assertEqual((value["signatures"], value["signed"]["_type"]), ([], role))
            above = value["signed"].get("meta")
        target = value["signed"]["targets"]["hub-1.0.0.pyz"]
        self.assertEqual(target["custom"], {"version": "1.0.0", "channels": ["latest"]})

    def test_old_metadata_and_what_a_dead_publisher_left_are_cleared(self) -> None:
        self.publish("1.0.0")
        leftover = Path(self.directory) / "targets" / ".x.0123.tmp"
        leftover.write_text("half")
        for number in range(repository.KEPT_METADATA + 5):
            self.publish(f"2.0.{number}")
        self.assertFalse(leftover.exists())
        names = os.listdir(Path(self.directory) / "metadata")
        self.assertEqual(len(names), 2 + 2 * repository.KEPT_METADATA)
        self.assertIsNotNone(repository.read(self.directory).exact("1.0.0"))

    def test_a_publication_that_stops_anywhere_is_not_seen(self) -> None:
        self.publish("1.0.0")
        write = files.write_durably
        for allowed in range(4):
            left = [allowed]

            def stop(path: str, data: bytes, mode: int = 0o600, left: list[int] = left) -> None:
                if not left[0]:
                    raise OSError(28, "No space left on device", path)
                left[0] -= 1
                write(path, data, mode)

            with mock.patch.object(files, "write_durably", stop), self.assertRaises(OSError):
                self.publish("1.1.0")
            found = repository.read(self.directory)
            self.assertEqual([target.version for target in found.targets], ["1.0.0"])
        self.publish("1.1.0")
        self.assertEqual(len(repository.read(self.directory).targets), 2)

    def test_publishers_wait_for_each_other_and_readers_see_whole_states(self) -> None:
        self.publish("0.0.1")
        context = multiprocessing.get_context("spawn")
        starts = (10, 30)
        writers = [
            context.Process(target=publish_some, args=(self.directory, start)) for start in starts
        ]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            found = repository.read(self.directory)
            self.assertIsNotNone(found.channel("latest"))
        for writer in writers:
            writer.join()
            self.assertEqual(writer.exitcode, 0)
        self.assertEqual(len(repository.read(self.directory).targets), 21)

    def test_a_publisher_that_never_ends_is_not_waited_for_for_ever(self) -> None:
        self.publish("1.0.0")
        lock = files.Lock.try_take(os.path.join(self.directory, ".publish.lock"))
        assert lock is not None
        self.addCleanup(lock.release)
        with mock.patch.object(repository, "LOCK_WAIT_S", 0.1), self.assertRaises(HostError):
            self.publish("1.1.0")


class Reading(Case):
    def test_nothing_published_names_the_command(self) -> None:
        self.refused("release publish")
        os.mkdir(self.directory)
        self.refused("release publish")

    def test_what_others_can_write_is_refused(self) -> None:
        digest = self.publish("1.0.0")
        names = ("", "metadata", "metadata/timestamp.json", "metadata/1.targets.json")
        for name in names:
            path = Path(self.directory) / name
            mode = path.stat().st_mode
            for bit in (0o020, 0o002):
                path.chmod(mode | bit)
                self.refused("chmod go-w")
            path.chmod(mode)
        target = repository.read(self.directory).targets[0]
        stored = Path(self.directory) / "targets" / f"{digest}.hub-1.0.0.pyz"
        stored.chmod(0o666)
        with self.assertRaises(RefusedError):
            repository.fetch(self.directory, target, lambda _done, _whole: None)
        Path(self.directory).chmod(0o777)
        with self.assertRaises(RefusedError):
            self.publish("1.1.0")

    def test_another_users_directory_is_refused(self) -> None:
        self.publish("1.0.0")
        with mock.patch("os.geteuid", return_value=os.geteuid() + 1):
            self.refused("belongs to user")

    def test_no_link_is_followed_out_of_it(self) -> None:
        digest = self.publish("1.0.0")
        target = repository.read(self.directory).targets[0]
        for name in ("metadata", "metadata/timestamp.json", "metadata/1.snapshot.json"):
            path = Path(self.directory) / name
            aside = self.root / "aside"
            path.rename(aside)
            path.symlink_to(aside)
            with self.assertRaises(HostError):
                repository.read(self.directory)
            path.unlink()
            aside.rename(path)
        stored = Path(self.directory) / "targets" / f"{digest}.hub-1.0.0.pyz"
        stored.rename(self.root / "aside")
        stored.symlink_to(self.root / "aside")
        with self.assertRaises(HostError):
            repository.fetch(self.directory, target, lambda _done, _whole: None)

    def test_damage_is_told_and_never_a_traceback(self) -> None:
        self.publish("1.0.0")
        for name in ("timestamp.json", "1.snapshot.json", "1.targets.json"):
            path = Path(self.directory) / "metadata" / name
            whole = path.read_bytes()
            other = whole.replace(b'"_type"', b'"type_"')
            for data in (b"", whole[:40], b"\xff\xfe", b"[]", b"[" * 100_000, b"{}", other):
                path.write_bytes(data)
                with self.assertRaises(HostError, msg=f"{name} {data[:20]!r}"):
                    repository.read(self.directory)
            path.unlink()
            os.mkfifo(path)
            with self.assertRaises(HostError):
                repository.read(self.directory)
            path.unlink()
            path.write_bytes(whole)
            path.chmod(0o644)
        self.assertEqual(len(repository.read(self.directory).targets), 1)

    def test_metadata_without_bound_is_not_read(self) -> None:
        self.publish("1.0.0")
        with (Path(self.directory) / "metadata" / "timestamp.json").open("r+b") as file:
            file.truncate(repository.MOST_METADATA_BYTES + 1)
        with self.assertRaises(HostError):
            repository.read(self.directory)

    def test_a_target_that_is_no_release_is_passed_over(self) -> None:
        self.publish("1.0.0")
        good: dict[str, Any] = {
            "length": 1,
            "hashes": {"sha256": "0" * 64},
            "custom": {"version": "2.0.0", "channels": ["latest"]},
        }
        written = repository._write_metadata
        for path, change in (
            ("other.txt", {}),
            ("hub-2.0.0.pyz", {"hashes": {"sha256": "../" * 22}}),
            ("hub-2.0.0.pyz", {"length": "1"}),
            ("hub-2.0.0.pyz", {"hashes": {"sha256": 7}}),
            ("hub-../x.pyz", {"custom": {"version": "../x", "channels": []}}),
            ("hub-2.0.0.pyz", {"custom": None}),
        ):
            with mock.patch.object(repository, "_entry", lambda _t, e={**good, **change}: e):
                target = repository.Target("2.0.0", "0" * 64, 1, path, ())
                written(self.directory, 5, [target])
            self.assertEqual(repository.read(self.directory).targets, (), path)

    def test_a_release_is_verified_and_its_progress_told(self) -> None:
        digest = self.publish("1.0.0", data=os.urandom(600_000))
        target = repository.read(self.directory).targets[0]
        told: list[tuple[int, int]] = []
        data = repository.fetch(self.directory, target, lambda *pair: told.append(pair))
        self.assertEqual(files.sha256(data), digest)
        self.assertEqual(told[-1], (600_000, 600_000))
        self.assertGreater(len(told), 1)
        stored = Path(self.directory) / "targets" / f"{digest}.hub-1.0.0.pyz"
        for other in (data[:-1], data + b"x", data[:-1] + bytes([data[-1] ^ 1]), b""):
            stored.write_bytes(other)
            with self.assertRaises(HostError):
                repository.fetch(self.directory, target, lambda _done, _whole: None)
        stored.unlink()
        with self.assertRaises(HostError):
            repository.fetch(self.directory, target, lambda _done, _whole: None)

    def test_no_descriptor_is_left_open(self) -> None:
        self.publish("1.0.0")
        before = len(os.listdir("/dev/fd"))
        for _ in range(3):
            repository.read(self.directory)
            (Path(self.directory) / "metadata").chmod(0o777)
            with self.assertRaises(RefusedError):
                repository.read(self.directory)
            (Path(self.directory) / "metadata").chmod(0o755)
        self.assertEqual(len(os.listdir("/dev/fd")), before)
        self.assertEqual(threading.active_count(), 1)


if __name__ == "__main__":
    unittest.main()
