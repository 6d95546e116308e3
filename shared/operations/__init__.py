"""Operations on a bucket for operators and applications: submit, status, sweep, erase, redrive."""
