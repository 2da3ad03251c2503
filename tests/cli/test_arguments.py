"""What is typed: parsed with one sentence for each mistake, and told whole by `--help`."""

from __future__ import annotations

import contextlib
import io
import unittest

from hub_upgrade.cli import arguments, entry
from hub_upgrade.cli.arguments import JSON, Command, Option
from hub_upgrade.errors import UsageError

COMMAND = Command(
    "try",
    "Try it.",
    "hub.pyz try go",
    "0 done",
    "none",
    (
        Option("--channel", "where", "CHANNEL", ("latest", "rc")),
        Option("--name", "who", "NAME"),
        Option("--allow-it", "yes"),
        Option("--secretly"),
        JSON,
    ),
    (Option("action", choices=("go", "come"), needed=True), Option("word", "a word")),
)


class ParseTest(unittest.TestCase):
    def wrong(self, *argv: str) -> str:
        with self.assertRaises(UsageError) as raised:
            arguments.parse(COMMAND, list(argv))
        return raised.exception.sentence

    def test_flags_come_in_any_order_and_with_or_without_an_equals_sign(self) -> None:
        given = arguments.parse(
            COMMAND, ["--name=a=b", "go", "--allow-it", "word", "--channel", "rc"]
        )
        self.assertEqual(("go", "word", "a=b", "rc"),
                         (given.action, given.word, given.name, given.channel))
        self.assertEqual((True, False, False, None),
                         (given.allow_it, given.secretly, given.json, given.config_dir))
        self.assertEqual("hub.pyz try", given.prog)

    def test_the_last_of_several_counts(self) -> None:
        self.assertEqual("b", arguments.parse(COMMAND, ["go", "--name", "a", "--name", "b"]).name)

    def test_a_value_may_begin_with_one_dash(self) -> None:
        self.assertEqual("-1", arguments.parse(COMMAND, ["go", "--name", "-1"]).name)

    def test_each_mistake_has_its_sentence(self) -> None:
        for argv, sentence in (
            ([], "ACTION is missing: go or come"),
            (["went"], "ACTION must be go or come, not 'went'"),
            (["go", "--bogus"], "unknown argument '--bogus'"),
            (["go", "--chan", "rc"], "unknown argument '--chan'"),
            (["go", "-x"], "unknown argument '-x'"),
            (["go", "a", "b"], "unknown argument 'b'"),
            (["go", "--name"], "--name needs a value"),
            (["go", "--name", ""], "--name needs a value"),
            (["go", "--name", "--json"], "--name needs a value"),
            (["go", "--json=yes"], "--json takes no value"),
            (["go", "--channel", "beta"], "--channel must be latest or rc, not 'beta'"),
            ([""], "ACTION needs a value"),
        ):
            self.assertEqual(sentence, self.wrong(*argv), argv)

    def test_no_more_than_100_characters_are_repeated(self) -> None:
        for argv in (["go", "--channel", "x" * 10_000], ["--" + "y" * 10_000]):
            self.assertLess(len(self.wrong(*argv)), 200)

    def test_help_tells_of_everything_but_what_is_not_for_people(self) -> None:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(0, entry.run(COMMAND, ["bogus", "--help"], lambda _given: 1))
        text = out.getvalue()
        self.assertTrue(text.startswith("usage: hub.pyz try go|come [WORD] [OPTIONS]\n"), text)
        for words in ("--channel latest|rc", "--name NAME", "--allow-it", "--config-dir DIR",
                      "example: hub.pyz try go", "exit codes: 0 done", "files: none"):
            self.assertIn(words, text)
        self.assertNotIn("secretly", text)

    def test_a_line_break_in_what_is_typed_stays_in_the_line(self) -> None:
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertEqual(2, entry.run(COMMAND, ["--a\nb\x1b[2J"], lambda _given: 1))
        self.assertEqual(1, err.getvalue().count("\n"))
        self.assertNotIn("\x1b", err.getvalue())
        self.assertTrue(err.getvalue().endswith("; see: hub.pyz try --help\n"))


if __name__ == "__main__":
    unittest.main()
