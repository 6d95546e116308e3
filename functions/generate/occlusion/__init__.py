"""What lies before a face: hands, cups, masks, hair. It is found, kept whole, and never taken from a person's photo."""
