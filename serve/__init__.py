"""The queue protocol of the hosted product's SDK over a bucket: `photog serve`. Imports `shared` only.

Every put is one object, `queue/<service>/<uuid>` (`message.py`). Rewriting it atomically is the transition:

| state of a put | in the bucket | who moves it | how | to |
|---|---|---|---|---|
| - | nothing | the sender's POST | create the record; only then the put is accepted | queued |
| queued | record without `sink` | dispatcher, by priority, then index | create the manifest if absent | released |
| queued | the same | dispatcher: no request, id taken | rewrite the record with `sink` and the error | answered |
| released | record, manifest | a worker | claims the request like any other | running |
| running | record, manifest, claim | dispatcher, at `result.json` | rewrite the record with `sink` | answered |
| answered | record with `sink` | the consumer: commit, delete, truncate, auto_delete | delete the record | - |
| queued, released, running | record without `sink` | delete or truncate of the input queue | delete the record | - |

The manifest is `requests/<function>/<request_id>.json` and holds the bytes as they were put. An id is taken when
another body was put or dropped under it before.

The bucket is the truth. SQLite (`queue_index.py`) is an index over it: rows follow the objects and never precede them.
Recovery at the start (`recovery.py`) repairs what a crash or a loss of power leaves between the two: a record without
a row gets one, a row without a record is deleted, a row behind its record is updated. A file that is damaged, of an
older version or of another bucket is set aside and made anew, also while the server runs (`database.py`). So an
accepted put is never lost, and because a put has one record and a record has one `sink`, none is answered twice. The
state may be deleted: it is read from the records again.

Priority is kept by holding manifests back: only a few manifests that no worker has claimed lie in the bucket at a time
(`release_window.py`), and the next one is chosen by priority when there is room. This works for a scanned folder and
for an event queue alike, and leaves the workers and their triggers as they are.

One process serves a bucket; a second one on the same state refuses to start.
"""
