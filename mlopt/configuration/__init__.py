"""Files in which people write what they want, in YAML or TOML: values that know their line, and what each may be."""
