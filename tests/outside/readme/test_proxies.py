"""The README's nginx and Caddy, word by word: a path prefix, streams, and whose `Host`."""

from __future__ import annotations

import json
import re
import unittest

from hub_upgrade.version import VERSION
from tests.e2e.harness import wait_for
from tests.outside.readme.blocks import read, said
from tests.outside.readme.server import OWNER, ServerCase
from tests.outside.readme.visitor import Visitor, events

NAME = "hub.example"
PREFIX = "/hub"
NEXT = "0.2.0"
ORIGIN = "echo PARACHUTE_HUB_ORIGIN=https://hub.example/hub >> /etc/default/parachute-hub"
LINK = "su - parachute -c 'PARACHUTE_HUB_ORIGIN=https://hub.example/hub hub.pyz token link'"
CERTIFICATE = f"/etc/ssl/{NAME}"
ISSUED = "/var/lib/caddy/.local/share/caddy/certificates/acme-v02.api.letsencrypt.org-directory"
"""Where Caddy keeps what it was given: a certificate that lies there it does not ask for."""
ASSET = re.compile(r'(?:href|src)="([^"#:]+)"')


class ProxyCase(ServerCase):
    """The hub installed, told its name, and a certificate for that."""

    def setUp(self) -> None:
        super().setUp()
        self.install()
        self.publish()
        self.machine.sh(
            f"mkdir {CERTIFICATE}; cd {CERTIFICATE}; "
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 "
            f"-subj /CN={NAME} -addext subjectAltName=DNS:{NAME} "
            "-keyout privkey.pem -out fullchain.pem"
        )
        trusts = self.machine.sh(f"cat {CERTIFICATE}/fullchain.pem")
        self.beside = self.visitor
        self.visitor = Visitor(self.machine.process, NAME, 443, PREFIX, trusts)
        self.machine.sh(said(ORIGIN))
        self.start_proxy()
        wait_for(self.visitor.version, "an answer through the proxy")

    def start_proxy(self) -> None:
        """Word by word."""
        raise NotImplementedError

    def the_page_and_an_upgrade(self) -> None:
        """All of it below the prefix, and only there."""
        bare = Visitor(self.machine.process, NAME, 443, "", self.visitor.trusts)
        moved = bare.ask(PREFIX)
        self.assertIn(moved.status, (301, 302))
        self.assertTrue(moved.headers["location"].endswith("/hub/"), moved.headers)
        self.assertNotIn(b"parachute", bare.ask("/health").body)
        page = self.visitor.ask("/")
        self.assertIn("text/html", page.headers["content-type"])
        self.assertIn("default-src 'none'", page.headers["content-security-policy"])
        assets = ASSET.findall(page.body.decode())
        self.assertEqual(sorted(assets), ["app.js", "style.css"])
        for asset in assets:
            self.assertEqual(self.visitor.ask(f"/{asset}").status, 200)
        wait_for(lambda: "/#code=" in self.printed(), "the link")
        self.visitor.signs_in(self.printed())
        self.visitor.signs_in(self.machine.sh(said(LINK)))
        self.upgraded_on_one_stream()
        self.assertEqual(self.visitor.version(), NEXT)

    def printed(self) -> str:
        """What the hub has said since its last start."""
        return self.machine.journal().rpartition("listening on")[2]

    def upgraded_on_one_stream(self) -> None:
        """Each event comes while the stream goes on: from before the POST, through the handoff."""
        with self.visitor.answering("GET", "/api/hub/upgrade/events") as stream:
            self.assertEqual((stream.status, stream.readline()), (200, b"retry: 1000\n"))
            operation = self.visitor.post("/api/hub/upgrade")
            seen = []
            for event in events(stream):
                self.assertEqual(event["operation_id"], operation)
                seen.append(event["phase"])
                if event.get("finished_at"):
                    break
        self.assertEqual((seen[-1], "restarting" in seen), ("succeeded", True), seen)

    def whose_host(self, own: str) -> None:
        """A name that was not told is refused with advice, which helps; the proxy's own is known
        anyway. `own` are the lines that make the proxy send that."""
        self.machine.sh("rm /etc/default/parachute-hub; systemctl restart parachute-hub")
        refused = self.visitor.ask("/api/hub")
        self.assertEqual(refused.status, 421)
        self.assertIn('"allowed_hosts" in hub.json', refused.json()["error_description"])
        example = '{"allowed_hosts": ["hub.example"]}'
        self.assertIn(f"`{example}`", read().prose)
        config = json.dumps({**json.loads(example), "probation_s": 1})
        self.machine.sh(f"echo '{config}' >.parachute/hub.json", OWNER)
        self.machine.sh("systemctl restart parachute-hub")
        self.assertEqual(self.visitor.ask("/api/hub").json()["version"], NEXT)
        self.machine.sh("echo '{}' >.parachute/hub.json", OWNER)
        self.machine.sh("systemctl restart parachute-hub")
        self.assertEqual(self.visitor.ask("/api/hub").status, 421)
        self.machine.sh(own)
        wait_for(lambda: self.visitor.ask("/api/hub").status == 200, "the proxy's own name")


class Nginx(ProxyCase):
    def start_proxy(self) -> None:
        self.machine.sh("systemctl start nginx")
        self.machine.sh(said("cp examples/nginx.conf /etc/nginx/conf.d/parachute-hub.conf"))

    def test_the_hub_below_a_path_of_nginx(self) -> None:
        self.assertEqual(self.beside.version(), VERSION)
        self.the_page_and_an_upgrade()
        line = "proxy_set_header Host"
        self.assertIn(f"`{line}`", read().prose)
        self.whose_host(f"sed -i '/{line}/d' /etc/nginx/conf.d/parachute-hub.conf; nginx -s reload")


class Caddy(ProxyCase):
    def start_proxy(self) -> None:
        directory = f"{ISSUED}/{NAME}"
        self.machine.sh(
            f"mkdir -p {directory}; cd {directory}; "
            f"cp {CERTIFICATE}/fullchain.pem {NAME}.crt; cp {CERTIFICATE}/privkey.pem {NAME}.key; "
            f"""echo '{{"sans": ["{NAME}"], "issuer_data": {{}}}}' >{NAME}.json; """
            "chown -R caddy: /var/lib/caddy; systemctl start caddy"
        )
        self.machine.sh(said("cp examples/Caddyfile /etc/caddy/Caddyfile"))

    def test_the_hub_below_a_path_of_caddy(self) -> None:
        self.the_page_and_an_upgrade()
        line = "header_up Host {upstream_hostport}"
        self.assertIn(f"`{line}`", read().prose)
        self.whose_host(
            f"sed -i 's/reverse_proxy .*/& {{\\n{line}\\n}}/' /etc/caddy/Caddyfile; "
            "systemctl reload caddy"
        )


if __name__ == "__main__":
    unittest.main()
