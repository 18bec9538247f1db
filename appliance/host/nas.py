"""A folder of a NAS that the box mounts while it backs up or restores. Data only."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from appliance.host.machine import RemoteHost
from appliance.host.plan import Plan

AgeText = Annotated[str, StringConstraints(pattern=r"^(age1|AGE-SECRET-KEY-1)[0-9A-Za-z]{20,120}$")]
"""A recipient or an identity of age (X25519)."""


class NasKind(StrEnum):
    """How it is shared."""

    SMB = "smb"
    NFS = "nfs"


class NasPlan(Plan):
    """What to mount; `share` is a share's name with SMB and an absolute path with NFS. Comma and control
    characters are refused: they would be further options of the mount."""

    kind: NasKind
    host: RemoteHost
    share: str = Field(pattern=r"^/?[^\s,\\\"'/\x00-\x1f.][^,\\\"'\x00-\x1f]*$", max_length=200)
    username: str = Field(default="", pattern=r"^[^,\s\x00-\x1f]*$", max_length=64)
    domain: str = Field(default="", pattern=r"^[A-Za-z0-9.-]*$", max_length=64)
    password: str = Field(default="", pattern=r"^[^\x00-\x1f]*$", max_length=256, repr=False)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if ".." in self.share.split("/"):
            raise ValueError("a share has no .. in its path")
        if self.share.startswith("/") is not (self.kind is NasKind.NFS):
            raise ValueError("an NFS export begins with a slash, an SMB share with its name")
        if (self.kind is NasKind.SMB) is not bool(self.username):
            raise ValueError("SMB needs an account, NFS has none")
        return self
