"""The edge of the service: paths, bodies, headers and status codes."""
