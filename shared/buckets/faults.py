"""Meaning of operating system errors in a folder bucket: about one key or the whole store, and what to do."""

import errno
import os

from shared.buckets.base import BucketError, InvalidKey, StoreUnavailable

IMPOSSIBLE = {
    errno.ELOOP: "its symbolic links form a loop",
    errno.ENAMETOOLONG: "a name between two / is too long for this filesystem, most hold 255 bytes",
    errno.EILSEQ: "this filesystem cannot hold such a name",
    errno.EINVAL: "this filesystem cannot hold such a name",
}
"""Errors that mean no object can have the key here."""

OF_THE_KEY = {
    errno.EACCES: "let user {user} read and write it and enter its folders (chown, chmod)",
    errno.EPERM: "check its owner and its attributes (ls -l, lsattr): user {user} may not change it",
    errno.ENOTDIR: "a file is in the place of a folder; move it away",
    errno.EISDIR: "a folder is in the place of the object; move it away",
    errno.ENOTEMPTY: "a folder is in the place of the object; move it away",
    errno.EXDEV: "the whole bucket must be on one filesystem; mount or link nothing into it",
    errno.EFBIG: "it is larger than this filesystem or the process's limit allows",
}
"""Errors about one key; others may work."""

OF_THE_STORE = {
    errno.ENOSPC: "the disk is full; make room (df -h, df -i)",
    errno.EDQUOT: "the quota is used up; make room or raise it",
    errno.EROFS: "the filesystem is read-only; mount it writable",
    errno.EIO: "the disk fails; read the kernel's log",
    errno.ESTALE: "the network filesystem has lost it; remount it",
    errno.ENOTCONN: "the filesystem is disconnected; remount it",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
}


def explain_fault(error: OSError, key: str, address: str) -> BucketError:
    """Return the bucket error that says what happened to `key` in `address` and what to do about it."""
    number, reason = error.errno or 0, error.strerror or str(error)
    if number in IMPOSSIBLE:
        return InvalidKey(f"{key} cannot be a key of {address}: {IMPOSSIBLE[number]}")
    if number in OF_THE_KEY:
        return BucketError(f"{key} in {address}: {reason}; {OF_THE_KEY[number].format(user=os.geteuid())}")
    advice = OF_THE_STORE.get(number, "check that the disk is mounted and works")
    return StoreUnavailable(f"{key} in {address}: {reason}; {advice}")
