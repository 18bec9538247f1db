"""What can go wrong at a backup target, told from the programs' own words. One class per thing to do.

The table is read from the top: the words for "no repository here" also stand below "wrong password".
"""

import re

from appliance.errors import Broken, NotTrusted, Refusal, Refused, TryAgain
from appliance.keeping.key import WrongBackupKey

AGAIN_SECONDS = 3600.0


class TargetUnreachable(TryAgain):
    """Nothing answers there, or it can't be found."""

    code = "backup_target_unreachable"
    http_status = 503


class TargetStalled(TryAgain):
    """It answered and then moved nothing for too long."""

    code = "backup_target_stalled"
    http_status = 503


class TargetLocked(TryAgain):
    """Another box or program works on the same repository."""

    code = "backup_target_locked"
    http_status = 409


class TargetRefusesLogin(Refused):
    """Name, password or key are not accepted there."""

    code = "backup_target_login"


class TargetFolderUnusable(Refused):
    """Signed in, but the share, bucket or folder isn't there or can't be written."""

    code = "backup_target_folder"


class TargetFull(Refused):
    """No space left there."""

    code = "backup_target_full"


class TargetNotTrusted(NotTrusted):
    """The server can't prove to be the one that was confirmed."""

    code = "backup_target_not_trusted"


class NoRepository(Refused):
    """Nothing was ever backed up there."""

    code = "backup_target_empty"


class TargetFailed(Broken):
    """restic failed in a way that nobody foresaw; its own words are in the sentence."""

    code = "backup_target_failed"


_TROUBLES: tuple[tuple[str, type[Refusal], str, str], ...] = (
    (
        r"wrong password or no key found",
        WrongBackupKey,
        "What lies there was encrypted with another backup key.",
        "Choose another folder, or restore with that key.",
    ),
    (
        r"host key verification failed|remote host identification has changed",
        TargetNotTrusted,
        "The server proves itself with another key than the one that was confirmed.",
        "Find out why. If the server is a new one, save the target again and confirm its key.",
    ),
    (
        r"x509|certificate (is|has|signed)|failed to verify certificate|tls: ",
        TargetNotTrusted,
        "The server's certificate can't be verified.",
        "Paste the certificate of the authority that issued it.",
    ),
    (
        r"mount error\(13\)|logon failure|access denied by server while mounting"
        r"|permission denied \(|signaturedoesnotmatch|invalidaccesskeyid|access key id you provided"
        r"|signature we calculated|too many authentication failures",
        TargetRefusesLogin,
        "The server does not accept this name and password or key.",
        "Check them there. With SFTP, the box's public key must be allowed for that account.",
    ),
    (
        r"no such host|could not resolve|name or service not known|temporary failure in name resolution",
        TargetUnreachable,
        "No server of this name was found.",
        "Check the name, or use the address.",
    ),
    (
        r"connection refused|no route to host|network is unreachable|i/o timeout|operation timed out"
        r"|connection timed out|connection reset|connection closed by|host is down|operation not permitted"
        r"|connect: |mount error\((111|112|113|115)\)|did not end within",
        TargetUnreachable,
        "The server does not answer.",
        "Check that it is on, and can be reached from the network of the box.",
    ),
    (
        r"no space left|disk quota exceeded|quota|entity too large|storage full",
        TargetFull,
        "There is no space left at the backup target.",
        "Make room there. The earlier backups are as they were.",
    ),
    (
        r"unable to create lock|already locked",
        TargetLocked,
        "Something else works on the backups there.",
        "It is tried again in an hour. Each box needs a folder of its own.",
    ),
    (
        r"mount error\((2|6)\)|mount\.nfs4?: .*no such file"
        r"|access denied|permission denied|read-only file system|nosuchbucket|bucket does not exist"
        r"|input/output error|stale file handle",
        TargetFolderUnusable,
        "The folder or bucket there can't be used.",
        "Check that it exists and that this account may write in it.",
    ),
    (
        r"is there a repository at the following|unable to open config file|config file does not exist",
        NoRepository,
        "There is no backup there yet.",
        "Make the first one.",
    ),
)


def trouble_in(words: str) -> Refusal:
    """The refusal that a program's standard error stands for."""
    for pattern, kind, sentence, next_step in _TROUBLES:
        if re.search(pattern, words, re.IGNORECASE):
            if issubclass(kind, TryAgain):
                return kind(sentence, retry_after_seconds=AGAIN_SECONDS, next_step=next_step)
            return kind(sentence, next_step=next_step)
    return TargetFailed(
        f"The backup program failed: {' '.join(words.split())[-300:] or 'it said nothing'}",
        next_step="Try again; if it stays so, make a support bundle.",
    )


def stalled(seconds: float) -> TargetStalled:
    return TargetStalled(
        f"The backup target moved nothing for {seconds:.0f} s.",
        retry_after_seconds=AGAIN_SECONDS,
        next_step="Check the NAS. It is tried again in an hour; the earlier backups are as they were.",
    )
