"""The queue protocol of the hosted product's SDK over a bucket: `photog serve`. Uses `shared` only.

Every put is one object, `queue/<service>/<uuid>` (`message.py`), whose atomic rewriting is the transition:

| state of a put | in the bucket | who moves it | how | to |
|---|---|---|---|---|
| - | nothing | the sender's POST | create the record; only then the put is accepted | queued |
| queued | record without `sink` | follower, by priority, then index | create the manifest if absent | released |
| queued | the same | follower: no request, id taken | rewrite the record with `sink` and the error | answered |
| released | record, manifest | a worker | claims the request as it claims any other | running |
| running | record, manifest, claim | follower, at `result.json` | rewrite the record with `sink` | answered |
| answered | record with `sink` | the consumer: commit, delete, truncate, auto_delete | delete the record | - |
| queued, released, running | record without `sink` | delete or truncate of the input queue | delete the record | - |

The manifest is `requests/<function>/<request_id>.json`, the bytes as they were put. An id is taken when another body
was put or dropped under it before.

The bucket is the truth. SQLite (`queue_index.py`) is the index over it: rows follow the objects, never lead them.
What a crash or a loss of power leaves between the two is mended at the start (`recovery.py`): a record without a row
gets one, a row without a record goes, a row behind its record catches up. A file that is damaged, older or another
bucket's is set aside and made anew, also while the server runs (`database.py`). So an accepted put is never lost, and
since a put has one record and a record one `sink`, none is answered twice. The state may be deleted: it is read from
the records again.

Priority is kept by holding back: of what no worker has claimed yet only a few manifests lie in the bucket
(`release_window.py`), the next one is chosen by priority when there is room. That works for a scanned folder and for
an event queue alike, and leaves the workers and their triggers as they are.

One process serves a bucket; two on one state refuse to start.
"""
