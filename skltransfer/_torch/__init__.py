"""What runs on torch: preprocessing, frozen extraction and the store of extracted rows."""
