"""Models of the Hugging Face hub: their files, configurations and preprocessing."""
