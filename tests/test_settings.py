from __future__ import annotations

import json
import os
import shutil
import tempfile
import unittest
from collections.abc import Mapping
from typing import Any

from hub_upgrade import settings
from hub_upgrade.domain import managed
from hub_upgrade.domain.managed import Managed
from hub_upgrade.errors import RefusedError, UsageError
from hub_upgrade.host.files import Home
from hub_upgrade.settings import Settings, home_of, load, parse_serve_flags, refuse_unsafe


class SettingsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.home = Home(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.home.root)

    def put(self, config: Any) -> None:
        text = config if isinstance(config, (str, bytes)) else json.dumps(config)
        data = text.encode() if isinstance(text, str) else text
        with open(self.home.hub_json, "wb") as file:
            file.write(data)

    def load(self, environ: Mapping[str, str] | None = None, **flags: str) -> Settings:
        return load({"config-dir": self.home.root, **flags}, environ or {})

    def with_config(self, config: Any) -> Settings:
        self.put(config)
        return self.load()

    def assert_problem(self, config: Any, *words: str) -> Settings:
        found = self.with_config(config)
        for word in words:
            self.assertIn(word, found.config_error or "", config)
        return found


class DefaultsTest(SettingsTest):
    def test_without_any_word_the_defaults_hold(self) -> None:
        found = self.load()
        self.assertEqual((found.host, found.port, found.releases), ("127.0.0.1", 1939, None))
        times = (found.ready_timeout_s, found.probation_s, found.probation_max_s, found.drain_s)
        self.assertEqual(times, (20, 10, 300, 5))
        self.assertEqual((found.stop_s, found.watchdog_s, found.tries), (8, 60, 3))
        self.assertEqual((found.allowed_hosts, found.config_error), ((), None))

    def test_the_defaults_keep_the_rules_themselves(self) -> None:
        self.assertLessEqual(settings.TIMES["drain_s"] + 2, settings.TIMES["stop_s"])
        self.assertLessEqual(settings.TIMES["probation_s"], settings.TIMES["probation_max_s"])

    def test_home_is_named_by_the_flag_before_the_variable_before_the_default(self) -> None:
        environ = {"PARACHUTE_HOME": "/from/environment"}
        self.assertEqual(home_of({"config-dir": "/from/flag"}, environ).root, "/from/flag")
        self.assertEqual(home_of({}, environ).root, "/from/environment")
        default = os.path.expanduser("~/.parachute")
        self.assertEqual(home_of({}, {}).root, default)
        self.assertEqual(home_of({"config-dir": ""}, {"PARACHUTE_HOME": ""}).root, default)

    def test_home_is_absolute_without_a_slash_at_its_end(self) -> None:
        self.assertEqual(home_of({"config-dir": "here/"}, {}).root, os.path.abspath("here"))
        self.assertEqual(home_of({"config-dir": "~/x"}, {}).root, os.path.expanduser("~/x"))


class FlagsTest(SettingsTest):
    def test_a_value_follows_its_flag_or_an_equals_sign(self) -> None:
        wanted = {"port": "80", "host": "a=b", "factory": "yes"}
        self.assertEqual(parse_serve_flags(["--port", "80", "--host=a=b", "--factory"]), wanted)

    def test_a_value_may_look_like_a_flag_and_the_last_word_counts(self) -> None:
        argv = ["--config-dir", "--host", "--port=1", "--port=2"]
        self.assertEqual(parse_serve_flags(argv), {"config-dir": "--host", "port": "2"})

    def test_what_nobody_knows_is_wrong_usage_and_named_briefly(self) -> None:
        for word in ("--ports=1", "x", "-p", "--", "--factory=yes", "", "--" + "x" * 9999):
            with self.subTest(word=word[:20]), self.assertRaises(UsageError) as caught:
                parse_serve_flags([word])
            self.assertIn(repr(word[:100]), caught.exception.sentence)
            self.assertLess(len(caught.exception.sentence), 250)
            self.assertEqual(caught.exception.exit_code, 2)

    def test_a_flag_without_its_value_is_wrong_usage(self) -> None:
        for name in settings.SERVE_VALUES:
            for argv in ([f"--{name}"], [f"--{name}="], [f"--{name}", ""]):
                with self.subTest(argv=argv), self.assertRaises(UsageError) as caught:
                    parse_serve_flags(argv)
                self.assertIn(f"--{name} needs a value", caught.exception.sentence)


