"""What operators and applications do with a bucket: submit, status, sweep, erase, redrive."""
