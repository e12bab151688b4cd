"""How fast the product is, measured on the machine at hand."""
