"""SFTP and S3 with real servers on loopback; SMB and NFS as far as the arguments of the mount."""

import getpass
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from appliance.errors import Refusal
from appliance.host import NasKind, NasPlan, this_machine
from appliance.host.linux.nas import mount_command
from appliance.keeping.history import Work, last_run
from appliance.keeping.key import BackupKey
from appliance.keeping.nightly import keep, known_snapshots
from appliance.keeping.repository import host_key_fingerprint, nas_plan, open_target
from appliance.keeping.restic import Restic
from appliance.keeping.targets import (
    BackupChoice,
    KeepingRequests,
    NfsTarget,
    S3Target,
    SftpTarget,
    SmbTarget,
    Target,
    keep_target_secret,
    sftp_public_key,
)
from appliance.keeping.troubles import trouble_in
from appliance.settings import Settings
from appliance.storage import open_activity, open_cellule, write_choice
from tests.conftest import free_port
from tests.waiting import wait_until

SSHD = "/usr/sbin/sshd"
needs_sshd = pytest.mark.skipif(not Path(SSHD).exists(), reason="NOT TESTED: needs openssh-server")


def choose(settings: Settings, target: Target, *, at: float) -> None:
    with open_cellule(settings.state_dir) as db:
        write_choice(db, BackupChoice(target=target, chosen_at=at), chosen_by=None)
        write_choice(db, KeepingRequests(test_at=at), chosen_by=None)


def tick(settings: Settings, at: float) -> str:
    return keep(settings, this_machine(settings), clock=lambda: at)


def connects(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port)):
        return True


