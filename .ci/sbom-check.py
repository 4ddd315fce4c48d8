"""Compares a CycloneDX file with the packages that `cargo tree --prefix none --format '{p}'` prints to standard input."""

import json
import sys

path = sys.argv[1]
bom = json.load(open(path, encoding="utf-8"))
assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.5"), path

described = bom["metadata"]["component"]
listed = {(part["name"], part["version"]): part for part in bom["components"]}
listed[described["name"], described["version"]] = described

# A line is `serde v1.0.228`, and ends with `(*)` if the package was printed before, with `(proc-macro)`, or with the
# folder of a crate of the workspace.
needed, ours = set(), set()
for line in sys.stdin:
    name, version, *notes = line.split()
    needed.add((name, version.removeprefix("v")))
    if any(note.startswith("(/") for note in notes):
        ours.add(name)
missing = needed - listed.keys()
assert not missing, f"{path} lacks {sorted(missing)}"

incomplete = [
    f"{name} {version}"
    for (name, version), part in listed.items()
    if not part.get("purl")
    or not part.get("licenses")
    # Crates of the workspace come from no registry, which would know their checksum.
    or (name not in ours and not part.get("hashes"))
]
assert not incomplete, f"{path} has no purl, licence or checksum of {incomplete}"
print(f"{path}: {len(listed)} packages, among them all {len(needed)} of cargo tree")
