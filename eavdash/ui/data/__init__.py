"""What the pages of the section ``data`` share."""
