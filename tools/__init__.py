"""What makes the files that are committed; nothing of it is needed to install or to run photog."""