class PortTest(SettingsTest):
    def test_the_flag_comes_before_the_variable(self) -> None:
        self.assertEqual(self.load({"PORT": "80"}).port, 80)
        self.assertEqual(self.load({"PORT": "80"}, port="0").port, 0)
        self.assertEqual(self.load({"PORT": "nonsense"}, port="65535").port, 65535)
        self.assertEqual(self.load({"PORT": ""}).port, 1939)

    def test_what_is_no_port_is_wrong_usage_and_says_where_it_stands(self) -> None:
        for text in ("65536", "-1", "http", " 80", "80 ", "8_0", "٨٠", "²", "1e3", "9" * 9999):
            with self.subTest(text=text[:10]), self.assertRaises(UsageError) as caught:
                self.load({"PORT": text})
            self.assertIn("PORT must be a port", caught.exception.sentence)
            self.assertLess(len(caught.exception.sentence), 200)
            with self.assertRaises(UsageError) as caught:
                self.load(port=text)
            self.assertIn("--port must be a port", caught.exception.sentence)
        with self.assertRaises(UsageError):
            self.load(port="")

    def test_the_host_is_the_flags_before_the_variables(self) -> None:
        environ = {"PARACHUTE_BIND_HOST": "0.0.0.0"}
        self.assertEqual(self.load(environ).host, "0.0.0.0")
        self.assertEqual(self.load(environ, host="::1").host, "::1")
        self.assertEqual(self.load({"PARACHUTE_BIND_HOST": ""}).host, "127.0.0.1")


class ReleasesTest(SettingsTest):
    def test_the_flag_comes_before_the_file(self) -> None:
        self.put({"releases": "/from/file"})
        self.assertEqual(self.load().releases, "/from/file")
        self.assertEqual(self.load(releases="/from/flag").releases, "/from/flag")

    def test_the_flags_directory_is_made_absolute_from_where_serve_was_started(self) -> None:
        self.assertEqual(self.load(releases="here").releases, os.path.abspath("here"))
        self.assertEqual(self.load(releases="../a/").releases, os.path.abspath("../a"))
        self.assertEqual(self.load(releases="~/x").releases, os.path.expanduser("~/x"))

    def test_a_url_on_the_command_line_is_wrong_usage_and_says_what_is_followed(self) -> None:
        for url in ("http://localhost/releases", "https://example.org", "file:///srv", "x://"):
            with self.subTest(url=url), self.assertRaises(UsageError) as caught:
                self.load(releases=url)
            self.assertEqual(caught.exception.exit_code, 2)
            self.assertIn(url, caught.exception.sentence)
            self.assertIn("until releases are signed, only a local directory owned by the same "
                          "user is followed", caught.exception.sentence)  # fmt: skip

    def test_a_url_in_the_file_is_named_and_there_is_no_source(self) -> None:
        found = self.assert_problem(
            {"releases": "https://example.org/x", "tries": 5},
            "releases", "https://example.org/x", "until releases are signed", "no release source",
        )  # fmt: skip
        self.assertEqual((found.releases, found.tries), (None, 5))

    def test_a_flag_serves_all_the_same_when_the_file_names_a_url(self) -> None:
        self.put({"releases": "https://example.org/x"})
        found = self.load(releases="/srv/releases")
        self.assertEqual(found.releases, "/srv/releases")
        self.assertIn("https://example.org/x", found.config_error or "")

    def test_an_endless_url_is_echoed_in_part(self) -> None:
        found = self.with_config({"releases": "http://" + "x" * 100_000})
        self.assertLess(len(found.config_error or ""), 1000)


