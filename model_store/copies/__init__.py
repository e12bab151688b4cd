"""Versions that travel: through an OCI registry, or as one tar to a site without a network."""
