"""One step, and chunks of steps, on the device."""
