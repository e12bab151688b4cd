"""Archives of decades, over many machines: every image into one table, once. Needs the extra `ray`."""
