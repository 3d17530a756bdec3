"""The comparison of several networks over several seeds: planned, trained, evaluated."""
