"""What may come in: each way in is an allow-list that ends in a `Report` (DESIGN.md rule 10)."""
