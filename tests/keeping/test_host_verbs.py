"""The verbs that backups need, through the broker: on the simulated machine and, but for mounts, on Linux."""

import base64
import logging
import stat
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pyrage
import pytest

from appliance.host import Host, HostFailed, InvalidPlan, NasKind, NasPlan, NotFound, brokered, this_machine
from appliance.host.broker import Broker
from appliance.keeping.key import make_backup_key
from appliance.settings import Settings


@pytest.fixture(params=[True, False], ids=["simulated", "linux"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return settings.model_copy(update={"host_simulated": request.param})


@pytest.fixture
def host(settings: Settings) -> Iterator[Host]:
    with Broker(settings.broker_socket, this_machine(settings), settings.wireguard_interface) as broker:
        thread = Thread(target=broker.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield brokered(settings)
        broker.shutdown()
        thread.join()


def test_the_tunnel_key_leaves_sealed_and_comes_back(host: Host, settings: Settings) -> None:
    owner = make_backup_key()
    public = host.ensure_wireguard_key()
    sealed = host.seal_wireguard_key(owner.recipient)
    private = settings.wireguard_key_path.read_text().strip()
    assert private not in sealed and sealed.startswith("-----BEGIN AGE ENCRYPTED FILE-----")
    settings.wireguard_key_path.unlink()
    other = host.ensure_wireguard_key()
    assert other != public
    host.replace_wireguard_key(sealed, str(owner.identity))
    assert host.ensure_wireguard_key() == public
    assert stat.S_IMODE(settings.wireguard_key_path.stat().st_mode) == 0o600
    host.replace_wireguard_key(None, None)
    assert host.ensure_wireguard_key() == other
    with pytest.raises(NotFound):
        host.replace_wireguard_key(None, None)


def test_what_is_no_key_changes_nothing(host: Host) -> None:
    owner = make_backup_key()
    public, sealed = host.ensure_wireguard_key(), host.seal_wireguard_key(owner.recipient)
    short = pyrage.encrypt(
        base64.b64encode(b"short"), [pyrage.x25519.Recipient.from_str(owner.recipient)], armored=True
    ).decode()
    for wrong in (
        (sealed, str(make_backup_key().identity)),
        ("nothing", str(owner.identity)),
        (short, str(owner.identity)),
    ):
        with pytest.raises(InvalidPlan):
            host.replace_wireguard_key(*wrong)
        assert host.ensure_wireguard_key() == public
    with pytest.raises(InvalidPlan):
        host.seal_wireguard_key("age1" + "q" * 58)


@pytest.mark.parametrize("settings", [True], indirect=True, ids=["simulated"])
def test_a_share_is_mounted_or_refused_and_its_password_is_in_no_log(
    host: Host, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    plan = NasPlan(kind=NasKind.SMB, host="nas", share="backups", username="box", password="planted-secret")
    with pytest.raises(HostFailed, match="could not be mounted"):
        host.mount_nas(plan)
    share = settings.host_dir / "nas" / "nas" / "backups"
    share.mkdir(parents=True)
    assert Path(host.mount_nas(plan)) == share
    host.unmount_nas()
    assert "mount_nas" in caplog.text and "planted-secret" not in caplog.text
    stored = [path.read_bytes() for path in settings.host_dir.rglob("*") if path.is_file()]
    assert not any(b"planted-secret" in content for content in stored)
