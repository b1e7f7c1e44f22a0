"""The connected side: from a profile to a signed bundle.

- `profile`: YAML -> Profile, what is wanted
- `catalog`: the models that have a name
- `lock`, `locked_model`: YAML <-> Lock, which bytes
- `wheelhouse`: the wheels that travel with the models
- `locking`: Profile -> Lock, resolved against the hub
- `plan`: what a build would take, without a network
- `sources`: where bytes can come from, one file a source
- `download_cache`: the builder's files by SHA-256; `partial`: those still coming
- `fetch`: Lock -> download cache; `exchange`, `housekeeping`: caches between machines, in bounds
- `scan`: files judged by what they would do when loaded
- `dryload`, `dryload_child`, `measured`: every model loaded offline, and what that took
- `layout`, `own_papers`: Lock -> the tree inside a bundle
- `delta`: what a bundle leaves to its base
- `compose`: lock and checks -> manifest and contents; `licences`, `sbom`, `review`: its papers
- `paperwork`: the papers beside a bundle, made anew
- `build`: all of it, to a signed bundle
- `volume_size`, `volume_writer`: a bundle in volumes, each byte written once
- `shipment`, `delivery`, `medium`: a bundle with its papers, copied to a medium and read back
- `inventory`, `claims`, `changes`: what two bundles, locks or profiles hold, and how they differ
- `verbs`, `cli`: the commands
"""
