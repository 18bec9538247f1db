"""The front as on the image: nginx with the configuration that ships, before the real pool and pages."""

import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from cryptography import x509

from appliance.people.api_keys import create_api_key
from appliance.settings import Settings
from appliance.storage import open_cellule
from tests.conftest import free_port
from tests.netlab import Lab
from tests.pool.upstreams import ScriptedEngine
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
NGINX = ROOT / "rootfs" / "etc" / "nginx"


@dataclass
class Front:
    """A box behind nginx on 443 and 80 of the computer "box" in a LAN; clients speak from "pc"."""

    lab: Lab
    settings: Settings
    folder: Path
    engine: ScriptedEngine
    secret: str = ""
    nginx: subprocess.Popen[bytes] | None = None
    product: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.lab.address("box")

    @property
    def environment(self) -> dict[str, str]:
        return self.settings.environment() | {"PYTHONPATH": str(ROOT)}

    @property
    def trust(self) -> ssl.SSLContext:
        """What a PC that imported the box's authority believes; as strict as the newest Python is."""
        context = ssl.create_default_context(cafile=self.settings.secrets_dir / "ca.crt")
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(
            base_url=f"https://{self.address}", timeout=20, **({"verify": self.trust} | options)
        )

    def start_product(self) -> None:
        for program in (
            ["appliance/pool/gunicorn_conf.py", "appliance.pool.app:app"],
            ["webadmin/gunicorn_conf.py", "webadmin:create_app()"],
        ):
            command = [sys.executable, "-m", "gunicorn", "--chdir", str(ROOT), "-c", *program]
            self.product.append(self.lab.popen("box", command, env=self.environment))

    def stop_product(self) -> None:
        while self.product:
            self.lab.stop(self.product.pop())

    def lay_out(self, **pairs: tuple[str, str]) -> None:
        """What cellule-certificates.service does; `pairs` are the "served" and "kept" certificate and key."""
        handed_over = self.folder / "handed-over"
        handed_over.mkdir(exist_ok=True)
        for name in ("served", "kept"):
            for suffix, text in zip((".crt", ".key"), pairs.get(name, ("none", "none")), strict=True):
                (handed_over / name).with_suffix(suffix).write_text(text)
        self.lab.run(
            "box",
            [sys.executable, "-m", "appliance.claim.serving", str(self.folder / "tls")],
            env=self.environment | {"CREDENTIALS_DIRECTORY": str(handed_over)},
        )

    def reload(self) -> None:
        """As `systemctl reload nginx`."""
        assert self.nginx is not None
        self.nginx.send_signal(signal.SIGHUP)

    def certificate(self, name: str | None = None) -> x509.Certificate:
        """The certificate that a PC is shown, by whatever `name` it asks for in TLS."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            self.lab.inside("pc"),
            socket.create_connection((self.address, 443), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            return x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")

    def is_ready(self) -> bool:
        with self.lab.inside("pc"), self.client() as client:
            try:
                answers = [client.get(path).status_code for path in ("/health/ready", "/sign-in")]
            except httpx.TransportError as error:
                raise OSError(str(error)) from error
        return answers == [200, 303]


def configuration(folder: Path) -> Path:
    """The files that ship, with folders of the test in the place of the image's."""
    for name in ("nginx.conf", "paths.conf"):
        text = (NGINX / name).read_text()
        for there, here in {
            "/run/cellule-tls": folder / "tls",
            "/run/cellule-boot": folder / "boot",
            "/run/cellule/": f"{folder}/",
            "/run/nginx": folder,
            "/var/lib/nginx": folder / "nginx",
            "/etc/nginx": folder,
            "include mime.types": "include /etc/nginx/mime.types",
            "/usr/share/cellule": ROOT / "rootfs" / "usr" / "share" / "cellule",
        }.items():
            text = text.replace(there, str(here))
        (folder / name).write_text(text)
    return folder / "nginx.conf"


@pytest.fixture(scope="session")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("front")
    for name in ("secrets", "tls", "nginx"):
        (folder / name).mkdir(mode=0o700)
    settings = Settings(
        state_dir=folder,
        run_dir=folder,
        listen_socket=folder / "pool.sock",
        listen_host="0.0.0.0",
        port=443,
        metrics_port=free_port(),
        tls=True,
        host_simulated=True,
    )
    with Lab("box", "pc", "worker") as lab, ExitStack() as cleanup:
        box = Front(lab, settings, folder, ScriptedEngine(settings.engine_socket("scripted")).start())
        cleanup.callback(box.engine.stop)
        lab.run("box", [sys.executable, "-m", "appliance.claim"], env=box.environment)
        box.lay_out()
        box.secret = create_api_key(open_cellule(folder), "test", account_id=None).secret
        box.start_product()
        box.nginx = lab.popen(
            "box", ["nginx", "-e", "stderr", "-c", str(configuration(folder)), "-g", "daemon off; user root;"]
        )
        wait_until(box.is_ready, within_seconds=30, what="the front answers")
        yield box