class ConfigTest(SettingsTest):
    def test_every_time_is_taken_fractions_too(self) -> None:
        config = {"ready_timeout_s": 0.5, "probation_s": 0.25, "probation_max_s": 1.5,
                  "drain_s": 0.1, "stop_s": 2.1, "watchdog_s": 7,
                  "hook_timeout_s": 3600}  # fmt: skip
        self.assertEqual(set(config), set(settings.TIMES))
        found = self.with_config(config)
        self.assertIsNone(found.config_error)
        for name, value in config.items():
            self.assertEqual(getattr(found, name), value, name)
        self.assert_problem({"hook_timeout_s": 3601}, "hub.json: hook_timeout_s ", "up to 3600")

    def test_a_managed_hub_is_checked_field_by_field(self) -> None:
        self.assertIsNone(self.with_config({}).hub)
        self.assertEqual(self.with_config({"hub": {}}).hub, Managed())
        whole = {
            "source": "package", "manager": "bun", "package": "@openparachute/hub",
            "install_dir": None, "running_from": None, "install_command": None,
            "health_url": "http://127.0.0.1:1939/health", "version_field": "version",
            "verify_signature": False, "unit": None, "label": None, "restart": "auto",
        }  # fmt: skip
        found = self.with_config({"hub": whole, "before_upgrade": None, "on_finish": ["notify"]})
        self.assertIsNone(found.config_error)
        self.assertEqual(found.hub, Managed("package", "bun"))
        self.assertEqual((found.before_upgrade, found.on_finish), (None, ("notify",)))

    def test_what_is_wrong_of_a_managed_hub_is_named_and_defaulted(self) -> None:
        for key, value in (
            ("source", "svn"), ("manager", "yarn"), ("package", "a b"), ("package", "@x"),
            ("package", "../x"), ("install_dir", "relative"), ("running_from", 7),
            ("install_command", "bun install"), ("install_command", []), ("health_url", "x"),
            ("health_url", "http://example.org/health"), ("health_url", "https://127.0.0.1/"),
            ("health_url", "http://127.0.0.1:99999/"), ("version_field", ""),
            ("verify_signature", "yes"), ("unit", "/etc/hub.service"), ("unit", "-x"),
            ("unit", ""), ("unit", "a b"), ("unit", "x" * 250), ("unit", 7), ("label", "../x"),
            ("label", "gui/501/x"), ("label", ""), ("restart", "reload"), ("restart", True),
        ):  # fmt: skip
            found = self.assert_problem({"hub": {key: value}}, f"hub.json: hub.{key} must be ")
            self.assertEqual(found.hub, Managed(), (key, value))
        for name in ("hub", "hub.service", "hub@blue", "hub@blue.service"):
            config = self.with_config({"hub": {"unit": name}}).hub
            self.assertEqual(config and config.unit, name.removesuffix(".service") + ".service")
        self.assert_problem({"hub": {"colour": 1}}, "hub.json: hub: unknown key 'colour'")
        self.assertIsNone(self.assert_problem({"hub": "git"}, "hub must be an object").hub)
        for key in settings.HOOKS:
            for wrong in ("sh -c x", [], [""], [1], {"a": 1}):
                self.assert_problem({key: wrong}, f"hub.json: {key} must be a list of arguments")

    def test_a_safety_in_words_that_mean_nothing_refuses_upgrades(self) -> None:
        refuse_unsafe(self.home)
        for config, key in (
            ({"before_upgrade": "/bin/backup", "tries": 0}, "before_upgrade must be a list of "),
            ({"hub": {"verify_signature": "yes"}}, "hub.verify_signature must be true or false"),
        ):
            found = self.assert_problem(config, f"hub.json: {key}", managed.REFUSED)
            self.assertIsNone(found.before_upgrade)
            with self.assertRaises(RefusedError) as caught:
                refuse_unsafe(self.home)
            self.assertEqual(
                ("invalid_config", 409), (caught.exception.code, caught.exception.status)
            )
            self.assertTrue(caught.exception.sentence.startswith(f"hub.json: {key}"))
            self.assertTrue(caught.exception.sentence.endswith("; nothing was changed"))
            self.assertNotIn("tries", caught.exception.sentence)
        for harmless in ({"after_rollback": "x"}, {"before_upgrade": None, "tries": 0}, "{"):
            self.put(harmless)
            refuse_unsafe(self.home)

    def test_a_time_that_is_none_is_named_and_defaulted(self) -> None:
        for name, default in settings.TIMES.items():
            bad: tuple[Any, ...] = ("5", 0, -1, True, None, [], 86401, 10**400)
            for value in bad:
                found = self.assert_problem({name: value}, f"hub.json: {name} ", "default is used")
                self.assertEqual(getattr(found, name), default)
        for text in ("NaN", "Infinity", "-Infinity", "1e999"):
            found = self.assert_problem(f'{{"stop_s": {text}}}', "hub.json: stop_s ")
            self.assertEqual(found.stop_s, 8)

    def test_tries_are_a_whole_number_from_one_to_twenty(self) -> None:
        for good in (1, 20):
            found = self.with_config({"tries": good})
            self.assertEqual((found.tries, found.config_error), (good, None))
        for bad in (0, 21, -1, 2.0, "3", True, None):
            self.assertEqual(self.assert_problem({"tries": bad}, "hub.json: tries ").tries, 3)

    def test_a_source_that_is_no_directorys_name_is_named_and_there_is_none(self) -> None:
        for bad in ("", 7, None, ["/srv"], {"url": "x"}, "a\0b"):
            found = self.assert_problem({"releases": bad}, "releases", "no release source")
            self.assertIsNone(found.releases)

    def test_allowed_hosts_are_a_list_of_names(self) -> None:
        found = self.with_config({"allowed_hosts": ["a.example", "b.example"]})
        self.assertEqual(found.allowed_hosts, ("a.example", "b.example"))
        for bad in ("a.example", ["a.example", 7], None, {"a": 1}):
            found = self.assert_problem({"allowed_hosts": bad}, "hub.json: allowed_hosts ")
            self.assertEqual(found.allowed_hosts, ())

    def test_whether_home_persists_is_the_operators_word_or_none(self) -> None:
        self.assertIsNone(self.with_config({}).home_persists)
        for word in (True, False):
            self.assertIs(self.with_config({"home_persists": word}).home_persists, word)
        for wrong in ("true", 1, 0, None, [7]):
            found = self.assert_problem({"home_persists": wrong}, "hub.json: home_persists ")
            self.assertIsNone(found.home_persists)

    def test_draining_ends_two_seconds_before_the_stop(self) -> None:
        self.assertIsNone(self.with_config({"drain_s": 4.5, "stop_s": 6.5}).config_error)
        for config in ({"drain_s": 4.6, "stop_s": 6.5}, {"drain_s": 7}, {"stop_s": 6}):
            found = self.assert_problem(config, "drain_s must be at least 2 s below stop_s")
            self.assertEqual((found.drain_s, found.stop_s), (5, 8))

    def test_probation_is_not_above_its_maximum(self) -> None:
        self.assertIsNone(self.with_config({"probation_s": 9, "probation_max_s": 9}).config_error)
        for config in ({"probation_s": 301}, {"probation_max_s": 9.5}):
            found = self.assert_problem(config, "probation_s must not be above probation_max_s")
            self.assertEqual((found.probation_s, found.probation_max_s), (10, 300))

    def test_every_unknown_key_is_named_and_the_known_ones_hold(self) -> None:
        found = self.assert_problem(
            {"probation": 1, "tries": 7, "x" * 5000: 2}, "unknown key 'probation'", "'xxx"
        )
        self.assertEqual(found.tries, 7)
        self.assertLess(len(found.config_error or ""), 300)

    def test_a_file_that_cannot_be_parsed_is_void_as_a_whole_and_says_so(self) -> None:
        whole = json.dumps({"tries": 7, "releases": "/srv"})
        for text in (whole[:-1], "", "[]", '"x"', "null", b"\xff" + whole.encode(), "[" * 99999):
            found = self.assert_problem(
                text, self.home.hub_json, "defaults are used, and no release source"
            )
            self.assertEqual((found.tries, found.releases), (3, None))

    def test_what_is_no_file_is_void_and_never_waited_for(self) -> None:
        for make in (os.mkfifo, os.mkdir, lambda path: os.symlink(path, path)):
            make(self.home.hub_json)
            self.assertIn("defaults are used", self.load().config_error or "")
            remove = os.rmdir if os.path.isdir(self.home.hub_json) else os.unlink
            remove(self.home.hub_json)

    def test_an_empty_object_is_no_problem(self) -> None:
        self.assertIsNone(self.with_config({}).config_error)


if __name__ == "__main__":
    unittest.main()
