"""The connected side: from a profile to a signed bundle.

- `yaml_document`: YAML that a person may have written, every defect with its place
- `profile`: YAML -> Profile, what is wanted
- `catalog`: the models that have a name
- `lock`: YAML <-> Lock, which bytes
- `locking`: Profile -> Lock, resolved against the hub
- `plan`: what a build would take, without a network
- `sources`: where bytes can come from, one file a source
- `download_cache`: the builder's files by SHA-256
- `fetch`: Lock -> download cache
- `cli`: the verbs
"""
