"""What an error of the operating system means for a bucket in a folder: of one key or of the store, and what to do."""

import errno
import os

from shared.buckets.base import BucketError, InvalidKey, StoreUnavailable

IMPOSSIBLE = {
    errno.ELOOP: "its links lead round in a circle",
    errno.ENAMETOOLONG: "a name between two / is too long for this filesystem, most hold 255 bytes",
    errno.EILSEQ: "this filesystem cannot hold such a name",
    errno.EINVAL: "this filesystem cannot hold such a name",
}
"""No object can have the key here."""

OF_THE_KEY = {
    errno.EACCES: "let user {user} read and write it and enter its folders (chown, chmod)",
    errno.EPERM: "see to its owner and its attributes (ls -l, lsattr): user {user} may not change it",
    errno.ENOTDIR: "a file lies where a folder has to be; move it away",
    errno.EISDIR: "a folder lies where the object has to be; move it away",
    errno.ENOTEMPTY: "a folder lies where the object has to be; move it away",
    errno.EXDEV: "the whole bucket must lie on one filesystem; mount or link nothing into it",
    errno.EFBIG: "it is larger than this filesystem or the limit of the process allows",
}
"""Other keys may well work."""

OF_THE_STORE = {
    errno.ENOSPC: "the disk is full; make room (df -h, df -i)",
    errno.EDQUOT: "the quota is used up; make room or raise it",
    errno.EROFS: "the filesystem is read-only; mount it writable",
    errno.EIO: "the disk fails; look into the kernel's log",
    errno.ESTALE: "the network filesystem has lost it; mount it again",
    errno.ENOTCONN: "the filesystem is disconnected; mount it again",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine",
}


def explain_fault(error: OSError, key: str, address: str) -> BucketError:
    """The error of a bucket that says what happened to `key` in `address` and what to do about it."""
    number, reason = error.errno or 0, error.strerror or str(error)
    if number in IMPOSSIBLE:
        return InvalidKey(f"{key} cannot be a key of {address}: {IMPOSSIBLE[number]}")
    if number in OF_THE_KEY:
        return BucketError(f"{key} in {address}: {reason}; {OF_THE_KEY[number].format(user=os.geteuid())}")
    advice = OF_THE_STORE.get(number, "see whether the disk is there and in order")
    return StoreUnavailable(f"{key} in {address}: {reason}; {advice}")
