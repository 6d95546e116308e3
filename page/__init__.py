"""`photog page`: the page for people, on any bucket, by the same requests that applications send."""
