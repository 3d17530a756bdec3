"""Several networks over several seeds: planned, trained, compared."""
