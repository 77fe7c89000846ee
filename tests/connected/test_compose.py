"""docker-compose.yml as plain processes: the same commands, environments and health checks.

What differs is where things are: names of hosts, ports, the folder of secrets, the home folder.
PostgreSQL, Apache Kafka and Caddy are the real ones; the files beside the compose file (of the
proxy, the roles, the secrets) are used as they are. It runs in the live world: `.env` says so, and
`deploy/secrets` names the department's own app, by which people are called, and CAP's key.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import aiohttp
import psycopg
import pytest
import pytest_asyncio
import trustme
from PIL import Image as Pillow
from signxml import XMLVerifier

from broadcaster.desk import cap
from broadcaster.passkey import Site, decision_challenge, options_to_prove
from streams.embedded import free_port
from tests import kafka, postgres
from tests.authenticator import Authenticator, asks
from tests.connected.installation import (
    Embedded,
    Json,
    Person,
    Receiver,
    ask,
    short_folder,
    signed,
    until,
)
from tests.deploy import compose
from tests.deploy.compose import ROOT, Service
from tests.patience import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Loopback under a name that the desk takes for a network's, as it does 0.0.0.0 in its container.
DESK_HOST = "127.0.0.2"

#: Seconds for what takes one or two: machines that test are busy.
STARTS_WITHIN = 180.0

#: The image of Apache Kafka makes its settings from the environment with this, and so do we.
WRAPPER = "kafka.docker.KafkaDockerWrapper"
LOGGING = "Configuration: {Loggers: {Root: {level: WARN}, Logger: []}}\n"

#: What stands in `.env`.
VARIABLES = {"BROADCASTER_WORLD": "live"}

#: Where a container finds what lies elsewhere here.
PROGRAMS = {
    "broadcaster": [sys.executable, "-m", "broadcaster.cli"],
    "python": [sys.executable],
    "caddy": [shutil.which("caddy") or "caddy"],
    "pg_isready": [
        str(Path(postgres.FOLDERS[0], "pg_isready")) if postgres.FOLDERS else "pg_isready"
    ],
}


@dataclass
class Composed:
    """What `docker compose up` would have started."""

    folder: Path
    ca: trustme.CA
    servers: contextlib.ExitStack
    app: Receiver
    ports: dict[str, int] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    # --- what differs from the containers ---

    def port(self, name: str) -> int:
        return self.ports.setdefault(name, free_port())

    @property
    def address(self) -> str:
        return f"https://localhost:{self.port('https')}"

    def here(self, said: str) -> str:
        """A text of the compose file, with the hosts and ports of this machine."""
        for there, here in {
            "https://localhost": self.address,
            "kafka:9092": f"127.0.0.1:{self.port('kafka')}",
            "desk:8080": f"{DESK_HOST}:{self.port('desk')}",
            "127.0.0.1:8081": f"127.0.0.1:{self.port('proxy-health')}",
            "127.0.0.1/9092": f"127.0.0.1/{self.port('kafka')}",
            "5432": str(self.port("postgres")),
            "0.0.0.0": DESK_HOST,
        }.items():
            said = said.replace(there, here)
        return said

    def environment(self, service: Service) -> dict[str, str]:
        own = {name: self.here(value) for name, value in service.environment.items()}
        if service.ours:
            home = self.folder / service.name
            own |= {
                "BROADCASTER_HOME": str(home),
                "BROADCASTER_PORT": str(self.port(service.name)),
                "CREDENTIALS_DIRECTORY": str(self.secrets_of(service)),
                "BROADCASTER_CALL_NETWORKS": '["127.0.0.1/32"]',
            }
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {**kept, "PYTHONPATH": str(ROOT), **own}

    def command(self, words: list[str]) -> list[str]:
        first, *others = words
        return [*PROGRAMS.get(first, [first]), *(self.here(word) for word in others)]

    def secrets_of(self, service: Service) -> Path:
        """The folder that the service's container would have at /run/secrets."""
        folder = self.folder / f"{service.name}.secrets"
        if folder.exists():  # its process may be reading there
            return folder
        folder.mkdir()
        for name, source in service.secrets.items():
            made = (self.folder / "deploy" / "secrets" / source).read_text()
            at_home = made.replace("@postgres/", f"@127.0.0.1:{self.port('postgres')}/")
            (folder / name).write_text(at_home)
        return folder

    # --- start and end ---

    async def up(self) -> None:
        """Makes the secrets, then starts every service when what it waits for has come true."""
        not_ours = shutil.ignore_patterns("secrets", "tls")
        shutil.copytree(ROOT / "deploy", self.folder / "deploy", ignore=not_ours)
        made = await asyncio.create_subprocess_exec(self.folder / "deploy" / "make-secrets")
        assert await made.wait() == 0
        self.app.start()
        where = {"url": f"http://127.0.0.1:{self.app.port}/", "secret": self.app.secret}
        signs = self.ca.issue_cert("alerts.example.gov", key_type=trustme.KeyType.RSA)
        (certificate,) = signs.cert_chain_pems
        for name, filled in {
            "calls": json.dumps({"app": where}).encode(),
            "cap_key": signs.private_key_pem.bytes(), "cap_certificate": certificate.bytes(),
        }.items():  # fmt: skip
            secret = self.folder / "deploy" / "secrets" / name
            secret.chmod(0o600)
            secret.write_bytes(filled)
        services = compose.services(VARIABLES)
        while waiting := [each for each in services.values() if each.name not in self.done]:
            ready = [each for each in waiting if set(each.waits_for) <= self.done]
            assert ready, f"{[each.name for each in waiting]} wait for each other"
            await asyncio.gather(*(self.start(each) for each in ready))
            self.done |= {each.name for each in ready}

    async def start(self, service: Service) -> None:
        """Starts it, and returns once what others wait for is true of it."""
        if service.name == "postgres":
            await asyncio.to_thread(self.start_postgres, service)
        elif service.name == "kafka":
            await asyncio.to_thread(self.start_kafka, service)
        elif service.name == "proxy":
            self.start_proxy(service)
        else:
            (entry,) = compose.said("ENTRYPOINT")
            words = [*compose.command_of(entry), *service.said["command"]]
            (self.folder / service.name).mkdir()
            self.spawn(service, self.command(words), self.environment(service))
        if service.runs_to_its_end:
            code = await asyncio.to_thread(self.running.pop(service.name).wait, 60)
            assert code == 0, self.log(service.name).read_text()
        else:

            async def healthy() -> bool:
                await asyncio.sleep(0.3)  # each look is a process of its own
                return await self.healthy(service)

            await until(f"{service.name} is healthy", healthy, STARTS_WITHIN)

    def spawn(self, service: Service, command: list[str], environment: dict[str, str]) -> None:
        with self.log(service.name).open("ab") as log:
            self.running[service.name] = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder,
            )  # fmt: skip

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    async def healthy(self, service: Service) -> bool:
        """Whether the service's own health check passes, run as the plain command."""
        process = self.running.get(service.name)
        assert process is None or process.poll() is None, self.log(service.name).read_text()
        assert service.health_check
        check = await asyncio.create_subprocess_exec(
            *self.command(service.health_check), env=self.environment(service),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        return await check.wait() == 0

    def start_postgres(self, service: Service) -> None:
        """A server that asks for passwords, with the roles of the script that the image runs."""
        server = self.servers.enter_context(postgres.server())
        self.ports["postgres"] = server.port
        user = service.environment["POSTGRES_USER"]
        with psycopg.connect(postgres.Database("postgres", server.port).url(user)) as admin:
            admin.execute("ALTER ROLE postgres PASSWORD 'administrator'")
            rules = admin.execute("SHOW hba_file").fetchone()
            assert rules is not None
            Path(rules[0]).write_text("host all all 127.0.0.1/32 scram-sha-256\n")
            admin.execute("SELECT pg_reload_conf()")
        subprocess.run(
            [self.folder / "deploy" / "postgres-roles.sh"], check=True,
            env={**self.environment(service), "PGHOST": "127.0.0.1", "PGPORT": str(server.port),
                 "PGPASSWORD": "administrator", "SECRETS": str(self.secrets_of(service))},
        )  # fmt: skip

    def start_kafka(self, service: Service) -> None:
        """A node with the settings that the image would have made of the file's environment."""
        said = kafka_properties(service, self.folder)
        where = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}
        others = {name: value for name, value in said.items() if name not in where}
        cluster = self.servers.enter_context(kafka.cluster(settings=others))
        self.ports["kafka"] = cluster.nodes[0].port

    def start_proxy(self, service: Service) -> None:
        certificate = self.ca.issue_cert("localhost")
        certificate.private_key_and_cert_chain_pem.write_to_path(self.folder / "tls.pem")
        ports = {"HTTP_PORT": "http", "HTTPS_PORT": "https", "HEALTH_PORT": "proxy-health"}
        environment = {
            **self.environment(service),
            **{name: str(self.port(port)) for name, port in ports.items()},
            "TLS": f"tls {self.folder / 'tls.pem'} {self.folder / 'tls.pem'}",
            "XDG_DATA_HOME": str(self.folder / "proxy"),
            "XDG_CONFIG_HOME": str(self.folder / "proxy"),
        }
        file = str(self.folder / "deploy" / "Caddyfile")
        run = ["caddy", "run", "--config", file, "--adapter", "caddyfile"]
        self.spawn(service, self.command(run), environment)

    async def end(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            await asyncio.to_thread(process.wait, 15)
        self.app.end()

    # --- those who use it ---

    def browser(self, **headers: str) -> aiohttp.ClientSession:
        """Somebody outside, who trusts the authority of the proxy's certificate."""
        trusting = ssl.create_default_context()
        self.ca.configure_trust(trusting)
        return aiohttp.ClientSession(
            self.address, connector=aiohttp.TCPConnector(ssl=trusting), headers=headers
        )

    async def run(self, service: str, *arguments: str) -> str:
        """As `docker compose exec SERVICE broadcaster …`."""
        environment = self.environment(compose.services(VARIABLES)[service])
        process = await asyncio.create_subprocess_exec(
            *self.command(["broadcaster", *arguments]), env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()


def kafka_properties(service: Service, folder: Path) -> dict[str, str]:
    """What the image's own program makes of the service's environment, in an empty folder."""
    for name in ("default", "mounted", "final"):
        (folder / name).mkdir()
    for name in ("log4j2.yaml", "tools-log4j2.yaml"):
        (folder / "default" / name).write_text(LOGGING)
    environment = {**service.environment, "KAFKA_LOG_DIRS": str(folder / "format"),
                   "CLUSTER_ID": "5L6g3nShT-eMCtK--X86sw", "PATH": os.environ["PATH"]}  # fmt: skip
    subprocess.run(
        ["java", "-cp", f"{kafka.FETCHED / 'libs'}/*", WRAPPER, "setup", "-D", "default",
         "-M", "mounted", "-F", "final"],
        cwd=folder, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    assert (folder / "format" / "meta.properties").exists(), "it could format its folder"
    lines = (folder / "final" / "server.properties").read_text().split("\n")
    return dict(line.split("=", 1) for line in lines if line)


@pytest.fixture(scope="module")
def servers() -> Iterator[contextlib.ExitStack]:
    """What is started by a block, and ended with the module."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def at(servers: contextlib.ExitStack) -> AsyncIterator[Composed]:
    """All of it, started in the order that the file asks for."""
    if shutil.which("caddy") is None:
        pytest.skip("Caddy is not here: run scripts/test-deps")
    with short_folder() as folder:
        app = Receiver("app", dedupes=True, log=folder / "app.log")
        composed = Composed(folder, trustme.CA(), servers, app)
        try:
            await composed.up()
            yield composed
        finally:
            await composed.end()


async def signed_in(at: Composed, name: str, role: str) -> tuple[Person, Authenticator]:
    """Somebody whom the operator put on the roster, and who opened the printed link on a phone."""
    link = (await at.run("relay", "roster", "add", name, "--role", role)).strip()
    assert link.startswith(f"{at.address}/enrol/")
    path = link.removeprefix(at.address)
    session = at.browser(Origin=at.address, Accept="application/json")
    phone = Authenticator(at.address, Site.at(at.address).host)
    page = await ask(session, "GET", path, headers={"Accept": "text/html"})
    made = phone.make(asks(page.raw.decode(), "data-make"))
    answer = await ask(session, "POST", path, data={"device": "Phone", "passkey": json.dumps(made)})
    assert answer.status == 303, answer
    return Person("", session), phone


async def reported(at: Composed) -> str:
    """A signed report from CAD, through the proxy: the id of its incident."""
    secret = json.loads((at.folder / "deploy/secrets/intake_secrets").read_text())["cad"][0]
    report = Embedded.report(None)  # type: ignore[arg-type]
    body = json.dumps(report).encode()
    async with at.browser() as cad:
        answer = await ask(cad, "POST", "/api/v1/reports", data=body,
                           headers=signed(secret, report["id"], body))  # fmt: skip
    assert answer.status == 202, answer
    incident_id: str = answer.body["incident_id"]
    return incident_id


async def test_a_report_becomes_a_post_through_the_proxy(at: Composed) -> None:
    pio, _ = await signed_in(at, "P. Tester", "pio")
    await at.run("relay", "roster", "add", "Chief Tester", "--role", "chief")
    await at.run("relay", "roster", "grant", "P. Tester", "--content", "incident",
                 "--by", "Chief Tester")  # fmt: skip
    commander, phone = await signed_in(at, "W. Tester", "watch-commander")
    await at.run("relay", "roster", "reach", "W. Tester", "webhook", "w.tester")
    async with pio.session, commander.session:
        incident_id = await reported(at)

        async def suggestion() -> Json | None:
            answer = await pio.get(f"/api/v1/incidents/{incident_id}")
            found: Json | None = answer.body.get("suggestion") if answer.good else None
            return found

        words = (await until("an update is suggested", suggestion, STARTS_WITHIN))["words"]
        for phrase in words.values():
            phrase["verified"] = True
        order = {"incident_id": incident_id, "kind": "update", "words": words,
                 "channels": ["public_page"], "replaces": [], "attested": True}  # fmt: skip
        submitted = await pio.post(f"/api/v1/incidents/{incident_id}/revisions", order)
        assert submitted.status == 201, submitted
        request = submitted.body["request"]
        path = f"/api/v1/approval-requests/{request['id']}"

        async def called() -> Json | None:
            acted = at.app.lines("acted")
            return next(
                (each for each in acted if json.loads(each["text"])["type"] == "call"), None
            )

        call = await until("the app is told to call the Commander", called, STARTS_WITHIN)
        said = {"version": 1, "type": "call", "world": "live", "call_id": call["id"],
                "about": "request", "request_id": request["id"], "to": "w.tester",
                "words": "An update waits for your decision",
                "url": f"{at.address}/a/{request['id']}", "attempt": 1}  # fmt: skip
        body = json.dumps(said, separators=(",", ":")).encode()
        assert call["sha256"] == hashlib.sha256(body).hexdigest(), "this, and nothing more"
        signed = decision_challenge(
            request["nonce"], request["id"], "approved", request["digest"],
            until=datetime.fromisoformat(request["expires_at"]), epoch=request["epoch"],
        )  # fmt: skip
        asked = options_to_prove(Site.at(at.address), challenge=signed, allowed=[])
        decided = await commander.post(f"{path}/decision", {
            "proof": phone.prove(asked),
            "request_id": request["id"], "verdict": "approved", "digest": request["digest"],
            "revision_id": request["revision_id"], "reason": None,
            "idempotency_key": str(uuid.uuid4()),
        })  # fmt: skip
        assert decided.good, decided

        async def posted() -> Json | None:
            release = (await commander.get(path)).body["release"]
            posts: list[Json] = release["posts"] if release else []
            return posts[0] if posts and posts[0]["state"] == "posted" else None

        post = await until("it is posted", posted, STARTS_WITHIN)
        assert post["url"].startswith(f"{at.address}/p/")
        feed = (await pio.get("/p/feed.json")).body["items"]
        assert [item["id"] for item in feed] == [f"urn:uuid:{post['id']}"]
        assert "EXERCISE" not in json.dumps(feed), "this one is for the public"
        message = await ask(pio.session, "GET", f"/p/cap/{post['id']}.xml")
        authority = at.folder / "authority.pem"
        at.ca.cert_pem.write_to_path(authority)
        found = XMLVerifier().verify(message.raw, ca_pem_file=str(authority))
        assert found.signed_xml.findtext(f"{{{cap.NAMESPACE}}}status") == "Actual"


async def test_every_health_check_is_green(at: Composed) -> None:
    lasting = [each for each in compose.services(VARIABLES).values() if not each.runs_to_its_end]
    green = await asyncio.gather(*(at.healthy(each) for each in lasting))
    assert dict(zip([each.name for each in lasting], green, strict=True)) == {
        each.name: True for each in lasting
    }


@pytest.mark.parametrize(("name", "role"), [("desk", "a desk's"), ("gate", "a worker's")])
async def test_the_doctor_finds_nothing_to_mend(at: Composed, name: str, role: str) -> None:
    found = {each["what"]: each for each in json.loads(await at.run(name, "doctor", "--json"))}
    assert all(each["ok"] for each in found.values()), found
    assert role in found["role"]["told"]
    assert ("on;" in found["signature of CAP messages"]["told"]) == (name == "desk")
    assert ("topics" in found) == (name != "desk"), "a desk has no way to Kafka"


async def test_cookies_and_headers_are_those_of_https(at: Composed) -> None:
    link = (await at.run("relay", "roster", "add", "H. Tester", "--role", "pio")).strip()
    async with at.browser(Origin=at.address) as browser:
        answer = await ask(browser, "POST", link.removeprefix(at.address))
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-sid=") and "Secure" in cookie and "HttpOnly" in cookie
        assert "Domain" not in cookie and "Path=/" in cookie
        page = await ask(browser, "GET", "/", headers={"Accept": "text/html"})
        assert page.status == 200
        assert page.headers["strict-transport-security"].startswith("max-age=31536000")
        assert page.headers["server"] == "broadcaster"


async def test_pages_styles_and_scripts_come_compressed(at: Composed) -> None:
    async with at.browser() as browser:
        page = await ask(browser, "GET", "/p", headers={"Accept": "text/html"})
        kinds = [page, *[await ask(browser, "GET", path) for path in linked(page.raw.decode())]]
    assert len(kinds) > 2 and {each.headers.get("content-encoding") for each in kinds} == {"gzip"}


def linked(page: str) -> list[str]:
    """The styles and scripts that a page loads."""
    return re.findall(r'(?:href|src)="(/static/[^"]+\.(?:css|js)[^"]*)"', page)


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}],
    ids=["origin", "site", "none"],
)
async def test_another_sites_page_changes_nothing(at: Composed, headers: dict[str, str]) -> None:
    async with at.browser() as browser:
        answer = await ask(browser, "POST", "/sign-out", headers=headers)
        assert (answer.status, answer.body["code"]) == (403, "cross_site")


async def test_nobody_chooses_a_practice_person_from_outside(at: Composed) -> None:
    async with at.browser(Origin=at.address) as browser:
        forged = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "localhost"}
        answer = await ask(browser, "POST", "/practice", json={"person_id": "x"}, headers=forged)
        assert (answer.status, answer.body["code"]) == (403, "not_a_practice_person")


async def test_plain_http_is_sent_to_https(at: Composed) -> None:
    async with aiohttp.ClientSession() as browser:
        answer = await ask(browser, "GET", f"http://localhost:{at.port('http')}/p?a=b")
    assert answer.status == 308
    assert answer.headers["location"].startswith("https://localhost")
    assert answer.headers["location"].endswith("/p?a=b")


async def test_http_2_is_spoken(at: Composed) -> None:
    trusting = ssl.create_default_context()
    at.ca.configure_trust(trusting)
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection(
        "127.0.0.1", at.port("https"), ssl=trusting, server_hostname="localhost"
    )
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
    writer.transport.abort()


@pytest.mark.parametrize("path", ["/metrics", "/readyz"])
async def test_the_operators_addresses_stay_inside(at: Composed, path: str) -> None:
    async with at.browser() as browser:
        assert (await ask(browser, "GET", path)).status == 404
        assert (await ask(browser, "GET", "/healthz")).status == 200


async def test_a_large_body_is_refused_in_words(at: Composed) -> None:
    async with at.browser() as browser:
        answer = await ask(
            browser, "POST", "/api/v1/reports", data=io.BytesIO(bytes(1024 * 1024 + 1))
        )
        assert (answer.status, answer.body["code"]) == (413, "too_large")


async def test_a_photograph_passes_the_proxy_with_its_form(at: Composed) -> None:
    """It is larger than anything else may be."""
    photograph = io.BytesIO()
    Pillow.effect_noise((2000, 1400), 60).save(photograph, "PNG")
    assert len(photograph.getvalue()) > 2_000_000
    pio, _ = await signed_in(at, "F. Tester", "pio")
    async with pio.session:
        incident_id = await reported(at)

        async def compiled() -> Json | None:
            answer = await pio.get(f"/api/v1/incidents/{incident_id}")
            return answer.body if answer.good else None

        await until("the incident is on the board", compiled, STARTS_WITHIN)
        form = aiohttp.FormData()
        form.add_field("file", io.BytesIO(photograph.getvalue()), filename="photo.png")
        answer = await ask(
            pio.session, "POST", f"/incidents/{incident_id}/picture", data=form,
            headers={"Accept": "text/html"},
        )  # fmt: skip
        assert answer.status == 200, answer
        [shown] = re.findall(rb'<img id="shown-picture" alt="" src="([^"]+)"', answer.raw)
        assert (await ask(pio.session, "GET", shown.decode())).status == 200


async def test_changes_are_told_through_the_proxy_as_they_happen(at: Composed) -> None:
    pio, _ = await signed_in(at, "S. Tester", "pio")
    async with pio.session, pio.session.get("/events") as stream:
        assert stream.status == 200 and stream.content_type == "text/event-stream"
        async with asyncio.timeout(PATIENCE):
            assert (await stream.content.readline()).startswith(b"retry:")
            await reported(at)
            while b"changed" not in await stream.content.readline():
                pass


async def test_a_process_ends_in_order_within_its_grace(at: Composed) -> None:
    """What is not acknowledged comes again; here nothing is in flight."""
    for name in ("compile", "relay", "desk"):
        service = compose.services(VARIABLES)[name]
        process = at.running.pop(name)
        process.terminate()
        code = await asyncio.to_thread(process.wait, 15)
        assert code == 0, at.log(name).read_text()[-2000:]
        (at.folder / name).rename(at.folder / f"{name}.before")
        await at.start(service)
