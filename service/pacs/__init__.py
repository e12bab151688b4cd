"""The ways to and from a PACS: it is searched, read and, where that is wanted, written to."""
