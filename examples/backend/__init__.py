"""A small backend with a page: photos come in, portraits come out, and a webhook tells when."""
