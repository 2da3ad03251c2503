from __future__ import annotations

import json
import unittest

from hub_upgrade.web.messages import MAX_ECHO, error_response, json_response, shortened


class MessagesTest(unittest.TestCase):
    def test_an_error_has_a_code_and_a_sentence(self) -> None:
        answer = error_response(404, "not_found", "there is nothing", (("a", "b"),))
        self.assertEqual(
            json.loads(answer.body), {"error": "not_found", "error_description": "there is nothing"}
        )
        self.assertEqual((answer.status, answer.headers), (404, (("a", "b"),)))

    def test_any_text_can_be_answered(self) -> None:
        text = "caf\xe9 \u20ac \udce9"
        self.assertEqual(json.loads(json_response(200, text).body), text)

    def test_what_a_client_sent_is_shortened_and_printable(self) -> None:
        self.assertEqual(shortened("a\nb"), r"'a\nb'")
        self.assertEqual(len(shortened("x" * 10_000)), MAX_ECHO + 2)


if __name__ == "__main__":
    unittest.main()
