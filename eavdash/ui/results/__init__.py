"""What the pages of the section ``results`` share."""
