"""The three functions: check, train and generate. Each imports `shared` only, never another function."""
