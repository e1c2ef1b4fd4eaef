"""The regressor and its parts."""
