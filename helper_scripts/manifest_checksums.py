"""Print the checksums in a frame cache's manifest as `sha256sum --check` reads them; exit 1 if it is not whole.

The sync scripts run it on a laptop that may have a bare Python only: it reads what src/frame_cache/cache.py writes,
without NumPy.
"""

import hashlib
import json
import re
import sys
from pathlib import Path


def main() -> int:
    """Run the command line: manifest_checksums.py MANIFEST."""
    try:
        if not Path(sys.argv[1]).is_file():  # opening a pipe would wait
            raise ValueError("not a file")
        manifest = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        checksum = manifest.pop("manifest_sha256")
        lines = [f"{entry['sha256']}  {entry['file']}" for entry in manifest["splits"].values()]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        print(f"{sys.argv[1]}: not a cache's manifest: {error!r}", file=sys.stderr)
        return 1
    whole = checksum == hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    if not whole or not all(re.fullmatch(r"[0-9a-f]{64}  [a-z]+\.safetensors", line) for line in lines):
        print(f"{sys.argv[1]}: damaged", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
