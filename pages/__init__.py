"""The pages of the app, one file each, in the order of the menu."""
