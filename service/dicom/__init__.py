"""DICOM in and out: what an instance shows, and the objects that answer it in its study."""
