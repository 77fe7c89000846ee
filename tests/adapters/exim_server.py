"""Exim, a real mail server: loopback alone, in a temporary folder, as nobody."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme

from streams.embedded import free_port
from tests.patience import PATIENCE

_EXIM = Path(__file__).parents[2] / ".servers" / "exim"

#: It takes mail for city.example: not for nobody, later for one who is put off.
_CONFIGURATION = """
primary_hostname = mail.example
exim_path = {folder}/exim4
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
keep_environment = LD_LIBRARY_PATH : LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
host_lookup =
queue_only
queue_run_in_order
deliver_drop_privilege
tls_advertise_hosts = *
tls_certificate = {folder}/certificate.pem
tls_privatekey = {folder}/key.pem
auth_advertise_hosts = ${{if def:tls_in_cipher {{*}}{{}}}}
acl_smtp_rcpt = recipient
acl_smtp_data = accept

begin acl
recipient:
  deny local_parts = nobody
       message = No such mailbox
  defer local_parts = later
        message = Come back later
  accept domains = city.example
  accept authenticated = *
  deny message = Relay not permitted

begin routers
here:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  create_directory

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and {{{{eq{{$auth2}}{{alerts}}}}{{eq{{$auth3}}{{exim-pass-word}}}}}}}}
  server_set_id = $auth2
"""


@dataclass(frozen=True)
class Exim:
    """One server. Its login is `alerts` with `exim-pass-word`; `trust` vouches for it."""

    folder: Path
    port: int
    trust: ssl.SSLContext

    def empty(self) -> None:
        """Forgets all mail."""
        for each in (*self.folder.glob("mail/new/*"), *self.folder.glob("spool/input/*")):
            each.unlink()

    def mails(self) -> list[EmailMessage]:
        """What it took so far, in order."""
        subprocess.run(self.command("-qff"), **self.ways, check=True, timeout=20)
        new = sorted(self.folder.glob("mail/new/*"), key=lambda each: each.stat().st_mtime_ns)
        return [message_from_bytes(each.read_bytes(), policy=policy.SMTP) for each in new]

    def command(self, *arguments: str) -> Sequence[str]:
        return [str(self.folder / "exim4"), "-C", str(self.folder / "exim.conf"), *arguments]

    @property
    def ways(self) -> dict[str, object]:
        """How it is run: seeing a user of its own, who is nobody where we are root."""
        return {
            "env": {
                "LD_LIBRARY_PATH": str(self.folder),
                "LD_PRELOAD": "libnss_wrapper.so",
                "NSS_WRAPPER_PASSWD": str(self.folder / "passwd"),
                "NSS_WRAPPER_GROUP": str(self.folder / "group"),
            },
            "stdout": subprocess.DEVNULL,
            "user": _user(),
            "group": _user(),
            "extra_groups": None if os.getuid() else [],
        }


def _user() -> int | None:
    return None if os.getuid() else 65534


@pytest.fixture(scope="module")
def exim() -> Iterator[Exim]:
    """One server that a module's tests share; skips, saying so, where Exim is not there."""
    if not (_EXIM / "exim4").exists():
        pytest.skip("Exim is not installed here: run scripts/servers/exim")
    folder = Path(tempfile.mkdtemp(prefix="exim-"))
    try:
        made = _made(folder)
        process = subprocess.Popen(made.command("-bdf"), **made.ways)  # type: ignore[call-overload]
        try:
            _wait_for(made.port, process)
            yield made
        finally:
            process.terminate()
            process.wait(timeout=10)
    finally:
        shutil.rmtree(folder)


def _made(folder: Path) -> Exim:
    shutil.copytree(_EXIM, folder, dirs_exist_ok=True)
    authority, trust = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trust)
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    made = Exim(folder, free_port(), trust)
    uid = _user() or os.getuid()
    gid = _user() or os.getgid()
    (folder / "exim.conf").write_text(_CONFIGURATION.format(folder=folder, port=made.port))
    (folder / "passwd").write_text(
        f"root:x:0:0::/:/bin/false\nDebian-exim:x:{uid}:{gid}::/:/bin/false\n"
    )
    (folder / "group").write_text(f"root:x:0:\nmail:x:8:\nDebian-exim:x:{gid}:\n")
    if not os.getuid():
        for each in (folder, *folder.iterdir()):
            os.chown(each, uid, gid)
    return made


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, "Exim ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < until, "Exim does not listen"
            time.sleep(0.02)
