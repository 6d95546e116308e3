"""The processes: workers, their supervisor, one-shot jobs, the HTTP endpoint."""
