"""From what an admin chose to a repository that restic can open: mounted, or reached by SFTP or S3.

The server is called once before restic is: an answer within seconds says more than a program that tries again
for minutes. A mounted folder is unmounted when the work ends, however it ends.
"""

import base64
import hashlib
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from appliance.host import Host, HostFailed, NasKind, NasPlan
from appliance.keeping.nas import mounted_nas
from appliance.keeping.places import keeping_dir
from appliance.keeping.restic import Repository
from appliance.keeping.targets import (
    SFTP_KEY_FILE,
    NfsTarget,
    S3Target,
    SftpTarget,
    SmbTarget,
    Target,
    sftp_public_key,
    target_secret,
)
from appliance.keeping.troubles import TargetNotTrusted, trouble_in
from appliance.settings import Settings

REACH_SECONDS = 10.0


@contextmanager
def open_target(settings: Settings, target: Target, host: Host) -> Iterator[Repository]:
    """The target's repository while the work lasts. Raises what `troubles` names."""
    match target:
        case SmbTarget() | NfsTarget():
            plan = nas_plan(target, target_secret(settings))
            with ExitStack() as mounted:
                try:
                    folder = mounted.enter_context(mounted_nas(settings, host, plan))
                except HostFailed as error:
                    raise trouble_in(error.sentence) from error
                yield Repository(str(folder / target.folder))
        case SftpTarget():
            _reach(target.host, target.port)
            yield _by_sftp(settings, target)
        case S3Target():
            _reach(target.host, target.port)
            yield _by_s3(settings, target)


def nas_plan(target: SmbTarget | NfsTarget, password: str) -> NasPlan:
    """What the broker is asked to mount."""
    if isinstance(target, NfsTarget):
        return NasPlan(kind=NasKind.NFS, host=target.host, share=target.export)
    return NasPlan(
        kind=NasKind.SMB,
        host=target.host,
        share=target.share,
        username=target.username,
        domain=target.domain,
        password=password,
    )


def read_host_key(host: str, port: int) -> str:
    """The Ed25519 key that the SSH server shows now, as in known_hosts; for a person to confirm.

    Raises TargetUnreachable, TargetNotTrusted when it has none.
    """
    _reach(host, port)
    argv = ["ssh-keyscan", "-T", "10", "-t", "ed25519", "-p", str(port), host]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    for line in done.stdout.splitlines():
        if len(words := line.split()) == 3 and not line.startswith("#"):
            return " ".join(words[1:])
    raise TargetNotTrusted(
        "The server shows no Ed25519 host key.", next_step="Turn such a key on at the server (ssh-keygen -A)."
    )


def host_key_fingerprint(host_key: str) -> str:
    """As OpenSSH prints it: SHA256:…"""
    digest = hashlib.sha256(base64.b64decode(host_key.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _reach(host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=REACH_SECONDS).close()
    except TimeoutError as error:
        raise trouble_in("connection timed out") from error
    except OSError as error:
        raise trouble_in(str(error)) from error


def _by_sftp(settings: Settings, target: SftpTarget) -> Repository:
    if not target.host_key:
        raise TargetNotTrusted(
            "The server's key was never confirmed.", next_step="Save the target again and confirm its key."
        )
    sftp_public_key(settings)
    name = f"[{target.host}]:{target.port}" if target.port != 22 else target.host
    known = keeping_dir(settings) / "known_hosts"
    known.write_text(f"{name} {target.host_key}\n")
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known),
        "GlobalKnownHostsFile": "/dev/null",
        "ConnectTimeout": "15",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "4",
    }
    words = keeping_dir(settings) / "ssh.log"
    ssh = ["ssh", "-F", "none", "-E", str(words), "-p", str(target.port)]
    ssh += ["-i", str(settings.secrets_dir / SFTP_KEY_FILE)]
    ssh += [text for name, value in options.items() for text in ("-o", f"{name}={value}")]
    command = shlex.join([*ssh, "-l", target.username, target.host, "-s", "sftp"])
    return Repository(
        f"sftp:{target.username}@{target.host}:{target.folder}",
        options=("-o", f"sftp.command={command}"),
        words=words,
    )


def _by_s3(settings: Settings, target: S3Target) -> Repository:
    variables = {
        "AWS_ACCESS_KEY_ID": target.access_key_id,
        "AWS_SECRET_ACCESS_KEY": target_secret(settings),
        "AWS_DEFAULT_REGION": target.region,
    }
    options: tuple[str, ...] = ()
    if target.ca_pem:
        authority = keeping_dir(settings) / "s3-authority.pem"
        authority.write_text(target.ca_pem)
        options = ("--cacert", str(authority))
    scheme = "https" if target.tls else "http"
    address = f"s3:{scheme}://{target.host}:{target.port}/{target.bucket}/{target.folder}"
    return Repository(address, variables, options)
