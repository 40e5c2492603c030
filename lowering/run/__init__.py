"""What the host does in a run: plan, grow, record, replace, end."""
