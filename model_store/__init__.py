"""Where versions of models live: published once, never changed, promoted and rolled back on the record."""
