"""What recorded numbers are worth: means with their errors, and where a run has come to rest."""
