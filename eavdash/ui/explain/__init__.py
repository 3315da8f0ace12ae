"""What the pages of the section ``explain`` share."""
