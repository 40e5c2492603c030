"""From Model to Model, in order, with what each pass promises."""
