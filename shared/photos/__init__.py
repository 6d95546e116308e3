"""Pictures from outside: fetches and decodes them safely. Knows nothing about buckets."""

from shared.photos.decoding import Decoded, decode_photo
from shared.photos.fetching import PhotoFetcher, ReadKey, SizeOf

__all__ = ["Decoded", "PhotoFetcher", "ReadKey", "SizeOf", "decode_photo"]
