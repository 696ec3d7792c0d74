"""The file formats of recordings, one per file, and the function that tells them apart."""
