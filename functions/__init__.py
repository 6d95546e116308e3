"""The three functions; each imports `shared` only, never another one."""
