"""Events -> frame caches on both storages: format, preparation, splits, synchronisation, preview."""
