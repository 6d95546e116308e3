"""The processes: workers, their supervisor, jobs, the HTTP endpoint."""
