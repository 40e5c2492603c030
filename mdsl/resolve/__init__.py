"""What each name stands for: from the tree to the Model."""