@pytest.fixture
def sftp_server(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A real sshd with keys of its own: its port, and the file of those whom it admits."""
    folder = tmp_path / "sshd"
    folder.mkdir(mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host"], check=True)
    port, admitted = free_port(), folder / "authorized_keys"
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {admitted}\nStrictModes no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nUsePAM no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stderr=subprocess.DEVNULL)
    wait_until(lambda: connects(port), within_seconds=10, what="sshd")
    yield port, admitted
    server.terminate()
    server.wait()


@needs_sshd
@pytest.mark.root
@pytest.mark.usefixtures("key")
def test_a_night_over_sftp_from_the_first_test_to_a_changed_server(
    box: Settings, sftp_server: tuple[int, Path], tmp_path: Path
) -> None:
    port, admitted = sftp_server
    folder = str(tmp_path / "stored")
    target = SftpTarget(host="127.0.0.1", port=port, username=getpass.getuser(), folder=folder)
    choose(box, target, at=1e9)
    assert tick(box, 1e9 + 1) == "test: done"
    assert tick(box, 1e9 + 2) == "", "nothing is sent before somebody knows the server"
    with open_activity(box.state_dir) as activity:
        tested = last_run(activity, Work.TEST)
    assert tested and host_key_fingerprint(tested.detail).startswith("SHA256:")

    choose(box, target.model_copy(update={"host_key": tested.detail}), at=1e9 + 10)
    assert "does not accept" in tick(box, 1e9 + 11), "the box's key isn't admitted yet"
    admitted.write_text(sftp_public_key(box) + "\n")
    choose(box, target.model_copy(update={"host_key": tested.detail}), at=1e9 + 20)
    assert tick(box, 1e9 + 21) == "test: done"
    assert tick(box, 1e9 + 22) == "backup: done"
    assert (Path(folder) / "config").exists()
    assert len(known_snapshots(box)) == 1

    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKvxYY5K5kzWQ7d3lQnO7o0Uo0Vb0mJ9a5Y3yqJmYb0T"
    choose(box, target.model_copy(update={"host_key": other}), at=1e9 + 30)
    assert "another key than the one that was confirmed" in tick(box, 1e9 + 31)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[int]:
    """A small S3 server in memory (moto), with one bucket."""
    pytest.importorskip("moto", reason="NOT TESTED: needs moto[server]")
    port = free_port()
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    bucket = urllib.request.Request(f"http://127.0.0.1:{port}/office", method="PUT")
    bucket.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/s3/aws4_request")
    wait_until(lambda: urllib.request.urlopen(bucket).status == 200, within_seconds=30, what="the S3 server")
    yield port
    server.terminate()
    server.wait()


@pytest.mark.usefixtures("key")
def test_a_night_over_s3(box: Settings, s3_server: int) -> None:
    keep_target_secret(box, "the secret key")
    target = S3Target(host="127.0.0.1", port=s3_server, tls=False, bucket="office", access_key_id="AK")
    choose(box, target, at=1e9)
    assert tick(box, 1e9 + 1) == "test: done"
    assert tick(box, 1e9 + 2) == "backup: done"
    assert tick(box, 1e9 + 3) == "drill: done"
    assert len(known_snapshots(box)) == 1


@pytest.mark.usefixtures("key")
def test_a_server_that_is_off_is_told_within_seconds(box: Settings) -> None:
    target = S3Target(host="127.0.0.1", port=free_port(), tls=False, bucket="office", access_key_id="AK")
    choose(box, target, at=1e9)
    began = time.monotonic()
    assert "does not answer" in tick(box, 1e9 + 1)
    assert time.monotonic() - began < 5
    choose(box, target.model_copy(update={"host": "no-such-host.invalid"}), at=1e9 + 10)
    assert "No server of this name" in tick(box, 1e9 + 11)


def test_secrets_are_never_on_a_command_line(box: Settings, key: BackupKey, tmp_path: Path) -> None:
    """A stand-in for restic notes how it was called."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "restic"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/argv\nenv >> {tmp_path}/env\nexit 1\n')
    program.chmod(0o755)
    keep_target_secret(box, "s3cret-of-the-bucket")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        patch.setattr("appliance.keeping.repository._reach", lambda *_: None)
        target = S3Target(host="nas.example", bucket="office", access_key_id="AK")
        with open_target(box, target, this_machine(box)) as repository, pytest.raises(Refusal):
            Restic(box, repository).open(make=True)
    argv, environment = (tmp_path / "argv").read_text(), (tmp_path / "env").read_text()
    assert "s3cret" not in argv and key.password not in argv + environment
    assert "AWS_SECRET_ACCESS_KEY=s3cret-of-the-bucket" in environment
    assert "s3cret" not in repr(repository)


def test_the_mount_is_confined_and_its_password_apart() -> None:
    smb = nas_plan(SmbTarget(host="nas", share="backup$", username="box", domain="OFFICE"), "pass, word")
    command = mount_command(smb, Path("/run/.credentials"), (900, 900))
    options = next(each for each in command if each.startswith("--options="))
    assert {"nosuid", "nodev", "noexec", "soft", "uid=900", "credentials=/run/.credentials"} <= set(
        options.removeprefix("--options=").split(",")
    )
    assert command[-2:] == ["//nas/backup$", "/run/cellule-nas"]
    assert "pass" not in " ".join(command) and "pass, word" not in repr(smb)
    nfs = mount_command(nas_plan(NfsTarget(host="10.0.0.9", export="/vol/b"), ""), Path("/x"), (900, 900))
    assert "--type=nfs4" in nfs and nfs[-2:] == ["10.0.0.9:/vol/b", "/run/cellule-nas"]
    assert not any("credentials" in each for each in nfs)


@pytest.mark.parametrize(
    "changes",
    [
        {"share": "a,uid=0"},
        {"share": "../etc"},
        {"share": "a\nb"},
        {"share": "/abs"},
        {"host": "-o"},
        {"username": ""},
        {"username": "a,b"},
        {"password": "a\nusername=root"},
        {"kind": "nfs", "username": "box"},
        {"kind": "nfs", "share": "relative", "username": ""},
    ],
)
def test_a_mount_plan_that_could_smuggle_options_is_no_plan(changes: dict[str, str]) -> None:
    good = {"kind": "smb", "host": "nas", "share": "backups", "username": "box", "password": "secret"}
    assert NasPlan.model_validate(good).kind is NasKind.SMB
    with pytest.raises(ValidationError):
        NasPlan.model_validate(good | changes)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("mount error(13): Permission denied", "backup_target_login"),
        ("mount error(2): No such file or directory", "backup_target_folder"),
        ("mount error(113): could not connect to 10.0.0.9", "backup_target_unreachable"),
        ("mount.nfs4: access denied by server while mounting nas:/x", "backup_target_login"),
        ("systemd-mount did not end within 20 s.", "backup_target_unreachable"),
        ("Fatal: unable to save: no space left on device", "backup_target_full"),
        ("Host key verification failed.", "backup_target_not_trusted"),
        ("root@nas: Permission denied (publickey).", "backup_target_login"),
        ("x509: certificate signed by unknown authority", "backup_target_not_trusted"),
        ("The request signature we calculated does not match", "backup_target_login"),
        ("Fatal: wrong password or no key found", "wrong_backup_key"),
        ('{"code":12,"message":"Fatal: wrong password or no key found"}', "wrong_backup_key"),
        ("unable to create lock in backend: repository is already locked", "backup_target_locked"),
        (
            "unable to open config file\nIs there a repository at the following location?",
            "backup_target_empty",
        ),
        ("something new", "backup_target_failed"),
    ],
)
def test_each_trouble_is_told_as_what_it_is(words: str, code: str) -> None:
    assert trouble_in(words).code == code
