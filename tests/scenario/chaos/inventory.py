"""What lies in the bucket: one listing, and the contents that matter, each read once."""

from collections import defaultdict

from shared.buckets import Bucket, ObjectInfo
from shared.contract.manifests import Json, decode
from shared.lifecycle.claims import ClaimRecord
from tests.scenario.chaos.labour import NAME


class Inventory:
    """A bucket at one moment; `renew` keeps what was read of objects that are still the same."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._read: dict[tuple[str, str], bytes] = {}
        self.infos: dict[str, ObjectInfo] = {}

    def renew(self) -> None:
        """List again."""
        self.infos = {info.key: info for info in self._bucket.list("")}

    def below(self, prefix: str) -> list[str]:
        """The keys that begin so."""
        return [key for key in self.infos if key.startswith(prefix)]

    def get(self, key: str, largest: int | None = None) -> bytes:
        """An object's bytes; empty where it has gone since."""
        info = self.infos[key]
        if (key, info.etag) not in self._read:
            found = self._bucket.find(key)
            if found is None:
                return b""
            self._read[key, info.etag] = found
        return self._read[key, info.etag]

    def answers(self, function: str = NAME) -> dict[str, Json]:
        """Every answer by its id."""
        prefix, end = f"results/{function}/", "/result.json"
        keys = [key for key in self.below(prefix) if key.endswith(end) and key.count("/") == 3]
        return {key.removeprefix(prefix).removesuffix(end): decode(self.get(key)) for key in keys}

    def claims(self, identity: str) -> list[ClaimRecord]:
        """A request's claims in order."""
        keys = self.below(f"claims/{NAME}/{identity}/")
        return [ClaimRecord.model_validate_json(self.get(key)) for key in keys]

    def artifacts(self) -> dict[str, set[str]]:
        """Keys below the results that are neither answer nor conflict, by id."""
        found: dict[str, set[str]] = defaultdict(set)
        for key in self.below(f"results/{NAME}/"):
            identity, _, name = key.removeprefix(f"results/{NAME}/").partition("/")
            if name != "result.json" and not name.startswith("conflict-"):
                found[identity].add(key)
        return found
