"""A small disk of its own for a folder, full or read-only at times; without the right to mount a plain one."""

import ctypes
import os
import subprocess
from pathlib import Path

from shared.buckets.staging import STAGING

DISK_MEGABYTES = 24
CLONE_NEWNS = 0x20000


def own_mounts() -> bool:
    """Give this process mounts that go with it; whether it may."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], check=False, capture_output=True).returncode == 0


class Disk:
    """A tmpfs at `place`, in a process with mounts of its own; the folder itself where `real` is False."""

    def __init__(self, place: Path, real: bool) -> None:
        self.place, self.real = place, real
        place.mkdir(parents=True, exist_ok=True)
        if real:
            size = f"size={DISK_MEGABYTES}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "chaos", str(place)], check=True)
        self._ballast = place / "ballast"

    def fill(self) -> bool:
        """Until not one more page can be written; where the disk is not ours to fill, read-only instead."""
        if not self.real:
            return self.readonly(True)
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65_536))
            except OSError:
                return True

    def empty(self) -> None:
        """Take the ballast away."""
        self._ballast.unlink(missing_ok=True)

    def readonly(self, on: bool) -> bool:
        """Refuse all writes, or no longer; False where it could not be done, as while a file is being written.

        Without a disk of its own the folder in which every write begins is closed, which only root does not heed.
        """
        if not self.real:
            staging = self.place / "bucket" / STAGING
            staging.mkdir(parents=True, exist_ok=True)
            staging.chmod(0o500 if on else 0o755)
            return os.geteuid() != 0
        command = ["mount", "-o", f"remount,{'ro' if on else 'rw'}", str(self.place)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def close(self) -> None:
        """Unmount, even under processes that still look at it."""
        if self.real:
            subprocess.run(["umount", "-l", str(self.place)], check=False, capture_output=True)
            os.rmdir(self.place)
