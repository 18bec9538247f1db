"""Where things lie: on a development box below one folder, on the image where its units say."""

from pathlib import Path

import pytest

from appliance.enrolment.keys import ensure_wireguard_key
from appliance.host import HostUnavailable
from appliance.settings import Settings, load_settings

ROOTFS = Path(__file__).parents[2] / "rootfs"


def on_the_image() -> Settings:
    """What the units give to every process."""
    lines = (ROOTFS / "usr" / "lib" / "cellule" / "environment").read_text().splitlines()
    return load_settings(dict(line.split("=", 1) for line in lines if line and not line.startswith("#")))


def test_a_development_box_lives_in_one_folder(tmp_path: Path) -> None:
    settings = load_settings({"CELLULE_STATE_DIR": str(tmp_path)})
    assert settings.engine_socket("m") == tmp_path / "run" / "engine-m.sock"
    assert settings.broker_socket == tmp_path / "run" / "broker.sock"
    assert settings.host_dir == tmp_path / "host"
    assert settings.wireguard_key_path == tmp_path / "secrets" / "wireguard.key"
    assert not settings.appliance


def test_the_image_keeps_apart_what_different_users_own() -> None:
    settings = on_the_image()
    assert settings.appliance
    assert settings.wireguard_key_path == Path("/var/lib/cellule-host/wireguard.key")
    places = [
        settings.listen_socket,
        settings.broker_socket,
        settings.engine_socket("m"),
        settings.web_socket,
    ]
    folders = [place.parent.name for place in places if place]
    assert folders == ["cellule", "cellule-broker", "cellule-engine", "cellule"]


def test_every_folder_of_a_socket_is_made_at_the_start() -> None:
    made = (ROOTFS / "usr" / "lib" / "tmpfiles.d" / "cellule.conf").read_text()
    settings = on_the_image()
    for folder in (settings.run_dir, settings.engines_dir, settings.broker_socket.parent):
        assert f"d {folder} " in made


@pytest.mark.parametrize("listen_socket", [None, Path("/run/x/pool.sock")])
def test_another_process_reads_the_same_settings(tmp_path: Path, listen_socket: Path | None) -> None:
    settings = Settings(
        state_dir=tmp_path, run_dir=tmp_path / "elsewhere", listen_socket=listen_socket, tls=True
    )
    assert load_settings(settings.environment()) == settings


def test_on_the_image_the_tunnels_key_is_asked_of_the_broker_and_never_made_elsewhere(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, appliance=True)
    with pytest.raises(HostUnavailable):
        ensure_wireguard_key(settings)
    assert not list(tmp_path.rglob("wireguard.key"))
