"""One file a source; each has a `SOURCE`, and imports its library when it is first used."""
