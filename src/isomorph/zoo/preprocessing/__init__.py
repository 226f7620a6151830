"""What a model does to a stimulus before it sees it, as data."""
